"""Questions to a trained model in the terminal: tables for a person, JSON for a program."""

from __future__ import annotations

import json
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from recsys.base.errors import ConfigError, NotFoundError
from recsys.cli.models import open_model
from recsys.cli.options import AsJson, Model, Number

if TYPE_CHECKING:
    from recsys.recommend.queries.answers import Answer
    from recsys.recommend.queries.filters import Filters
    from recsys.recommend.recommender import Recommender

Must = Annotated[list[str] | None, typer.Option("--must", help="a feature that every answer has")]
MustNot = Annotated[
    list[str] | None, typer.Option("--must-not", help="a feature that no answer has")
]
Exclude = Annotated[list[str] | None, typer.Option("--exclude", help="an id to leave out")]
Only = Annotated[
    list[str] | None,
    typer.Option(
        "--only", help="an id that may be answered, or a file of them: ids, or a table with item"
    ),
]
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


def recommend(
    user: Annotated[str | None, typer.Argument(help="the user's own id")] = None,
    liked: Annotated[
        list[str] | None,
        typer.Option("--liked", help="an item that the user, or a new one, likes besides"),
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="a tag that the user, or a new one, likes")
    ] = None,
    feature: Annotated[
        list[str] | None, typer.Option("--feature", help="for a new user: a feature of theirs")
    ] = None,
    model: Model = "sample",
    n: Number = 10,
    must: Must = None,
    must_not: MustNot = None,
    exclude: Exclude = None,
    only: Only = None,
    include_seen: Annotated[bool, typer.Option(help="also what the user has liked")] = False,
    include_untrained: Annotated[
        bool, typer.Option(help="also items known by their features alone")
    ] = False,
    approximate: Approximate = False,
    rules: Annotated[Path | None, typer.Option(help="a TOML file of house rules")] = None,
    answers: Annotated[
        Path | None, typer.Option(help="the file of what was shown, for rules that hide it")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Recommend items to a user, or to a new user described by likes, tags and features."""
    if user is not None and feature:
        raise ConfigError(
            f"user {user} with --feature",
            "a known user, whose features are known, or those of a new one",
            "give one of them",
        )
    from recsys.recommend.queries.filters import Filters

    recommender = ruled(open_model(model), rules, answers)
    filters = Filters(
        must or (),
        must_not or (),
        exclude or (),
        include_seen,
        include_untrained or None,
        _allowed(only),
    )
    if user is None:
        title = f"for a user who likes {', '.join([*(liked or []), *(tag or [])]) or 'nothing'}"
        found = recommender.recommend_for(
            liked or (), n, filters, tags=tag or (), features=feature or ()
        )
    else:
        title = f"for {user}"
        found = recommender.recommend(
            user, n, filters, liked=liked or (), tags=tag or (), approximate=approximate
        )
    _show(title, found, as_json)


def ruled(recommender: Recommender, rules: Path | None, answers: Path | None) -> Recommender:
    """The recommender with the house rules of a file, and what was shown, if it is given."""
    if rules is None:
        return recommender
    from recsys.data.answers_log import AnswersLog
    from recsys.recommend.house_rules import read_rules

    log = None if answers is None else AnswersLog(answers)
    return replace(recommender, rules=read_rules(rules), answers=log)


def rank(
    user: Annotated[str, typer.Argument(help="the user's own id")],
    items: Annotated[list[str], typer.Argument(help="the items' own ids")],
    liked: Annotated[
        list[str] | None, typer.Option("--liked", help="an item that the user likes besides")
    ] = None,
    tag: Annotated[
        list[str] | None, typer.Option("--tag", help="a tag that the user likes")
    ] = None,
    model: Model = "sample",
    as_json: AsJson = False,
) -> None:
    """Put items into the order in which a user is likely to like them."""
    found = open_model(model).rank(user, items, liked=liked or (), tags=tag or ())
    _show(f"for {user}", found, as_json)


def similar(
    item: ItemOrNone = None,
    tag: OfNew = None,
    liked_by: LikedBy = None,
    model: Model = "sample",
    n: Number = 10,
    must: Must = None,
    must_not: MustNot = None,
    exclude: Exclude = None,
    only: Only = None,
    trained: Trained = False,
    approximate: Approximate = False,
    as_json: AsJson = False,
) -> None:
    """Find items similar to an item, or to a new item described by its tags and users."""
    recommender = open_model(model)
    found = recommender.similar_items(
        item,
        n,
        _filters(must, must_not, exclude, trained, only),
        features=tag or (),
        liked_by=liked_by or (),
        approximate=approximate,
    )
    _show(f"like {_title(recommender, item, tag)}", found, as_json)


def tag(
    tags: Annotated[
        list[str], typer.Argument(help="tags; tag=0.5 and tag=-1 give weights, below 0 against it")
    ],
    model: Model = "sample",
    n: Number = 10,
    must: Must = None,
    must_not: MustNot = None,
    exclude: Exclude = None,
    only: Only = None,
    trained: Trained = False,
    as_json: AsJson = False,
) -> None:
    """Rank items by how well they match tags, whether they carry them or not."""
    recommender = open_model(model)
    found = recommender.items_for_tag(
        dict(_weighted(tag, recommender) for tag in tags),
        n,
        _filters(must, must_not, exclude, trained, only),
    )
    _show(f"for {', '.join(tags)}", found, as_json)


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
    """Suggest tags that an item could carry and does not."""
    recommender = open_model(model)
    found = recommender.suggest_tags(
        item, n, features=tag or (), liked_by=liked_by or (), kind=kind, exclude=exclude or ()
    )
    _show(f"tags for {_title(recommender, item, tag)}", found, as_json)


def similar_tags(
    tag: Annotated[str, typer.Argument(help="a tag")],
    kind: Kind = None,
    exclude: Exclude = None,
    model: Model = "sample",
    n: Number = 10,
    as_json: AsJson = False,
) -> None:
    """Find tags similar to a tag."""
    recommender = open_model(model)
    _show(
        f"like {tag}", recommender.similar_tags(tag, n, kind=kind, exclude=exclude or ()), as_json
    )


def audience(
    item: ItemOrNone = None,
    tag: OfNew = None,
    liked_by: LikedBy = None,
    model: Model = "sample",
    n: Number = 10,
    exclude: Exclude = None,
    only: Only = None,
    as_json: AsJson = False,
) -> None:
    """Rank the users who have not liked an item by how likely they are to like it."""
    recommender = open_model(model)
    found = recommender.audience(
        item,
        n,
        _filters(None, None, exclude, only=only),
        features=tag or (),
        liked_by=liked_by or (),
    )
    _show(f"who would like {_title(recommender, item, tag)}", found, as_json)


def explain(
    user: Annotated[str, typer.Argument(help="the user's own id")],
    item: Annotated[str, typer.Argument(help="the item's own id")],
    model: Model = "sample",
    n: Annotated[int, typer.Option("--n", "-n", min=1, help="how many liked items")] = 5,
    as_json: AsJson = False,
) -> None:
    """Split a user's score for an item into the parts that add up to it."""
    found = open_model(model).explain(user, item, n)
    if as_json:
        print(json.dumps(found.as_dict(), indent=1, ensure_ascii=False))
        return
    from rich.console import Console

    from recsys.cli.tables import explanation

    Console().print(explanation(found))


def _filters(
    must: list[str] | None,
    must_not: list[str] | None,
    exclude: list[str] | None,
    trained: bool = False,
    only: list[str] | None = None,
) -> Filters:
    from recsys.recommend.queries.filters import Filters

    return Filters(
        must or (),
        must_not or (),
        exclude or (),
        include_untrained=False if trained else None,
        only=_allowed(only),
    )


def _allowed(only: list[str] | None) -> tuple[str, ...] | None:
    """The ids of an allow-list, those of files that are available now among them."""
    if not only:
        return None
    from recsys.recommend.availability import now, read_availability

    found: list[str] = []
    for value in only:
        if _meant_as_file(value) and not Path(value).exists():
            raise NotFoundError(
                f"no file {value}", "a file of items, or an id", "check the path given to --only"
            )
        if Path(value).is_file():
            table = read_availability(value)
            found += table.items.filter(table.open_at(now())).to_pylist()
        else:
            found.append(value)
    return tuple(found)


def _meant_as_file(value: str) -> bool:
    """Whether somebody who writes this means a file: ids seldom end so."""
    return value.lower().endswith((".csv", ".tsv", ".txt", ".psv", ".parquet", ".jsonl", ".gz"))


def _title(recommender: Recommender, item: str | None, tags: list[str] | None) -> str:
    if item is None:
        return f"a new item with {', '.join(tags)}" if tags else "a new item"
    return recommender.name(recommender.items.index(item))


def _weighted(tag: str, recommender: Recommender) -> tuple[str, float]:
    """Read `anime` or `anime=0.5`; what follows an equals sign is a weight if it is a number.

    A tag that is known as it stands goes first: a tag may be called `lanes=2`.
    """
    name, _, weight = tag.rpartition("=")
    lookup = recommender.view.item_lookup
    if not name or (lookup is not None and lookup.is_known(tag)):
        return tag, 1.0
    try:
        return name, float(weight)
    except ValueError:
        return tag, 1.0


def _show(title: str, found: Answer, as_json: bool) -> None:
    if as_json:
        # Standard output has the rows alone, so that a program reads a list; notes go elsewhere.
        print(json.dumps(found.as_dicts(), indent=1, ensure_ascii=False))
        for note in found.notes:
            print(f"note: {note}", file=sys.stderr)
        return
    from rich.console import Console

    from recsys.cli.tables import answer

    Console().print(answer(title, found))
