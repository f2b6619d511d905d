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

from recsys.base.config import load_config, unsafe
from recsys.base.errors import ConfigError, RecsysError
from recsys.base.settings import as_toml
from recsys.cli.terminal import answer, explanation
from recsys.data import datasets as named
from recsys.recommend.queries.answers import Answer
from recsys.recommend.queries.filters import Filters
from recsys.recommend.recommender import Recommender
from recsys.serving.loading import load

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
Must = Annotated[list[str] | None, typer.Option("--must", help="a feature that every answer has")]
MustNot = Annotated[
    list[str] | None, typer.Option("--must-not", help="a feature that no answer has")
]
Exclude = Annotated[list[str] | None, typer.Option("--exclude", help="an id to leave out")]
ItemOrNone = Annotated[str | None, typer.Argument(help="the item's own id; none for a new one")]
OfNew = Annotated[list[str] | None, typer.Option("--tag", help="a new item's tag")]
LikedBy = Annotated[
    list[str] | None, typer.Option("--liked-by", help="a user who likes the new item")
]
Trained = Annotated[
    bool, typer.Option("--trained", help="only items with likes enough to be trained")
]
Approximate = Annotated[bool, typer.Option(help="by the index that `recsys index` has built")]
Kind = Annotated[str | None, typer.Option("--type", help="tags of this type only")]


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
    user: Annotated[str | None, typer.Argument(help="the user's own id")] = None,
    liked: Annotated[
        list[str] | None, typer.Option("--liked", help="for somebody new: an item they like")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="for somebody new: a tag they like")
    ] = None,
    feature: Annotated[
        list[str] | None, typer.Option("--feature", help="for somebody new: a feature of theirs")
    ] = None,
    model: Model = "sample",
    n: Number = 10,
    must: Must = None,
    must_not: MustNot = None,
    exclude: Exclude = None,
    include_seen: Annotated[bool, typer.Option(help="also what the user has liked")] = False,
    include_untrained: Annotated[
        bool, typer.Option(help="also items known by their features alone")
    ] = False,
    approximate: Approximate = False,
    as_json: AsJson = False,
) -> None:
    """Items for a user, or for somebody never seen who likes some items or tags."""
    recommender = open_model(model)
    filters = Filters(
        must or (), must_not or (), exclude or (), include_seen, include_untrained or None
    )
    if user is None:
        title = f"for somebody who likes {', '.join([*(liked or []), *(tag or [])]) or 'nothing'}"
        found = recommender.recommend_for(
            liked or (), n, filters, tags=tag or (), features=feature or ()
        )
    elif liked or tag or feature:
        raise ConfigError(
            f"user {user} with --liked, --tag or --feature",
            "a known user, or what is known of a new one",
            "give one of them",
        )
    else:
        title = f"for {user}"
        found = recommender.recommend(user, n, filters, approximate=approximate)
    _show(title, found, as_json)


@app.command()
def similar(
    item: ItemOrNone = None,
    tag: OfNew = None,
    liked_by: LikedBy = None,
    model: Model = "sample",
    n: Number = 10,
    must: Must = None,
    must_not: MustNot = None,
    exclude: Exclude = None,
    trained: Trained = False,
    approximate: Approximate = False,
    as_json: AsJson = False,
) -> None:
    """Items like an item, or like a new one with some tags."""
    recommender = open_model(model)
    found = recommender.similar_items(
        item,
        n,
        _filters(must, must_not, exclude, trained),
        features=tag or (),
        liked_by=liked_by or (),
        approximate=approximate,
    )
    _show(f"like {_title(recommender, item, tag)}", found, as_json)


@app.command("tag")
def by_tag(
    tags: Annotated[
        list[str], typer.Argument(help="tags; tag=0.5 and tag=-1 give weights, below 0 against it")
    ],
    model: Model = "sample",
    n: Number = 10,
    must: Must = None,
    must_not: MustNot = None,
    exclude: Exclude = None,
    trained: Trained = False,
    as_json: AsJson = False,
) -> None:
    """Items sorted by tags, whether they have them or not."""
    recommender = open_model(model)
    found = recommender.items_for_tag(
        dict(map(_weighted, tags)), n, _filters(must, must_not, exclude, trained)
    )
    _show(f"for {', '.join(tags)}", found, as_json)


@app.command("suggest-tags")
def suggest_tags(
    item: ItemOrNone = None,
    tag: OfNew = None,
    liked_by: LikedBy = None,
    kind: Kind = None,
    exclude: Exclude = None,
    model: Model = "sample",
    n: Number = 10,
    as_json: AsJson = False,
) -> None:
    """Tags that an item could have and has not."""
    recommender = open_model(model)
    found = recommender.suggest_tags(
        item, n, features=tag or (), liked_by=liked_by or (), kind=kind, exclude=exclude or ()
    )
    _show(f"tags for {_title(recommender, item, tag)}", found, as_json)


@app.command("similar-tags")
def similar_tags(
    tag: Annotated[str, typer.Argument(help="a tag")],
    kind: Kind = None,
    exclude: Exclude = None,
    model: Model = "sample",
    n: Number = 10,
    as_json: AsJson = False,
) -> None:
    """Tags like a tag."""
    recommender = open_model(model)
    _show(
        f"like {tag}", recommender.similar_tags(tag, n, kind=kind, exclude=exclude or ()), as_json
    )


@app.command()
def audience(
    item: ItemOrNone = None,
    tag: OfNew = None,
    liked_by: LikedBy = None,
    model: Model = "sample",
    n: Number = 10,
    exclude: Exclude = None,
    as_json: AsJson = False,
) -> None:
    """Users most likely to like an item that they have not liked yet."""
    recommender = open_model(model)
    found = recommender.audience(
        item, n, _filters(None, None, exclude), features=tag or (), liked_by=liked_by or ()
    )
    _show(f"who would like {_title(recommender, item, tag)}", found, as_json)


@app.command()
def explain(
    user: Annotated[str, typer.Argument(help="the user's own id")],
    item: Annotated[str, typer.Argument(help="the item's own id")],
    model: Model = "sample",
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="how many liked items")] = 5,
    as_json: AsJson = False,
) -> None:
    """A user's score for an item, taken apart into what adds up to it."""
    found = open_model(model).explain(user, item, n)
    if as_json:
        print(json.dumps(found.as_dict(), indent=1, ensure_ascii=False))
    else:
        Console().print(explanation(found))


@app.command("index")
def build_index(model: Model = "sample") -> None:
    """Build the approximate index of a large model; needs faiss."""
    made = open_model(model).build_index()
    for kind, recall in made.recall.items():
        print(f"{kind}: recall_at_10 {recall:.3f}, looks into {made.cells[kind]} cells")
    print(made.folder)


@app.command()
def serve(
    model: Annotated[
        str,
        typer.Option("--model", "-m", envvar="RECSYS_MODEL", help="a registered name"),
    ] = "sample",
    host: Annotated[str, typer.Option(help="0.0.0.0 lets other machines ask, too")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any that is free")] = 8000,
    body: Annotated[int, typer.Option(min=1, help="bytes of a request, at most")] = 1 << 20,
    seconds: Annotated[float, typer.Option(min=0.1, help="for a request, at most")] = 10.0,
    workers: Annotated[int, typer.Option(min=1, help="threads that answer")] = 2,
) -> None:
    """Answer questions over HTTP with the champion, whichever it becomes."""
    from recsys.serving.champion import Champion
    from recsys.serving.http import Limits, serve

    champion = Champion(registered(model))

    def ready(address: str) -> None:
        print(f"{model} version {champion.version} answers at {address}", flush=True)

    serve(champion, model, host, port, Limits(body, seconds, workers), ready)


def registered(model: str) -> str:
    """A name as the registry has them.

    Raises
    ------
    ConfigError
        If it is an address, a path, or has letters that no name has.
    """
    if unsafe(model) or not model.strip(" ."):
        raise ConfigError(
            f"model {model!r}", "the name of a registered model", "see those in the MLflow UI"
        )
    return model


@app.command()
def gallery(
    model: Model = "sample",
    config: Annotated[Path | None, typer.Option("--config", "-c", help="a TOML file")] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", help="a setting, as in --set gallery.pictures=sketchfab"),
    ] = None,
    host: Annotated[str, typer.Option(help="the address to listen on")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 for any free one")] = 8600,
) -> None:
    """Look at what the champion has learned, in a browser."""
    chosen = load_config(config, pairs(settings or []))
    # MLflow and the server take seconds to import; only this command needs them.
    from recsys.gallery.launch import serve

    serve(model, chosen, host, port)


def _filters(
    must: list[str] | None,
    must_not: list[str] | None,
    exclude: list[str] | None,
    trained: bool = False,
) -> Filters:
    untrained = False if trained else None
    return Filters(must or (), must_not or (), exclude or (), include_untrained=untrained)


def _title(recommender: Recommender, item: str | None, tags: list[str] | None) -> str:
    if item is None:
        return f"a new item with {', '.join(tags)}" if tags else "a new item"
    return recommender.name(recommender.items.index(item))


def _weighted(tag: str) -> tuple[str, float]:
    """`anime`, or `anime=0.5`; what follows an equals sign and is no number belongs to the tag."""
    name, _, weight = tag.rpartition("=")
    try:
        return (name, float(weight)) if name else (tag, 1.0)
    except ValueError:
        return tag, 1.0


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
    from recsys.pipeline.experiments import log_curve

    given = {} if dataset is None else {"dataset": dataset}
    points, figure = log_curve(
        load_config(config, given), pairs(settings or []), range(every, epochs + 1, every)
    )
    if as_json:
        print(json.dumps([asdict(point) for point in points], indent=1))
    else:
        from recsys.tuning.curve import as_table

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
        except (ValueError, RecursionError):
            found[name.strip()] = value.strip()
    return found


def open_model(model: str) -> Recommender:
    """A bundle's folder, a registry address, or a registered name, whose champion is meant."""
    is_path = "/" in model or (Path(model) / "manifest.json").is_file()
    if model.startswith("models:/") or is_path:
        return load(model)
    return load(f"models:/{model}@champion")


def _show(title: str, found: Answer, as_json: bool) -> None:
    if not as_json:
        Console().print(answer(title, found))
        return
    # The rows alone, so that a program finds a list; what must be said goes beside it.
    print(json.dumps(found.as_dicts(), indent=1, ensure_ascii=False))
    for note in found.notes:
        print(f"note: {note}", file=sys.stderr)


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
