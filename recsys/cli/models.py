"""Models in the terminal: opened by their name, indexed, and one configuration's curve drawn."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recsys.cli.options import AsJson, ConfigFile, Model
from recsys.cli.settings import parse_settings

if TYPE_CHECKING:
    from recsys.recommend.recommender import Recommender


def open_model(model: str) -> Recommender:
    """Open a trained model.

    Parameters
    ----------
    model : str
        A bundle's folder, an address such as "models:/NAME/VERSION", or a registered name, which
        means its champion.

    Raises
    ------
    InputError
        If the folder is no bundle.
    NotFoundError, RegistryError
        If there is no such model, or the registry does not answer.
    """
    from recsys.serving.loading import load

    if model.startswith("models:/") or is_bundle(model):
        return load(model)
    return load(f"models:/{model}@champion")


def is_bundle(model: str) -> bool:
    """Whether a model is given as the folder of a bundle, not by its registered name."""
    return "/" in model or (Path(model) / "manifest.json").is_file()


def index(model: Model = "sample") -> None:
    """Build the approximate index of a model beside it."""
    made = open_model(model).build_index()
    for kind, recall in made.recall.items():
        print(f"{kind}: recall_at_10 {recall:.3f}, looks into {made.cells[kind]} cells")
    print(made.folder)


def curve(
    settings: Annotated[
        list[str] | None, typer.Argument(help="hyper-parameters, as no_components=64")
    ] = None,
    config: ConfigFile = None,
    dataset: Annotated[str | None, typer.Option(help="a named data set")] = None,
    epochs: Annotated[int, typer.Option(min=1, help="the last epoch")] = 100,
    every: Annotated[int, typer.Option(min=1, help="epochs between measurements")] = 10,
    as_json: AsJson = False,
) -> None:
    """Train one configuration, draw its learning curve and log it in MLflow."""
    from recsys.base.config_file import load_config

    chosen = load_config(config, {} if dataset is None else {"dataset": dataset})
    parameters = parse_settings(settings or [])
    from recsys.pipeline.experiments import log_curve

    points, figure = log_curve(chosen, parameters, range(every, epochs + 1, every))
    if as_json:
        print(json.dumps([asdict(point) for point in points], indent=1))
        return
    from rich.console import Console

    from recsys.tuning.curve import as_table

    Console().print(as_table(points, 5))
    print(f"figure: {figure}")
