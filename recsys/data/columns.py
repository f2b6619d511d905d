"""Columns of a table as arrays: valid rows, numbers, timestamps, codes."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recsys.base.arrays import BoolArray, Float64Array, Int32Array
from recsys.base.missing_words import MISSING_WORDS
from recsys.data.dates import EARLIEST, LATEST, local_seconds, parse_dates
from recsys.data.idmap import IdMap
from recsys.data.numbers import Mark, parse_numbers
from recsys.data.numeric_times import SPREADSHEET, of_one_unit, of_spreadsheet
from recsys.data.tables import Source

TICKS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}  # units in a second


@dataclass(frozen=True)
class ValueFormat:
    """How the values of a table are written.

    Parameters
    ----------
    missing : tuple of str
        Words that stand for a missing value.
    decimal : {".", ","} or None
        The mark before decimals; None: found by all of a column.
    likely_decimal : {".", ","} or None
        What to assume of a column that can be read in both ways.
    dates : str or None
        "dmy", "mdy", "ymd", "spreadsheet" or a format of `strptime`; None: found by all of a
        column.
    timezone : str
        Of dates that do not name one.
    one_type : bool
        Whether ids that are numbers in some files of a folder and text in others are refused.
    """

    missing: tuple[str, ...] = MISSING_WORDS
    decimal: Mark | None = None
    likely_decimal: Mark | None = None
    dates: str | None = None
    timezone: str = "UTC"
    one_type: bool = False


def positive(number: Float64Array) -> BoolArray:
    """Where numbers are positive and within the range of float32: bool (n,)."""
    bounds = np.finfo(np.float32)
    return np.isfinite(number) & (number >= bounds.tiny) & (number < bounds.max)


def numbers(
    column: pa.ChunkedArray, values: ValueFormat = ValueFormat(), named: str = "the column"
) -> Float64Array:
    """A column as float64 (n,); NaN for what is not a number, such as dates and durations.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
    values : ValueFormat
    named : str
        The column and its table, for messages.

    Raises
    ------
    InputError
        If a column of text can be read in more than one way.
    """
    if pa.types.is_temporal(column.type):
        return np.full(len(column), np.nan)
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_string(column.type) or pa.types.is_large_string(column.type):
        return parse_numbers(column, values.decimal, values.likely_decimal, named)
    return pd.to_numeric(column.to_pandas(), errors="coerce").to_numpy(np.float64)


def seconds(
    column: pa.ChunkedArray, values: ValueFormat = ValueFormat(), named: str = "the column"
) -> Float64Array:
    """Timestamps as float64 (n,): dates become seconds since 1970, numbers stay as they are.

    NaN for other values and for dates outside of the years 1 to 9999. With the format
    "spreadsheet" numbers are a spreadsheet's days.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
    values : ValueFormat
    named : str
        The column and its table, for messages.

    Raises
    ------
    InputError
        If dates in text can be read in more than one way, or numbers are of several units.
    """
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s"))
    if pa.types.is_timestamp(column.type):
        ticks = column.cast(pa.int64()).to_numpy().astype(np.float64)
        elapsed = ticks / TICKS[column.type.unit]
        elapsed = np.where((elapsed >= EARLIEST) & (elapsed < LATEST), elapsed, np.nan)
        return elapsed if column.type.tz else local_seconds(elapsed, values.timezone)
    if pa.types.is_temporal(column.type):
        return np.full(len(column), np.nan)
    # Numbers are no dates, so that nobody has to say what their commas mean.
    number = numbers(column, ValueFormat(decimal="."), named)
    if values.dates == SPREADSHEET:
        elapsed = of_spreadsheet(number)
        elapsed = np.where((elapsed >= EARLIEST) & (elapsed < LATEST), elapsed, np.nan)
        return local_seconds(elapsed, values.timezone)
    # The majority decides, so that a stray number does not make a column of dates unreadable.
    written = column.cast(pa.string())
    present = pc.sum(pc.not_equal(written, "")).as_py() or 0
    by_date = values.dates is not None and not np.isfinite(number).all()
    if not by_date and 2 * np.isfinite(number).sum() >= present:
        return of_one_unit(np.where(np.abs(number) < 2**62, number, np.nan), named)
    encoded = written.dictionary_encode().unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    distinct = encoded.dictionary.to_pylist()
    parsed = parse_dates(distinct, values.dates, values.timezone, named)
    codes = pc.fill_null(encoded.indices, len(distinct))
    return np.append(parsed, np.nan)[np.asarray(codes)]


def sorted_codes(column: pa.ChunkedArray, kind: str) -> tuple[Int32Array, IdMap]:
    """Indices of a dictionary-encoded column into its distinct values in use, sorted.

    Returns
    -------
    codes : int32 (n,)
    ids : IdMap
        The values; `kind` is what they name.
    """
    encoded = one_chunk(column)
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    used = np.bincount(codes, minlength=len(encoded.dictionary)) > 0
    rank, ids = sorted_ranks(encoded.dictionary, used)
    return rank[codes], IdMap(ids, kind)


def one_chunk(column: pa.ChunkedArray) -> pa.DictionaryArray:
    """A dictionary-encoded column, whose chunks share their dictionary, as one array."""
    array = column.combine_chunks()
    return array.chunk(0) if isinstance(array, pa.ChunkedArray) else array


def sorted_ranks(values: pa.Array, used: BoolArray) -> tuple[Int32Array, pa.Array]:
    """The places of ids in use among these when sorted, and the sorted ids.

    Parameters
    ----------
    values : pyarrow string array (n,)
    used : bool (n,)

    Returns
    -------
    rank : int32 (n,)
        -1 where an id is not in use.
    ids : pyarrow string array
    """
    places = np.flatnonzero(used)
    chosen = values.take(pa.array(places))
    order = pc.sort_indices(chosen).to_numpy()
    rank = np.full(len(values), -1, dtype=np.int32)
    rank[places[order]] = np.arange(len(places), dtype=np.int32)
    return rank, chosen.take(pa.array(order))


def label(source: Source) -> str:
    """The name of a source in messages."""
    return "the DataFrame" if isinstance(source, pd.DataFrame) else str(source)


def reasons(rejected: Mapping[str, int]) -> str:
    """Rejected rows by reason, for a message."""
    named = [f"{reason}: {count:,}" for reason, count in rejected.items() if count]
    return ", ".join(named) or "no rows"


class Sieve:
    """Rows that pass checks one after the other, and how many fail each.

    Parameters
    ----------
    n : int
        Number of rows.
    """

    def __init__(self, n: int) -> None:
        self.keep = np.ones(n, dtype=bool)
        self.rejected: dict[str, int] = {}

    def require(self, reason: str, good: BoolArray) -> None:
        """Leave out rows that are not good, counted at the first check that they fail."""
        bad = self.keep & ~good
        self.rejected[reason] = self.rejected.get(reason, 0) + int(bad.sum())
        self.keep &= ~bad
