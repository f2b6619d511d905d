"""Baskets: interactions with several items in a cell, read as a row for each item."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.base.errors import InputError
from recsys.data.ids import ENCODED, encode_ids
from recsys.data.separated import flat, split_values

_SEPARATORS = ("|", ";", ",")
_SEPARATED = 0.5  # share of the distinct cells in which a separator stands
_FEW = 10  # distinct cells below which nothing is said
_LOOKED_AT = 10_000  # distinct cells
_COMPOSED = 3  # parts that an id composed of others may have, as "shop|article"


def is_list(kind: pa.DataType) -> bool:
    """Whether cells of a type hold lists."""
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
    )


def of_lists(table: pa.Table, name: str) -> pa.Table:
    """A row for each element of a column of lists; one without a value where a list is empty."""
    kind = table.schema.field(name).type
    column = flat(table.column(name).cast(pa.large_list(kind.value_type)))
    sizes = np.asarray(pc.fill_null(pc.list_value_length(column), 0))
    rows = np.repeat(np.arange(len(sizes)), np.maximum(sizes, 1))
    empty = np.repeat(sizes == 0, np.maximum(sizes, 1))
    place = np.cumsum(~empty) - 1
    values = pc.list_flatten(column).take(pa.array(place, mask=empty))
    return _with_items(table, rows, name, values)


def of_text(table: pa.Table, separator: str) -> pa.Table:
    """A row for each item of cells with a separator between items.

    Parameters
    ----------
    table : pyarrow.Table
        With a dictionary-encoded column ``item``.
    separator : str

    Returns
    -------
    table : pyarrow.Table
        Nothing between two separators is no item; a cell without any keeps its row.
    """
    rows, values = split_values(table.column("item").cast(pa.string()), separator)
    keep = np.asarray(pc.not_equal(values, "")) | (np.bincount(rows)[rows] == 1)
    # Of a cell with separators alone, one empty value stays.
    lacking = np.setdiff1d(rows, rows[keep])
    keep[np.searchsorted(rows, lacking)] = True
    values = encode_ids(
        pa.chunked_array([values.filter(pa.array(keep))]).dictionary_encode().cast(ENCODED),
        "item",
        "the table",
    )
    return _with_items(table, rows[keep], "item", values)


def refuse_baskets(column: pa.ChunkedArray, named: str) -> None:
    """A stop where cells look like several items each.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
        Items, dictionary-encoded.
    named : str
        The column and its table, for messages.

    Raises
    ------
    InputError
        If half of the distinct cells have a separator, between parts that come again in others.
    """
    cells = pc.unique(column)
    texts = (cells.dictionary if isinstance(cells, pa.DictionaryArray) else cells).slice(
        0, _LOOKED_AT
    )
    texts = texts.drop_null()
    if len(texts) < _FEW:
        return
    for separator in _SEPARATORS:
        inside = pc.match_substring(texts, separator)
        if (pc.sum(inside).as_py() or 0) < _SEPARATED * len(texts):
            continue
        rows, parts = split_values(pa.chunked_array([texts.filter(inside)]), separator)
        sizes = np.unique(np.bincount(rows))
        again = 2 * pc.count_distinct(parts).as_py() < len(parts)
        if again and (len(sizes) > 1 or sizes[0] > _COMPOSED):
            raise InputError(
                f"{named} has cells such as {texts.filter(inside)[0].as_py()[:60]!r}, which look "
                "like several items each",
                "an item in each cell, or what is between items",
                f"set data.item_separator = {_quoted(separator)} to read each as an interaction, "
                'or "" if such a cell is one item',
            )


def _quoted(text: str) -> str:
    return f'"{text}"'


def _with_items(
    table: pa.Table, rows: np.ndarray, name: str, values: pa.Array | pa.ChunkedArray
) -> pa.Table:
    """Some rows of a table, with other values of a column."""
    taken = table.drop_columns([name]).take(pa.array(rows))
    return taken.append_column(name, values).select(table.column_names)
