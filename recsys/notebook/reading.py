"""Reading in a notebook: interactions and features from a DataFrame, a file or a named data set."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import scipy.sparse as sp

from recsys.base.errors import InputError
from recsys.base.missing_words import MISSING_WORDS
from recsys.base.redaction import redacted
from recsys.data import datasets, features, interactions
from recsys.data.accounts import left_out, similar_ids
from recsys.data.columns import ValueFormat
from recsys.data.dialects import TextFormat
from recsys.data.feature_pairs import FeatureRepeats, FeatureTable, combined
from recsys.data.features import FeatureColumns
from recsys.data.interactions import InteractionColumns, Interactions
from recsys.data.numbers import Mark
from recsys.data.repeats import Repeats
from recsys.data.signals import InteractionRules, NegativeWeights, Outside
from recsys.data.tables import Source
from recsys.data.weights import Damping
from recsys.notebook.data import InteractionData, SplitData


@dataclass(frozen=True, repr=False)
class LoadedDataset:
    """A named data set, read.

    Parameters
    ----------
    title : str
    interactions : InteractionData
    features, user_features : FeatureTable or None
        Of items and of users.
    """

    title: str
    interactions: InteractionData
    features: FeatureTable | None = None
    user_features: FeatureTable | None = None

    def __repr__(self) -> str:
        described = "" if self.features is None else f", {len(self.features.names):,} features"
        return f"<LoadedDataset {self.title!r}: {self.interactions!r}{described}>"


def read_interactions(
    source: Source,
    *,
    user: str | int | None = None,
    item: str | int | None = None,
    name: str | int | None = None,
    weight: str | int | None = None,
    timestamp: str | int | None = None,
    delimiter: str | None = None,
    rating: str | int | None = None,
    liked_from: float | None = None,
    event: str | int | None = None,
    event_weights: Mapping[str, float | str] | None = None,
    repeats: Repeats = "sum",
    weights: Damping = "auto",
    disliked_to: float | None = None,
    negative_weights: NegativeWeights = "leave_out",
    since: str | None = None,
    until: str | None = None,
    half_life: str | None = None,
    unrated: float | None = None,
    quote: str | None = None,
    escape: str | None = None,
    encoding: str | None = None,
    header: bool | None = None,
    missing: Sequence[str] = MISSING_WORDS,
    decimal: Mark | None = None,
    timestamp_format: str | None = None,
    timezone: str = "UTC",
    item_separator: str | None = None,
) -> InteractionData:
    """Read interactions from a table in memory or a file.

    Parameters
    ----------
    source : table, matrix, path or URL
        A row for each interaction: a table of pandas, Polars or Arrow, or a file of text, JSON
        lines, Parquet or Arrow, compressed or not; or a SciPy matrix of users by items.
    user, item, name : str, int or None
        The columns of the users, the items, and the items' names: their names, or their numbers
        from 1 in a file without a header. Where they are not given, they
        are known by names such as user, user_id, userId, uid, item, itemId, movieId, mid.
    weight, timestamp : str, int or None
        Columns that are read only if they are given.
    delimiter : str or None
        Of a text file; found in it where it is not given.
    rating : str, int or None
        The column of ratings; known by its name where it is not given; '' if every row is a like.
    liked_from : float or None
        The lowest rating that is a like.
    event : str, int or None
        The column of the kinds of event; known by its name where it is not given.
    event_weights : mapping of str to (float or str), or None
        What each kind weighs, 0 to leave it out; "dislike" and "cancels purchase" are no likes.
    repeats : {"sum", "last", "max", "count"}
        The weight of a pair that occurs several times.
    weights : {"auto", "as_given", "log1p", "none"}
        What becomes of weights: damped by their logarithm if they span more than a factor of 100,
        as they are, damped in any case, or all alike.
    disliked_to : float or None
        The highest rating that is a dislike.
    negative_weights : {"leave_out", "refund", "dislike"}
        What a negative weight says.
    since, until : str or None
        The window of time that counts: dates, or durations before the latest, such as "365d".
    half_life : str or None
        The duration in which a weight is halved, such as "90d".
    unrated : float or None
        The rating that stands for none, such as 0.
    quote, escape, encoding : str or None
        Of a text file; found in it where they are not given; '' if it has no quotes or escapes.
    header : bool or None
        Whether the first line names the columns; found where it is not given.
    missing : sequence of str
        Words that stand for a missing value.
    decimal : {".", ","} or None
        The mark before decimals; found where it is not given.
    timestamp_format : str or None
        "dmy", "mdy", "ymd" or a format of `strptime`; found where it is not given.
    timezone : str
        Of dates that do not name one.
    item_separator : str or None
        What is between several items of a cell; '' where a cell is one item.

    Returns
    -------
    InteractionData

    Raises
    ------
    InputError
        If a column is not found, the file cannot be read, or no row is usable.
    """
    given = (user, item, name, weight, timestamp, rating, event)
    columns = InteractionColumns(*map(_numbered, given))
    if weight is None and sp.issparse(source):
        columns = replace(columns, weight="weight")
    rules = InteractionRules(
        repeats=repeats,
        liked_from=liked_from,
        event_weights=event_weights,
        damping=weights,
        disliked_to=disliked_to,
        negative_weights=negative_weights,
        since=since,
        until=until,
        half_life=half_life,
        unrated=unrated,
        item_separator=item_separator,
        values=ValueFormat(
            missing=tuple(missing), decimal=decimal, dates=timestamp_format, timezone=timezone
        ),
    )
    text = TextFormat(delimiter, quote, escape, encoding, header)
    with _arguments_named():
        return _read(source, columns, text, rules)


def read_split(
    train: Source, test: Source, validation: Source | None = None, **columns: Any
) -> SplitData:
    """Read a split that was made elsewhere, such as a paper's, from a table for each part.

    Parameters
    ----------
    train, test, validation : table, matrix, path or URL
    **columns
        How they are read, as in `read_interactions`.

    Returns
    -------
    SplitData
        Each part with the users and items it has; `evaluate` leaves out those of a holdout that
        the model does not know.
    """
    parts = [
        None if part is None else read_interactions(part, **columns)
        for part in (train, test, validation)
    ]
    first, second, third = parts
    assert first is not None
    assert second is not None
    return SplitData(first, second, third)


def read_features(
    source: Source | Sequence[Source | FeatureTable],
    *,
    owner: str | int | None = None,
    type: str | int | None = None,
    value: str | int | None = None,
    weight: str | int | None = None,
    delimiter: str | None = None,
    kind: str = "item",
    columns: Sequence[str | int] | Mapping[str | int, str] = (),
    separator: str | None = None,
    header: bool | None = None,
    repeats: FeatureRepeats = "max",
) -> FeatureTable:
    """Read features of items (or users) from a table or several.

    A long table has a row for each item and feature, a wide one a row for each item.

    Parameters
    ----------
    source : table, path or URL, or a list of such
        See `read_interactions`. In a list, also what this function returned for tables that are
        read in other ways; the arguments hold for the others.
    owner, type, value : str, int or None
        The columns of the item, of a feature's type (`tag`) and of its value (`anime`); known by
        their names where they are not given. A table without columns of type and value is wide.
    weight : str, int or None
        Read only if it is given.
    delimiter : str or None
        Of a text file; found in it where it is not given.
    kind : {"item", "user"}
        Whose features they are.
    columns : sequence of (str or int), or mapping of these to str
        Of a wide table, those that are features, perhaps with what the features are called; all
        that describe items if none is given.
    separator : str or None
        Between several values in a cell; found in wide tables where it is not given.
    header : bool or None
        Whether the first line of a text file names the columns; found where it is not given.
    repeats : {"max", "sum"}
        What a feature weighs that an item has several times, in one table or in several: the
        largest of its weights, so 1 where there are none, or their sum, so how often it is there.

    Raises
    ------
    InputError
        If a column is not found, a file cannot be read, or no row is usable.
    """
    sources = source if isinstance(source, list | tuple) else [source]
    wide = [str(column) for column in columns]
    called = columns if isinstance(columns, Mapping) else {}
    named = FeatureColumns(
        _numbered(owner),
        _numbered(type),
        _numbered(value),
        _numbered(weight),
        tuple(wide),
        separator=separator,
        types={str(column): name for column, name in called.items()},
        repeats=repeats,
    )
    text = TextFormat(delimiter, header=header)
    tables, unnamed = [], []
    with _arguments_named():
        for place, one in enumerate(sources, start=1):
            if isinstance(one, FeatureTable):
                tables.append(one)
                continue
            found = features.read_feature_table(one, named, text, kind)
            tables.append(found.features)
            unnamed.append((f"table {place}", found.unnamed))
        remedy = "read each by itself, with columns={{{place}: 'genre'}}, and hand both in a list"
        features.refuse_one_place(unnamed, remedy)
        return combined(tables, repeats).features if len(tables) != 1 else tables[0]


def _numbered(column: str | int | None) -> str | None:
    return None if column is None else str(column)


def load_dataset(name: str = "sample", root: str | Path = datasets.DEFAULT_ROOT) -> LoadedDataset:
    """Read a named data set; downloaded and verified on first use where it is not bundled.

    Parameters
    ----------
    name : str
        `recsys datasets` lists them; "sample" is bundled.
    root : str or Path
        The folder that downloads are kept in.

    Raises
    ------
    NotFoundError
        If there is no data set of that name.
    DownloadError
        If it cannot be downloaded whole.
    """
    located = datasets.locate(name, Path(root))
    schema = located.dataset.schema
    text = TextFormat(schema.delimiter, escape=schema.escape)
    columns = InteractionColumns(
        schema.user_column,
        schema.item_column,
        schema.name_column,
        schema.weight_column,
        schema.timestamp_column,
        schema.rating_column,
    )
    found: dict[str, FeatureTable | None] = {}
    for kind, path, owner in (
        ("item", located.features, schema.feature_item_column),
        ("user", located.user_features, schema.feature_user_column),
    ):
        named = FeatureColumns(
            owner, schema.feature_type_column, schema.feature_value_column,
            schema.feature_weight_column,
        )  # fmt: skip
        found[kind] = (
            None if path is None else features.read_features(str(path), named, text, kind)[0]
        )
    likes = _read(str(located.likes), columns, text)
    return LoadedDataset(located.dataset.title, likes, found["item"], found["user"])


def _read(
    source: Source,
    columns: InteractionColumns,
    text: TextFormat,
    rules: InteractionRules = InteractionRules(),
) -> InteractionData:
    found = interactions.read_interaction_table(source, columns, text, rules)
    notes = [*found.read_as, *found.notes]
    # What is left out and why is said; in Python nobody has to be stopped by its share.
    label = source if isinstance(source, str | Path) else "the table"
    label = redacted(str(label))
    notes += left_out(label, found.rows, found.rejected, found.set_aside, largest=1.0)
    for ids in (found.interactions.users, found.interactions.items):
        notes += similar_ids(ids)[1]
    hidden = _hidden(found.interactions, found.outside)
    said = tuple(_SETTING.sub(_argument, note) for note in notes)
    return InteractionData(found.interactions, found.names, found.left_out(), said, hidden)


def _hidden(own: Interactions, outside: Outside) -> pa.Table | None:
    """The pairs outside of the interactions, by their ids."""
    pairs = [each for each in (outside.earlier, outside.disliked) if each is not None]
    if not pairs:
        return None
    user, item = (pa.array(np.concatenate(part)) for part in zip(*pairs, strict=True))
    return pa.table({"user": own.users.ids.take(user), "item": own.items.ids.take(item)})


# As in "data.header = false" and "user_column = 1", which are header=False and user=1 here.
_SETTING = re.compile(r"(?:data\.(\w+?)(?:_column)?|\b(\w+)_column)\b( = )?(false|true)?")


@contextmanager
def _arguments_named() -> Iterator[None]:
    """Errors name the arguments of a function where those of the pipeline name settings."""
    try:
        yield
    except InputError as fault:
        said = (_SETTING.sub(_argument, part) for part in fault.args)
        raise InputError(*said) from fault


def _argument(setting: re.Match[str]) -> str:
    section, column, assigned, truth = setting.groups()
    return (section or column) + ("=" if assigned else "") + (truth or "").capitalize()
