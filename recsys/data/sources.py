"""The files of a configuration: which columns are read of them, and whether they are there."""

from __future__ import annotations

from pathlib import Path

from recsys.base import config
from recsys.base.events import Download, emit
from recsys.base.table_settings import ItemTable, UserTable
from recsys.data.ages import without_times
from recsys.data.datasets import find_dataset, locate
from recsys.data.feature_sources import ROLES, open_feature_sources
from recsys.data.formats import text_format, value_format
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

SOURCES = ("likes", "features", "user_features")
LIKES_LOG = "likes_log"
_SMALL = 1_000_000  # bytes of a file that is read in no time


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
    found = {"likes": fingerprint(data.likes)}
    for side, role in ROLES.items():
        if tables := data.feature_tables(side):
            # In any order, for what several tables say together does not depend on it.
            found[role] = " ".join(sorted(map(_table_key, tables)))
    if said is not None:
        found[LIKES_LOG] = said.digest
    return found | {"format": reading_key(data)}


def _table_key(table: ItemTable | UserTable) -> str:
    """A table of features by its content, and how it is read where it differs from others."""
    own = table.model_dump_json(exclude={"source"}, exclude_defaults=True)
    return fingerprint(table.source) + ("" if own == "{}" else own)


def reading_key(data: config.Data) -> str:
    """How the files of a configuration are to be read, as JSON."""
    return data.model_dump_json(exclude=set(SOURCES))


def check_input(
    dataset: str, data: config.Data | None, split: config.Split, *, goes_by_age: bool = False
) -> None:
    """Make sure that a run can begin: files and columns are there, the data set is known.

    Headers and first rows are read, small files whole; nothing is downloaded.
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
        for side in ROLES:
            for table in open_feature_sources(data, side):
                if _is_small(table.source):
                    table.read()
        timestamp = timestamp or ("" if rules.need_time else None)
    require_timestamp(split.method in ("last", "time"), timestamp is not None)
    if goes_by_age and timestamp is None:
        raise without_times()


def _check_interactions(source: str, data: config.Data, goes_by_age: bool) -> None:
    rules, columns, text = interaction_rules(data), interaction_columns(data), text_format(data)
    opened = open_table(source, text, [name for name in columns.given().values() if name])
    find_interaction_columns(opened, columns, rules)
    if _is_small(source):
        found = read_interaction_table(source, columns, text, rules)
        if goes_by_age and found.interactions.timestamp is not None:
            # Numbers of weeks, say, tell no age.
            units_in_a_second(found.interactions.timestamp, f"the time of {opened.label}")


def _is_small(source: str) -> bool:
    """Whether it is a local file that is read in no time."""
    path = Path(source)
    return path.is_file() and path.stat().st_size <= _SMALL
