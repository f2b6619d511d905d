"""The files of a configuration: which columns are read of them, and whether they are there."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Literal, TypeAlias

from recsys.base import config
from recsys.base.events import Download, emit
from recsys.data.ages import without_times
from recsys.data.column_names import find_known
from recsys.data.columns import ValueFormat
from recsys.data.datasets import find_dataset, locate
from recsys.data.dialects import TextFormat
from recsys.data.features import FeatureColumns, find_feature_columns
from recsys.data.interactions import (
    InteractionColumns,
    find_interaction_columns,
    read_interaction_table,
)
from recsys.data.likes_log import Snapshot
from recsys.data.signals import InteractionRules
from recsys.data.splits import require_timestamp
from recsys.data.tables import fingerprint, open_table
from recsys.data.windows import units_in_a_second

Side: TypeAlias = Literal["item", "user"]
ROLES: dict[Side, str] = {"item": "features", "user": "user_features"}
SOURCES = ("likes", "features", "user_features")
LIKES_LOG = "likes_log"
_SMALL = 1_000_000  # bytes of a file that is read in no time
TEXT_SETTINGS = ("delimiter", "quote", "escape", "encoding", "header")


def text_format(data: config.Data, role: str = "likes") -> TextFormat:
    """How a text file of a configuration is written.

    Parameters
    ----------
    data : config.Data
    role : {"likes", "features", "user_features"}
        Which file. What is set for all of them holds for features unless they have a section of
        their own, or another delimiter in their first line.
    """
    own = getattr(data, f"{role}_text", None)
    given = {name: getattr(data, name) for name in TEXT_SETTINGS}
    if own is not None:
        given |= {n: getattr(own, n) for n in TEXT_SETTINGS if getattr(own, n) is not None}
    setting = "data" if role == "likes" else f"data.{role}_text"
    lenient = role != "likes" and (own is None or own.delimiter is None)
    return TextFormat(**given, setting=setting, lenient=lenient)


def value_format(data: config.Data, role: str = "likes") -> ValueFormat:
    """How the values in a file of a configuration are written."""
    own = getattr(data, f"{role}_text", None)
    decimal = data.decimal if own is None or own.decimal is None else own.decimal
    return ValueFormat(
        missing=tuple(data.missing),
        decimal=decimal,
        dates=data.timestamp_format,
        timezone=data.timezone,
        one_type=data.ids == "one_type",
    )


def interaction_columns(data: config.Data) -> InteractionColumns:
    """Which columns of the interactions are read."""
    return InteractionColumns(
        data.user_column,
        data.item_column,
        data.name_column,
        data.weight_column,
        data.timestamp_column,
        data.rating_column,
        data.event_column,
    )


def interaction_rules(data: config.Data) -> InteractionRules:
    """Which rows are interactions, and what they weigh."""
    return InteractionRules(
        value_format(data),
        data.repeats,
        data.liked_from,
        data.event_weights,
        data.weights,
        data.disliked_to,
        data.unrated,
        data.negative_weights,
        data.since,
        data.until,
        data.half_life,
        data.item_separator,
    )


def feature_columns(data: config.Data, side: Side) -> FeatureColumns:
    """Which columns of a side's features are read; owners go by their name in the interactions."""
    owner = {"item": data.feature_item_column, "user": data.feature_user_column}
    wide = {"item": data.feature_columns, "user": data.user_feature_columns}
    return FeatureColumns(
        owner[side],
        data.feature_type_column,
        data.feature_value_column,
        data.feature_weight_column,
        tuple(wide[side]),
        data.feature_name_column,
        data.feature_separator,
        tuple(data.text_columns) if side == "item" else (),
        data.term_min_items,
        data.term_max_share,
    )


def locate_data(dataset: str, data: config.Data | None) -> config.Data:
    """The files to be read: those given, or a named data set's, fetched on first use.

    Parameters
    ----------
    dataset : str
        The named data set, which counts where there is no `data`.
    data : config.Data or None

    Raises
    ------
    NotFoundError
        If there is no such data set.
    DownloadError
        If it cannot be fetched whole.
    """
    if data is not None:
        return data
    located = locate(dataset, progress=lambda done, total: emit(Download(done, total)))
    return config.Data.model_validate(located.as_config())


def sources_of(data: config.Data, said: Snapshot | None = None) -> dict[str, str]:
    """What is read, by content: fingerprints of the files, and how they are to be read.

    Parameters
    ----------
    data : config.Data
    said : Snapshot or None
        Of the likes log, where there is one that says something.

    Raises
    ------
    InputError
        If a file is missing.
    """
    named = {role: getattr(data, role) for role in SOURCES}
    found = {role: fingerprint(source) for role, source in named.items() if source}
    if said is not None:
        found[LIKES_LOG] = said.digest
    return found | {"format": reading_key(data)}


def reading_key(data: config.Data) -> str:
    """How the files of a configuration are to be read, as JSON."""
    return data.model_dump_json(exclude=set(SOURCES))


def open_features(data: config.Data, side: Side, source: str) -> FeatureColumns:
    """Which columns of a side's features are read; they are found to be there.

    Owners go by their name in the interactions where there is a column of that name.

    Raises
    ------
    InputError
        If the file or a column is missing.
    """
    columns = feature_columns(data, side)
    text = text_format(data, ROLES[side])
    opened = open_table(source, text, columns.given())
    if columns.owner is None:
        owner = {"item": data.item_column, "user": data.user_column}[side]
        if owner is not None and (owner in opened.names or not find_known(opened.names, side)):
            columns = replace(columns, owner=owner)
    find_feature_columns(opened, columns, side)
    return columns


def check_input(
    dataset: str, data: config.Data | None, split: config.Split, *, goes_by_age: bool = False
) -> None:
    """Make sure that a run can begin: files and columns are there, the data set is known.

    Headers and first rows are read, a small file of interactions whole; nothing is downloaded.
    What is wrong is said in the words of the stage that would meet it.

    Parameters
    ----------
    dataset : str
        The named data set, which counts where there is no `data`.
    data : config.Data or None
    split : config.Split
    goes_by_age : bool
        Whether the search has a half-life or a window.

    Raises
    ------
    InputError
        If a file is missing, empty, or not what its name says, or lacks a column, or times are
        needed and not known.
    NotFoundError
        If there is no such data set.
    """
    if data is None:
        timestamp = find_dataset(dataset).schema.timestamp_column
    else:
        timestamp = data.timestamp_column
        rules = interaction_rules(data)
        held_out = (split.validation_file, split.test_file) if split.method == "files" else ()
        for source in (data.likes, *held_out):
            if source is not None:
                _check_interactions(source, data, goes_by_age)
        for side, role in ROLES.items():
            if source := getattr(data, role):
                open_features(data, side, source)
        timestamp = timestamp or ("" if rules.need_time else None)
    require_timestamp(split.method in ("last", "time"), timestamp is not None)
    if goes_by_age and timestamp is None:
        raise without_times()


def _check_interactions(source: str, data: config.Data, goes_by_age: bool) -> None:
    rules, columns, text = interaction_rules(data), interaction_columns(data), text_format(data)
    opened = open_table(source, text, [name for name in columns.given().values() if name])
    find_interaction_columns(opened, columns, rules)
    path = Path(source)
    if path.is_file() and path.stat().st_size <= _SMALL:
        found = read_interaction_table(source, columns, text, rules)
        if goes_by_age and found.interactions.timestamp is not None:
            # Numbers of weeks, say, tell no age.
            units_in_a_second(found.interactions.timestamp, f"the time of {opened.label}")
