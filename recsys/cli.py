"""The command line of the library: data sets and questions to a trained model."""

from __future__ import annotations

import json
import os
import sys
import tomllib
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from recsys import datasets as named
from recsys.config import load_config
from recsys.errors import ConfigError, RecsysError
from recsys.recommender import Ranked, Recommender
from recsys.settings import as_toml
from recsys.terminal import answer

app = typer.Typer(
    name="recsys",
    help="Retrain and ask 'people who liked this' recommenders.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        envvar="RECSYS_MODEL",
        help="a registered name (its champion), models:/NAME/VERSION, or a bundle's folder",
    ),
]
Number = Annotated[int, typer.Option("--n", "-n", min=1, help="how many")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for a program")]


@app.callback()
def options(
    debug: Annotated[bool, typer.Option(help="show tracebacks of errors")] = False,
) -> None:
    if debug:
        os.environ["RECSYS_DEBUG"] = "1"


@app.command("datasets")
def list_named(as_json: AsJson = False) -> None:
    """List the named data sets."""
    found = named.list_datasets()
    if as_json:
        print(json.dumps([_dataset(info) for info in found], indent=1, ensure_ascii=False))
        return
    table = Table(box=SIMPLE)
    for column in ("name", "what it is", "licence", "here"):
        table.add_column(column)
    for info in found:
        size = f"{info.size / 1e6:.1f} MB" if info.size else ""
        here = size if info.cached else "fetched on first use"
        table.add_row(info.dataset.name, info.dataset.title, info.dataset.licence, here)
    Console().print(table)


def _dataset(info: named.DatasetInfo) -> dict[str, Any]:
    dataset = info.dataset
    return {
        "name": dataset.name,
        "title": dataset.title,
        "origin": dataset.origin,
        "licence": dataset.licence,
        "cached": info.cached,
        "bytes": info.size,
    }


@app.command()
def settings() -> None:
    """Print every setting with its default, as a TOML file to start from."""
    print(as_toml(), end="")


@app.command()
def recommend(
    user: Annotated[str, typer.Argument(help="the user's own id")],
    model: Model = "sample",
    n: Number = 10,
    include_seen: Annotated[bool, typer.Option(help="also what the user has liked")] = False,
    as_json: AsJson = False,
) -> None:
    """Items for a user."""
    recommender = open_model(model)
    rows = recommender.recommend(user, n, include_seen=include_seen)
    _show(f"for {user}", rows, as_json)


@app.command()
def similar(
    item: Annotated[str, typer.Argument(help="the item's own id")],
    model: Model = "sample",
    n: Number = 10,
    as_json: AsJson = False,
) -> None:
    """Items like an item."""
    recommender = open_model(model)
    title = f"like {recommender.name(recommender.items.index(item))}"
    _show(title, recommender.similar(item, n), as_json)


@app.command()
def curve(
    settings: Annotated[
        list[str] | None, typer.Argument(help="hyper-parameters, as no_components=64")
    ] = None,
    config: Annotated[Path | None, typer.Option("--config", "-c", help="a TOML file")] = None,
    dataset: Annotated[str | None, typer.Option(help="a named data set")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="the last epoch")] = 100,
    every: Annotated[int, typer.Option(min=1, help="epochs between measurements")] = 10,
    as_json: AsJson = False,
) -> None:
    """One configuration's learning curve, as the founding article draws it, logged in MLflow."""
    # These bring LightFM and MLflow; asking a bundle needs neither.
    from recsys.experiments import log_curve

    given = {} if dataset is None else {"dataset": dataset}
    points, figure = log_curve(
        load_config(config, given), pairs(settings or []), range(every, epochs + 1, every)
    )
    if as_json:
        print(json.dumps([asdict(point) for point in points], indent=1))
    else:
        from recsys.curve import as_table

        Console().print(as_table(points, 5))
        print(f"figure: {figure}")


def pairs(settings: Sequence[str]) -> dict[str, Any]:
    """`name=value` pairs; a value that is no TOML is text.

    Raises
    ------
    ConfigError
        If there is no equals sign.
    """
    found: dict[str, Any] = {}
    for setting in settings:
        name, equals, value = setting.partition("=")
        if not equals:
            raise ConfigError(setting, "name=value", "as in search.trials=40")
        try:
            found[name.strip()] = tomllib.loads(f"value = {value}")["value"]
        except tomllib.TOMLDecodeError:
            found[name.strip()] = value.strip()
    return found


def open_model(model: str) -> Recommender:
    """A bundle's folder, a registry address, or a registered name, whose champion is meant."""
    is_path = "/" in model or (Path(model) / "manifest.json").is_file()
    if model.startswith("models:/") or is_path:
        return Recommender.load(model)
    return Recommender.load(f"models:/{model}@champion")


def _show(title: str, rows: Sequence[Ranked], as_json: bool) -> None:
    if as_json:
        print(json.dumps([row.as_dict() for row in rows], indent=1, ensure_ascii=False))
    else:
        Console().print(answer(title, rows))


def run(program: Callable[[], Any]) -> int:
    """Run a program; a fault that a person can mend becomes one line and an exit code."""
    try:
        program()
    except RecsysError as fault:
        if os.environ.get("RECSYS_DEBUG"):
            raise
        print(f"error: {fault}", file=sys.stderr)
        return fault.exit_code
    return 0


def main() -> None:
    """The library's own commands, without the flows."""
    sys.exit(run(app))


if __name__ == "__main__":
    main()
