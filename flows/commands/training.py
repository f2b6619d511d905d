"""The command `recsys train`: a run of the pipeline in the terminal."""

from __future__ import annotations

import gc
import json
import sys
from contextlib import nullcontext
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.console import Console

from flows.quiet import silence
from recsys.base.config import Config
from recsys.base.config_file import load_config
from recsys.base.errors import HELD_EXIT, ConfigError
from recsys.base.events import listening
from recsys.cli.options import ConfigFile
from recsys.cli.progress import Progress, json_lines
from recsys.cli.settings import parse_settings

if TYPE_CHECKING:
    from flows.results import TrainingResult
    from recsys.recommend.recommender import Recommender


def train(
    dataset: Annotated[str | None, typer.Option(help="a named data set")] = None,
    likes: Annotated[str | None, typer.Option(help="your likes: file, folder or URL")] = None,
    features: Annotated[
        list[str] | None, typer.Option(help="your item features; again for a further table")
    ] = None,
    user_features: Annotated[
        list[str] | None, typer.Option(help="your user features, likewise")
    ] = None,
    delimiter: Annotated[str | None, typer.Option(help="between the fields of text")] = None,
    user_column: Annotated[str | None, typer.Option(help="name, or number from 1")] = None,
    item_column: Annotated[str | None, typer.Option(help="name, or number from 1")] = None,
    name_column: Annotated[str | None, typer.Option(help="'' if there is none")] = None,
    weight_column: Annotated[str | None, typer.Option(help="how much a like counts")] = None,
    timestamp_column: Annotated[str | None, typer.Option(help="when it was")] = None,
    config: ConfigFile = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="any setting, as in --set search.trials=40"),
    ] = None,
    trials: Annotated[
        int | None,
        typer.Option(help="at most so many trials of LightFM, beside those of item-to-item models"),
    ] = None,
    seconds: Annotated[float | None, typer.Option(help="no new trial after so long")] = None,
    seed: Annotated[int | None, typer.Option(help="of split, search and models")] = None,
    protocol: Annotated[str | None, typer.Option(help="standard or article")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="errors only")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="the outcome as JSON")] = False,
    as_lines: Annotated[bool, typer.Option("--json-lines", help="events as JSON lines")] = False,
) -> None:
    """Run the pipeline: tune, measure, register and, if it is good enough, promote a model."""
    data = {
        "likes": likes,
        "features": _one_or_several(features),
        "user_features": _one_or_several(user_features),
        "delimiter": delimiter,
        "user_column": user_column,
        "item_column": item_column,
        "name_column": name_column,
        "weight_column": weight_column,
        "timestamp_column": timestamp_column,
    }
    given: dict[str, Any] = {
        f"data.{name}": value or None for name, value in data.items() if value is not None
    }
    other = {
        "dataset": dataset,
        "search.trials": trials,
        "search.seconds": seconds,
        "seed": seed,
        "protocol": protocol,
    }
    if dataset is not None and data["likes"] is not None:
        raise ConfigError(
            f"--dataset {dataset} beside --likes {data['likes']}",
            "one of them",
            "leave out the one that is not meant",
        )
    given |= {name: value for name, value in other.items() if value is not None}
    chosen = load_config(config, given | parse_settings(settings or []))
    _train(chosen, quiet=quiet or as_json, as_json=as_json, as_lines=as_lines)


def _one_or_several(tables: list[str] | None) -> str | list[str] | None:
    """What an option that may be given again says: '' that there is no table."""
    return tables[0] if tables and len(tables) == 1 else tables or None


def _train(config: Config, *, quiet: bool, as_json: bool, as_lines: bool) -> None:
    from recsys.data.sources import check_input
    from recsys.tuning.configured import require_sound_spaces

    require_sound_spaces(config)
    check_input(
        config.dataset,
        config.data,
        config.effective().split,
        goes_by_age=config.goes_by_age,
    )
    console = Console(stderr=as_json)
    silence()
    if not (quiet or as_lines):
        console.print(f"[bold]train[/bold] {config.title}, seed {config.seed}", highlight=False)
    from flows.as_program import as_program

    listener = json_lines(Console()) if as_lines else Progress(console)
    # Importing the flow and making a database take as long as the start of a server.
    program = as_program(config.tracking, meanwhile=partial(_get_ready, config.tracking.uri))
    with nullcontext() if quiet else listening(listener), program:
        from flows.train import train as flow

        # What was imported stays: a collector that goes through it takes seconds of a run.
        gc.freeze()
        outcome = flow(config)
    if as_json:
        print(outcome.model_dump_json(indent=1))
    elif as_lines:
        print(json.dumps({"event": "Outcome", **outcome.model_dump()}))
    elif not quiet:
        _report(console, outcome)
    if outcome.held:
        reasons = "; ".join(outcome.held)
        print(f"held: version {outcome.version} is not champion; {reasons}", file=sys.stderr)
        raise typer.Exit(HELD_EXIT)


def _get_ready(uri: str) -> None:
    """Import the flow, and make MLflow's database where there is none yet."""
    # What is imported stays, and looking through it for garbage takes a sixth of the time.
    gc.disable()
    try:
        import_module("flows.train")
    finally:
        gc.enable()
    from recsys.tracking.client import prepare_database

    prepare_database(uri)


def _report(console: Console, outcome: TrainingResult) -> None:
    """Show what was measured, the gate's verdict and, if it passed, a few answers."""
    from recsys.cli.tables import cold_start, few_likes, leaderboard, newcomers, verdict
    from recsys.evaluation.churn import summary
    from recsys.evaluation.metric_names import (
        beyond_text,
        diversity_text,
        price_text,
        repeated_text,
    )
    from recsys.evaluation.segments import gains_text
    from recsys.recommend.recommender import Recommender

    holdout = outcome.counts["evaluate"]["holdout"]
    console.print()
    console.print(leaderboard(outcome.leaderboard, holdout, console.width))
    if repeated := repeated_text(outcome.repeated):
        console.print(f"{repeated}\n", highlight=False)
    if outcome.search_space:
        console.print(f"{outcome.search_space['verdict']}\n", highlight=False, soft_wrap=True)
    if (table := cold_start(outcome.strategies)) is not None:
        console.print(table)
    if (table := newcomers(outcome.newcomers)) is not None:
        console.print(table)
    console.print(few_likes(outcome.few_likes))
    if diverse := diversity_text(outcome.diversity):
        console.print(f"{diverse}\n")
    for line in filter(None, (beyond_text(outcome.beyond), price_text(outcome.beyond))):
        console.print(f"{line}\n", highlight=False)
    judged = json.loads((Path(outcome.verdict) / "verdict.json").read_text(encoding="utf-8"))
    console.print(verdict(judged))
    churn = Path(outcome.verdict) / "churn.json"
    if churn.exists():
        against = f"against version {judged['champion']['version']}: "
        text = against + summary(json.loads(churn.read_text(encoding="utf-8")))
        console.print(text, highlight=False, soft_wrap=True)
    segments = Path(outcome.verdict) / "segments.json"
    if segments.exists():
        gains = gains_text(json.loads(segments.read_text(encoding="utf-8")))
        console.print(f"against the champion, {gains}", highlight=False, soft_wrap=True)
    console.print(
        f"registered [bold]{outcome.model}[/bold] version {outcome.version}, alias "
        f"{'challenger' if outcome.held else 'champion'}",
        highlight=False,
    )
    if not outcome.held:
        _examples(console, Recommender.load(outcome.bundle), outcome.model)


def _examples(console: Console, recommender: Recommender, model: str) -> None:
    """Show a few answers with real names, so that a person sees what was learned."""
    from recsys.cli.tables import answer
    from recsys.pipeline.report_sections import examples

    console.print()
    for title, found in examples(recommender):
        console.print(answer(title, found))
    suffix = "" if model == "sample" else f" --model {model}"
    console.print(f"try it: recsys similar ITEM{suffix}, recsys recommend USER{suffix}")
