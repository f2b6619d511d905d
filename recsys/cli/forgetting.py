"""The command `recsys forget`: users whose data are deleted, and who are left out from then on."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from recsys.cli.options import ConfigFile
from recsys.cli.servers import registered_name


def forget(
    users: Annotated[list[str], typer.Argument(help="the users' own ids")],
    model: Annotated[
        str | None,
        typer.Option("--model", "-m", envvar="RECSYS_MODEL", help="a registered name"),
    ] = None,
    likes: Annotated[
        Path | None,
        typer.Option(help="the file of fresh likes, by default data/likes/MODEL.sqlite"),
    ] = None,
    answers: Annotated[
        Path | None,
        typer.Option(help="the file of what was shown, by default data/answers/MODEL.sqlite"),
    ] = None,
    config: ConfigFile = None,
) -> None:
    """Delete what is stored of users, and leave them out of servers, trainings and batches."""
    from recsys.base.config import default_answers_log
    from recsys.base.config_file import load_config
    from recsys.base.errors import ConfigError
    from recsys.data.answers_log import AnswersLog
    from recsys.data.likes_log import LikesLog
    from recsys.online.online_log import configured_log

    chosen = load_config(config, {"tracking.model": registered_name(model)} if model else {})
    file = likes or chosen.likes_log
    if file is None:
        raise ConfigError(
            "no likes log (storage.likes_log is empty)",
            "the file that says who is forgotten",
            "name it with --likes, or set storage.likes_log",
        )
    log, shown = LikesLog(file), AnswersLog(answers or default_answers_log(chosen.model))
    online = configured_log(chosen.online, chosen.model)
    for user in users:
        count = log.forget(user)
        shown.forget(user)
        compared = online.forget(user)
        recommended = f", {compared:,} recommendations from the online log" if compared else ""
        print(f"{user}: {count:,} entries deleted from {file}{recommended}")
    print(
        f"servers with this log do not know them any more; the next model and the next batch of "
        f"{chosen.model} are made without them. Versions registered before, batches written "
        f"before and {chosen.storage.interim} still hold what was read until you delete them."
    )
