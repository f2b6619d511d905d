"""The files of a configuration: which columns are read of them, and whether they are there."""

from __future__ import annotations

from typing import Literal, TypeAlias

from recsys.base import config
from recsys.base.events import Download, emit
from recsys.data.datasets import find_dataset, locate
from recsys.data.features import FeatureColumns
from recsys.data.interactions import InteractionColumns
from recsys.data.splits import require_timestamp
from recsys.data.tables import TextFormat, check_table, fingerprint

Side: TypeAlias = Literal["item", "user"]
SOURCES = ("likes", "features", "user_features")


def text_format(data: config.Data) -> TextFormat:
    """How the text files of a configuration are written."""
    return TextFormat(data.delimiter, data.quote, data.escape, data.encoding)


def interaction_columns(data: config.Data) -> InteractionColumns:
    """Which columns of the interactions are read."""
    return InteractionColumns(
        data.user_column,
        data.item_column,
        data.name_column,
        data.weight_column,
        data.timestamp_column,
    )


def feature_columns(data: config.Data, side: Side) -> FeatureColumns:
    """Which columns of a side's features are read; owners go by their name in the interactions."""
    owner = {
        "item": data.feature_item_column or data.item_column,
        "user": data.feature_user_column or data.user_column,
    }
    return FeatureColumns(
        owner[side],
        data.feature_type_column,
        data.feature_value_column,
        data.feature_weight_column,
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


def sources_of(data: config.Data) -> dict[str, str]:
    """What is read, by content: fingerprints of the files, and how they are to be read.

    Raises
    ------
    InputError
        If a file is missing.
    """
    named = {role: getattr(data, role) for role in SOURCES}
    found = {role: fingerprint(source) for role, source in named.items() if source}
    return found | {"format": data.model_dump_json(exclude=set(SOURCES))}


def check_input(dataset: str, data: config.Data | None, split: config.Split) -> None:
    """Make sure that a run can begin: files and columns are there, the data set is known.

    Headers and first rows are read at most, nothing is downloaded. What is wrong is said in the
    words of the stage that would meet it.

    Parameters
    ----------
    dataset : str
        The named data set, which counts where there is no `data`.
    data : config.Data or None
    split : config.Split

    Raises
    ------
    InputError
        If a file is missing, empty, or not what its name says, or lacks a column.
    NotFoundError
        If there is no such data set.
    """
    if data is None:
        timestamp = find_dataset(dataset).schema.timestamp_column
    else:
        timestamp, text = data.timestamp_column, text_format(data)
        check_table(data.likes, interaction_columns(data).present(), text)
        if data.features:
            check_table(data.features, feature_columns(data, "item").present(), text)
        if data.user_features:
            check_table(data.user_features, feature_columns(data, "user").present(), text)
    require_timestamp(split.method == "last", timestamp is not None)
