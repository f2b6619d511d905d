"""The command `recsys backtest`: the pipeline replayed at successive points in time."""

from __future__ import annotations

from contextlib import nullcontext
from functools import partial
from importlib import import_module
from typing import Annotated, Any

import typer

from flows.commands.options import say
from flows.quiet import silence
from recsys.cli.options import AsJson, ConfigFile
from recsys.cli.settings import parse_settings


def backtest(
    folds: Annotated[int | None, typer.Option(min=1, help="how many")] = None,
    every: Annotated[str | None, typer.Option(help="how long each is, such as 7d")] = None,
    search: Annotated[
        str | None, typer.Option(help="once, before the first fold, or before each")
    ] = None,
    config: ConfigFile = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="any setting, as in --set search.trials=10"),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Measure what the pipeline would have chosen, fold after fold."""
    from recsys.base.config_file import load_config
    from recsys.data.sources import check_input

    given: dict[str, Any] = {
        "backtest.folds": folds,
        "backtest.every": every,
        "backtest.search": search,
    }
    given = {name: value for name, value in given.items() if value is not None}
    chosen = load_config(config, given | parse_settings(settings or []))
    by_time = chosen.split.model_copy(update={"method": "time"})
    check_input(chosen.dataset, chosen.data, by_time, goes_by_age=chosen.goes_by_age)
    silence()
    from rich.console import Console

    from flows.as_program import as_program
    from recsys.base.events import listening
    from recsys.cli.progress import Progress

    console = Console()
    # Importing the flow takes as long as the start of a server.
    program = as_program(None, meanwhile=partial(import_module, "flows.backtest"))
    with nullcontext() if as_json else listening(Progress(console)), program:
        from flows.backtest import backtest as flow

        made = flow(chosen)
    if not as_json:
        from recsys.cli.tables import backtest as tables

        console.print(*tables(made.figures), sep="\n")
    say(made.model_dump(), f"report: {made.page}", as_json)
