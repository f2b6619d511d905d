"""Item tables: a row for each item, whose columns become types of features."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.base.errors import InputError
from recsys.data.columns import ValueFormat, numbers
from recsys.data.ids import ENCODED, encode_ids, missing

SEPARATORS = ("|", ";", ", ", ",", "/")
_SEPARATED = 0.1  # share of the cells in which a separator stands
_UNIQUE = 0.9  # share of distinct values from which a column identifies rather than describes
_FEW = 10  # rows below which nothing is said of a column
_BINS = 10
_MOST_NUMBERS = 20  # distinct numbers that are values by themselves
_LISTED = re.compile(r"^\s*\[.*\]\s*$")


@dataclass(frozen=True)
class Cells:
    """A column of a wide table: its name, and its values (n_rows,)."""

    name: str
    column: pa.ChunkedArray


def split_cells(
    table: pa.Table, separator: str | None, name: str, source: str
) -> tuple[pa.Table, list[str]]:
    """A long table with one value in each row.

    Parameters
    ----------
    table : pyarrow.Table
        With dictionary-encoded columns owner, type and value.
    separator : str or None
        Between values; without one nothing is split, and a note says so where it looks like it.
    name, source : str
        Of the column of values and the table, for messages.

    Returns
    -------
    table : pyarrow.Table
        The same one if nothing was split.
    notes : list of str
    """
    if separator:
        rows, values = _split(table.column("value").cast(pa.string()), separator)
        split = table.take(pa.array(rows))
        place = split.column_names.index("value")
        return split.set_column(place, "value", _encode(values)), []
    if separator is None and table.num_rows:
        found = _find_separator(table.column("value").cast(pa.string()))
        if found in ("|", ";"):
            example = next(
                value
                for value in pc.unique(table.column("value").cast(pa.string())).to_pylist()
                if found in value
            )
            return table, [
                f"values of {name} in {source} such as {example!r} look like several, and count as "
                f"one each; set data.feature_separator = {found!r} to split them"
            ]
    return table, []


def widened(
    owner: pa.ChunkedArray,
    cells: Sequence[Cells],
    separator: str | None,
    values: ValueFormat,
    source: str,
) -> tuple[pa.Table, list[str]]:
    """The columns of a wide table as a long one.

    Lists, and text with a separator, are several values. Numbers are taken as they are where they
    are few, else by tenths of the items. A column with another value for almost every item
    describes none of them, and is left out.

    Parameters
    ----------
    owner : pyarrow.ChunkedArray
        Dictionary-encoded ids (n_rows,).
    cells : sequence of Cells
    separator : str or None
        Between values of a cell; None: found; '' for none.
    values : ValueFormat
    source : str
        The table's name in messages.

    Returns
    -------
    table : pyarrow.Table
        Columns owner, type and value, dictionary-encoded.
    notes : list of str
    """
    notes: list[str] = []
    owners, types, found = [], [], []
    for each in cells:
        rows, texts = _values_of(each, separator, values, source, notes)
        if texts is None:
            continue
        good = ~missing(pa.chunked_array([texts]), values.missing)
        rows, texts = rows[good], texts.filter(pa.array(good))
        owners.append(owner.take(pa.array(rows)).cast(pa.string()))
        types.append(pa.array([each.name.strip()] * len(rows), pa.string()))
        found.append(texts)
    parts = {
        "owner": [chunk for column in owners for chunk in column.chunks],
        "type": types,
        "value": found,
    }
    return pa.table({n: _encode(pa.chunked_array(p, pa.string())) for n, p in parts.items()}), notes


def _values_of(
    each: Cells, separator: str | None, values: ValueFormat, source: str, notes: list[str]
) -> tuple[np.ndarray, pa.Array | None]:
    """The values of a column, and the row of each; None for a column that is left out."""
    column, every = each.column, np.arange(len(each.column))
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        whole = column.combine_chunks()
        whole = whole.chunk(0) if isinstance(whole, pa.ChunkedArray) else whole
        inner = pc.list_flatten(whole)
        if not (pa.types.is_string(inner.type) or pa.types.is_integer(inner.type)):
            notes.append(f"{each.name} of {source} holds lists of {inner.type}, and is left out")
            return every, None
        return np.asarray(pc.list_parent_indices(whole)), inner.cast(pa.string())
    if pa.types.is_temporal(kind) or pa.types.is_nested(kind) or pa.types.is_binary(kind):
        notes.append(
            f"{each.name} of {source} holds {kind} values, and is left out of the features"
        )
        return every, None
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        return every, _binned(numbers(column), each.name, source, notes)
    text = _flat(column.cast(pa.string()))
    present = text.filter(pa.array(~missing(pa.chunked_array([text]), values.missing)))
    if not len(present):
        return every, None
    if pc.all(pc.match_substring_regex(present, r"^\s*[-+]?\d+([.,]\d+)?\s*$")).as_py():
        try:
            parsed = numbers(pa.chunked_array([text]), values, f"{each.name} of {source}")
        except InputError:
            parsed = None
        if parsed is not None and len(np.unique(parsed[np.isfinite(parsed)])) > _MOST_NUMBERS:
            return every, _binned(parsed, each.name, source, notes)
    chosen = _find_separator(pa.chunked_array([present])) if separator is None else separator
    rows = every
    if chosen:
        rows, text = _split(pa.chunked_array([text]), chosen)
        if separator is None:
            notes.append(f"{each.name} of {source} is split at {chosen!r} into several values")
    distinct = pc.count_distinct(text).as_py()
    if len(present) >= _FEW and distinct >= _UNIQUE * len(text):
        notes.append(
            f"{each.name} of {source} has another value for almost every row, such as "
            f"{present[0].as_py()[:40]!r}, and is left out of the features"
        )
        return every, None
    return rows, text


def _flat(column: pa.ChunkedArray) -> pa.Array:
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        return whole.chunk(0) if whole.num_chunks else pa.array([], whole.type)
    return whole


def _encode(values: pa.ChunkedArray | pa.Array) -> pa.ChunkedArray:
    column = values if isinstance(values, pa.ChunkedArray) else pa.chunked_array([values])
    return encode_ids(column.dictionary_encode().cast(ENCODED), "value", "the table")


def _find_separator(column: pa.ChunkedArray) -> str:
    """What stands between several values of a cell; '' if cells hold one value."""
    distinct = pc.unique(column.drop_null())
    if not len(distinct):
        return ""
    for separator in SEPARATORS:
        if not pc.any(pc.match_substring(distinct, separator)).as_py():
            continue
        inside = pc.sum(pc.match_substring(column, separator)).as_py() or 0
        if inside < _SEPARATED * len(column):
            continue
        if separator == "|":
            # No language has it.
            return separator
        _, parts = _split(pa.chunked_array([distinct]), separator)
        # Values that come again and again in other company.
        if pc.count_distinct(parts).as_py() < len(distinct) or len(parts) > 2 * len(
            pc.unique(parts)
        ):
            return separator
    return ""


def _split(column: pa.ChunkedArray, separator: str) -> tuple[np.ndarray, pa.Array]:
    """The values of cells, without blanks around them, and the row of each."""
    text = _flat(pc.fill_null(column, ""))
    if len(text) and _LISTED.match(text[0].as_py()):
        # As Python prints a list.
        text = pc.replace_substring_regex(text, r"^\s*\[|\]\s*$|['\"]", "")
    lists = pc.split_pattern(text, separator)
    values = pc.utf8_trim_whitespace(pc.list_flatten(lists))
    return np.asarray(pc.list_parent_indices(lists)), values


def _binned(number: np.ndarray, name: str, source: str, notes: list[str]) -> pa.Array | None:
    """Numbers as text: as they are where they are few, else the tenth of the rows they are in."""
    known = np.isfinite(number)
    distinct = np.unique(number[known])
    whole = bool((distinct == np.floor(distinct)).all())
    if whole and known.sum() >= _FEW and len(distinct) >= _UNIQUE * known.sum():
        notes.append(
            f"{name} of {source} has another number for almost every row, as ids have, and is left "
            "out of the features"
        )
        return None
    if len(distinct) <= _MOST_NUMBERS:
        return pa.array([f"{x:g}" if ok else None for x, ok in zip(number, known, strict=True)])
    edges = np.unique(np.quantile(number[known], np.linspace(0, 1, _BINS + 1)))
    place = np.clip(np.searchsorted(edges, number, side="right") - 1, 0, len(edges) - 2)
    labels = [f"{a:g} to {b:g}" for a, b in pairwise(edges)]
    notes.append(f"{name} of {source} is taken by {len(labels)} ranges of numbers")
    return pa.array([labels[at] if ok else None for at, ok in zip(place, known, strict=True)])
