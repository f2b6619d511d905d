"""The command `recsys forget`: users whose data are deleted, and who are left out from then on."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recsys.cli.options import ConfigFile
from recsys.cli.servers import registered_name

if TYPE_CHECKING:
    from recsys.base.config import Config


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
    """Delete what is stored of users, and leave them out of servers, trainings and batches.

    The log comes first, so that they are out even if MLflow does not answer then; run it again.
    """
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
    if (changed := _forget_in_mlflow(chosen, users)) is not None:
        print(f"{changed:,} files of earlier nights in MLflow had them, and do not any more")
    print(
        f"servers with this log do not know them any more; the next model and the next batch of "
        f"{chosen.model} are made without them. Versions registered before, batches written "
        f"before and {chosen.storage.interim} still hold what was read until you delete them."
    )


def _forget_in_mlflow(config: Config, users: list[str]) -> int | None:
    """How many files of earlier nights were changed; None where there is no registry yet."""
    from recsys.tracking.address import database_path

    database = database_path(config.tracking.uri)
    if database is not None and not database.exists():
        return None
    from recsys.tracking.forgotten import forget_in_runs  # takes long to import
    from recsys.tracking.registry import open_registry

    return forget_in_runs(open_registry(config.tracking, config.model), set(users))
