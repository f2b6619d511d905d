"""Commands for whoever operates the champion: promote, rollback, batch."""

from __future__ import annotations

import json
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console

from flows.quiet import calm
from flows.server import served
from recsys.config import load_config
from recsys.progress import listening
from recsys.serving import DEFAULT_URI, require_registry
from recsys.terminal import Watch

Model = Annotated[
    str, typer.Option("--model", "-m", envvar="RECSYS_MODEL", help="the registered name")
]
Why = Annotated[str, typer.Option("--why", help="for those who come after you")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for a program")]


def promote(
    version: Annotated[str, typer.Argument(help="the version's number")],
    why: Why,
    model: Model = "sample",
    as_json: AsJson = False,
) -> None:
    """Make a version champion by hand, past the gate."""
    registry, who = _registry(model)
    before = registry.promote(version, by=who, why=why)
    replaced = before.number if before is not None and before.number != version else None
    said = f"version {version} of {model} is champion"
    said += f", version {replaced} previous" if replaced else ""
    _say({"model": model, "champion": version, "previous": replaced}, said, as_json)


def rollback(why: Why, model: Model = "sample", as_json: AsJson = False) -> None:
    """Make the previous champion champion again."""
    registry, who = _registry(model)
    fallen, restored = registry.rollback(by=who, why=why)
    said = f"version {restored.number} of {model} is champion again, instead of {fallen.number}"
    outcome = {"model": model, "champion": restored.number, "previous": fallen.number}
    _say(outcome, said, as_json)


def batch(
    model: Annotated[str | None, typer.Option("--model", "-m", help="a registered name")] = None,
    n: Annotated[int | None, typer.Option("--n", "-n", min=1, help="items a list")] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="a TOML file")] = None,
    as_json: AsJson = False,
) -> None:
    """Write items for every user, and items like every item, as Parquet."""
    given: dict[str, Any] = {"tracking.model": model, "batch.n": n}
    if config is None:
        given["tracking.uri"] = os.environ.get("MLFLOW_TRACKING_URI")
    chosen = load_config(config, {name: value for name, value in given.items() if value})
    calm()
    # Prefect takes seconds to import; only this command needs it.
    from flows.recommend import recommend

    with nullcontext() if as_json else listening(Watch(Console())), served():
        made = recommend(chosen)
    said = f"{made.users:,} users and {made.items:,} items of {made.model} version {made.version}"
    _say(made.model_dump(), f"{said} in {made.latest}", as_json)


def _registry(model: str) -> tuple[Any, str]:
    uri = os.environ.get("MLFLOW_TRACKING_URI", DEFAULT_URI)
    require_registry(uri)
    from recsys.registry import Registry, whoami

    return Registry(uri, model), whoami()


def _say(outcome: dict[str, Any], text: str, as_json: bool) -> None:
    print(json.dumps(outcome, indent=1, ensure_ascii=False) if as_json else text)
