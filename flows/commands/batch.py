"""The command `recsys batch`: lists for everybody as Parquet."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from importlib import import_module
from typing import Annotated, Any

import typer

from flows.commands.options import say
from flows.quiet import silence
from recsys.cli.options import AsJson, ConfigFile


def batch(
    model: Annotated[str | None, typer.Option("--model", "-m", help="a registered name")] = None,
    n: Annotated[int | None, typer.Option("--n", "-n", min=1, help="items a list")] = None,
    only: Annotated[
        str | None,
        typer.Option(
            "--only", help="a file of the items that may be on lists: ids, or a table with item"
        ),
    ] = None,
    rules: Annotated[
        str | None, typer.Option("--rules", help="a TOML file of house rules for lists of users")
    ] = None,
    config: ConfigFile = None,
    as_json: AsJson = False,
) -> None:
    """Write the champion's lists for every user and every item."""
    from recsys.base.config_file import load_config
    from recsys.tracking.local import require_version
    from recsys.tracking.versions import CHAMPION, ModelAddress

    given: dict[str, Any] = {"tracking.model": model, "batch.n": n, "batch.only": only}
    given["batch.rules"] = rules
    chosen = load_config(config, {name: value for name, value in given.items() if value})
    require_version(chosen.tracking.uri, ModelAddress(chosen.model, alias=CHAMPION))
    silence()
    from rich.console import Console

    from flows.as_program import as_program
    from recsys.base.events import listening
    from recsys.cli.progress import Progress

    # Importing the flow takes as long as the start of a server.
    program = as_program(chosen.tracking, meanwhile=partial(import_module, "flows.recommend"))
    with nullcontext() if as_json else listening(Progress(Console())), program:
        from flows.recommend import recommend

        made = recommend(chosen)
    text = f"{made.users:,} users and {made.items:,} items of {made.model} version {made.version}"
    bases = (
        f"users: {made.users_trained:,} trained, {made.users_by_likes:,} by a few likes, "
        f"{made.users_by_features:,} by features, {made.users_by_popularity:,} by popularity"
    )
    say(made.model_dump(), f"{text} in {made.latest}\n{bases}", as_json)
