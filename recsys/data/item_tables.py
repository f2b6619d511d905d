"""Item tables: a row for each item, whose columns become types of features."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.base.errors import InputError
from recsys.data.cell_values import Values, age_values, embedding_values, term_values
from recsys.data.column_names import KNOWN, plain
from recsys.data.columns import ValueFormat, numbers, seconds
from recsys.data.ids import ENCODED, encode_ids, missing
from recsys.data.separated import flat, listed, split_values
from recsys.data.windows import units_in_a_second

SEPARATORS = ("|", ";", ", ", ",", "/")
_SEPARATED = 0.1  # share of the cells in which a separator stands
_UNIQUE = 0.9  # share of distinct values from which a column identifies rather than describes
_FEW = 10  # rows below which nothing is said of a column
_BINS = 10
_MOST_NUMBERS = 20  # distinct numbers that are values by themselves
_SEVERAL_FLAGS = 3  # columns of zeros and ones that are categories taken apart
_LONG = 6  # words on average from which a text is one to be read
_DATE = (
    r"^\s*(\d{4}[-/.]\d{1,2}[-/.]\d{1,2}|\d{1,2}[-/.]\d{1,2}[-/.]\d{2,4}"
    r"|\d{1,2}[- ](?i:jan|feb|mar|apr|may|jun|jul|aug|sep|oct|nov|dec)[a-z]*[- ,]+\d{4})([T ,].*)?$"
)
_ADDRESS = r"^\s*(?i:https?|ftp)://\S+\s*$"
_VECTOR = r"^\s*\[\s*[-+]?\d*\.\d[-+.\deE,\s]*\]\s*$"


@dataclass(frozen=True)
class CellRules:
    """How the cells of a wide table become features.

    Parameters
    ----------
    separator : str or None
        Between values of a cell; None: found; '' for none.
    texts : tuple of str
        Columns of text to be taken by its terms, besides those of long texts.
    term_min_items : int
        Fewest items that a term must be on.
    term_max_share : float
        Largest share of the items with a text that it may be on.
    """

    separator: str | None = None
    texts: tuple[str, ...] = ()
    term_min_items: int = 5
    term_max_share: float = 0.3


@dataclass(frozen=True)
class Cells:
    """A column of a wide table.

    Parameters
    ----------
    name : str
    column : pyarrow.ChunkedArray
        Its values (n_rows,).
    type : str
        What its features are called.
    """

    name: str
    column: pa.ChunkedArray
    type: str


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
        rows, values = split_values(table.column("value").cast(pa.string()), separator)
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
    rules: CellRules,
    values: ValueFormat,
    source: str,
) -> tuple[pa.Table, list[str]]:
    """The columns of a wide table as a long one.

    Lists, and text with a separator, are several values. Numbers are taken as they are where they
    are few, else by tenths of the items; dates by their age; long texts by their terms; lists of
    floating-point numbers are embeddings. Another column with a new value for almost every item
    describes none of them, and is left out.

    Parameters
    ----------
    owner : pyarrow.ChunkedArray
        Dictionary-encoded ids (n_rows,).
    cells : sequence of Cells
    rules : CellRules
    values : ValueFormat
    source : str
        The table's name in messages.

    Returns
    -------
    table : pyarrow.Table
        Columns owner, type and value, dictionary-encoded, and weight where some is not one.
    notes : list of str
    """
    notes: list[str] = []
    owners, types, found, weights = [], [], [], []
    flags = _flags(cells)
    if flags:
        notes.append(
            f"{len(flags):,} columns of {source} say 0 or 1 of each row, such as {flags[0]}, and "
            "are features of the rows with a 1"
        )
    for each in cells:
        made = _values_of(each, rules, values, source, notes)
        if made is None:
            continue
        good = ~missing(pa.chunked_array([made.texts]), values.missing)
        if each.name in flags:
            good &= ~np.asarray(pc.equal(made.texts, "0").fill_null(True))
        rows = made.rows[good]
        weight = np.ones(len(made.rows), np.float32) if made.weight is None else made.weight
        owners.append(owner.take(pa.array(rows)).cast(pa.string()))
        types.append(pa.array([each.type.strip()] * len(rows), pa.string()))
        found.append(made.texts.filter(pa.array(good)))
        weights.append(weight[good])
    parts = {
        "owner": [chunk for column in owners for chunk in column.chunks],
        "type": types,
        "value": found,
    }
    table = pa.table({n: _encode(pa.chunked_array(p, pa.string())) for n, p in parts.items()})
    if any((weight != 1).any() for weight in weights):
        table = table.append_column("weight", pa.array(np.concatenate(weights)))
    return table, notes


def _flags(cells: Sequence[Cells]) -> list[str]:
    """Columns of zeros and ones, where there are several, as of categories taken apart."""
    found = []
    for each in cells:
        kind = each.column.type
        if pa.types.is_integer(kind) or pa.types.is_floating(kind):
            distinct = pc.unique(each.column.drop_null()).cast(pa.float64())
            known = pa.array([0.0, 1.0])
        elif pa.types.is_string(kind) or pa.types.is_large_string(kind):
            distinct = pc.utf8_trim_whitespace(pc.unique(each.column.drop_null()))
            distinct = distinct.filter(pc.not_equal(distinct, ""))
            known = pa.array(["0", "1"], distinct.type)
        else:
            continue
        if len(distinct) and pc.all(pc.is_in(distinct, value_set=known)).as_py():
            found.append(each.name)
    return found if len(found) >= _SEVERAL_FLAGS else []


def _values_of(
    each: Cells, rules: CellRules, values: ValueFormat, source: str, notes: list[str]
) -> Values | None:
    """The values of a column; None for a column that is left out."""
    column, every = each.column, np.arange(len(each.column))
    kind, named = column.type, f"{each.name} of {source}"
    if pa.types.is_temporal(kind):
        return _aged(seconds(column, values, named), named, notes)
    if pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind):
        return _listed(flat(column), named, notes)
    if pa.types.is_nested(kind) or pa.types.is_binary(kind):
        notes.append(f"{named} holds {kind} values, and is left out of the features")
        return None
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        return _numbered(every, numbers(column), each.name, source, notes)
    text = flat(column.cast(pa.string()))
    present = text.filter(pa.array(~missing(pa.chunked_array([text]), values.missing)))
    if not len(present):
        return None
    if each.name in rules.texts:
        return _terms(text, rules, named, notes)
    if pc.all(pc.match_substring_regex(present, _ADDRESS)).as_py():
        notes.append(f"{named} holds addresses of the web, and is left out of the features")
        return None
    if pc.all(pc.match_substring_regex(present, r"^\s*[-+]?\d+([.,]\d+)?\s*$")).as_py():
        try:
            parsed = numbers(pa.chunked_array([text]), values, named)
        except InputError:
            parsed = None
        if parsed is not None and len(np.unique(parsed[np.isfinite(parsed)])) > _MOST_NUMBERS:
            return _numbered(every, parsed, each.name, source, notes)
    elif pc.all(pc.match_substring_regex(present, _DATE)).as_py():
        return _aged(seconds(pa.chunked_array([text]), values, named), named, notes)
    elif pc.all(pc.match_substring_regex(present, _VECTOR)).as_py():
        lists = [json.loads(cell) if cell else None for cell in text.to_pylist()]
        return _listed(pa.array(lists, pa.list_(pa.float64())), named, notes)
    if rules.separator is None and (made := _printed(text, present, named, notes)) is not None:
        return made
    chosen = rules.separator
    if chosen is None:
        chosen = _find_separator(pa.chunked_array([present]))
    cells = text
    rows = every
    if chosen:
        rows, cells = split_values(pa.chunked_array([text]), chosen)
    distinct = pc.count_distinct(cells).as_py()
    if len(present) >= _FEW and distinct >= _UNIQUE * len(cells):
        if _words(present) >= _LONG and (made := _terms(text, rules, named, notes)) is not None:
            return made
        notes.append(
            f"{named} has another value for almost every row, such as "
            f"{present[0].as_py()[:40]!r}, and is left out of the features"
        )
        return None
    if chosen and rules.separator is None:
        notes.append(f"{named} is split at {chosen!r} into several values")
    return Values(rows, cells)


def _listed(lists: pa.Array, named: str, notes: list[str]) -> Values | None:
    """Several values in a cell, or an embedding."""
    inner = lists.type.value_type
    if pa.types.is_floating(inner):
        made = embedding_values(lists, named)
        size = len(pc.unique(made.texts))
        notes.append(f"{named} holds embeddings of {size:,} numbers, which are features")
        return made
    if not (pa.types.is_string(inner) or pa.types.is_integer(inner)):
        notes.append(f"{named} holds lists of {inner}, and is left out")
        return None
    texts = pc.list_flatten(lists).cast(pa.string())
    if len(texts) and pc.all(pc.match_substring_regex(texts, r"^\{[\s\S]*\}$")).as_py():
        called = {text: (listed(f"[{text}]") or [text])[0] for text in pc.unique(texts).to_pylist()}
        notes.append(f"{named} holds lists of objects, which are taken by their names")
        texts = pa.array([called[text] for text in texts.to_pylist()], pa.string())
    return Values(np.asarray(pc.list_parent_indices(lists)), texts)


def _printed(text: pa.Array, present: pa.Array, named: str, notes: list[str]) -> Values | None:
    """Lists as Python or JSON writes them, of texts or of objects with a name; None for others."""
    if not pc.all(pc.match_substring_regex(present, r"^\s*\[[\s\S]*\]\s*$")).as_py():
        return None
    distinct = pc.unique(present).to_pylist()
    lists = {cell: listed(cell) for cell in distinct}
    if any(parts is None for parts in lists.values()):
        return None
    cells = [lists.get(cell) or [] for cell in text.to_pylist()]
    notes.append(f"{named} holds lists as text, which are several values")
    rows = np.repeat(np.arange(len(cells)), [len(cell) for cell in cells])
    return Values(rows, pa.array([part for cell in cells for part in cell], pa.string()))


def _aged(moments: np.ndarray, named: str, notes: list[str]) -> Values:
    notes.append(f"{named} is taken by the age of its dates, from the latest one")
    return age_values(moments)


def _terms(text: pa.Array, rules: CellRules, named: str, notes: list[str]) -> Values | None:
    """The terms of texts; None where too few are on several items."""
    made = term_values(text.to_pylist(), rules.term_min_items, rules.term_max_share)
    if made is None:
        notes.append(
            f"{named} has no term on {rules.term_min_items} items or more, and is left out of the "
            "features; see data.term_min_items and data.term_max_share"
        )
        return None
    terms = len(pc.unique(made.texts))
    notes.append(f"{named} is taken by its {terms:,} terms that are on some items and not on most")
    return made


def _words(texts: pa.Array) -> float:
    """How many words texts have on average."""
    return float(pc.mean(pc.count_substring_regex(texts, r"\w+")).as_py() or 0)


def _numbered(
    every: np.ndarray, number: np.ndarray, name: str, source: str, notes: list[str]
) -> Values | None:
    """Numbers as they are or by ranges; seconds since 1970 by their age."""
    known = number[np.isfinite(number)]
    if plain(name) in KNOWN["time"] and len(known) and np.median(known) >= 1e8:
        return _aged(number / units_in_a_second(known.astype(np.int64), name), name, notes)
    binned = _binned(number, name, source, notes)
    return None if binned is None else Values(every, binned)


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
        _, parts = split_values(pa.chunked_array([distinct]), separator)
        # Values that come again and again in other company.
        if pc.count_distinct(parts).as_py() < len(distinct) or len(parts) > 2 * len(
            pc.unique(parts)
        ):
            return separator
    return ""


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
