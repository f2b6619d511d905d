"""Columns of a table as arrays: valid rows, numbers, timestamps, codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recsys.base.arrays import BoolArray, Float64Array, Int32Array
from recsys.data.idmap import IdMap
from recsys.data.tables import Source

TICKS = {"s": 1.0, "ms": 1e3, "us": 1e6, "ns": 1e9}  # units in a second
# The years that ISO 8601 and Python can write: 1 to 9999.
EARLIEST, LATEST = (
    np.datetime64(year, "s").astype(np.int64).item() for year in ("0001-01-01", "+10000-01-01")
)

Check = Callable[[pa.ChunkedArray], BoolArray]


def valid_rows(
    table: pa.Table, checks: Mapping[str, tuple[str, Check]]
) -> tuple[BoolArray, dict[str, int]]:
    """Which rows pass every check, and how many fail each, counted at the first that they fail.

    Parameters
    ----------
    table : pyarrow.Table
    checks : mapping
        Column name to the reason reported for rows that fail, and the check. Columns that the
        table does not have are ignored.

    Returns
    -------
    keep : bool (n_rows,)
    rejected : dict of str to int
        Number of rows by reason.
    """
    keep = np.ones(table.num_rows, dtype=bool)
    rejected: dict[str, int] = {}
    for column, (reason, check) in checks.items():
        if column not in table.column_names:
            continue
        bad = keep & ~check(table.column(column))
        rejected[reason] = int(bad.sum())
        keep &= ~bad
    return keep, rejected


def present(column: pa.ChunkedArray) -> BoolArray:
    """Where a text column is neither null nor empty: bool (n,)."""
    empty = pc.or_kleene(pc.is_null(column), pc.equal(column.cast(pa.string()), ""))
    return ~np.asarray(pc.fill_null(empty, True))


def positive(column: pa.ChunkedArray) -> BoolArray:
    """Where a column has a positive number within the range of float32: bool (n,)."""
    number = numbers(column)
    bounds = np.finfo(np.float32)
    return np.isfinite(number) & (number >= bounds.tiny) & (number < bounds.max)


def dated(column: pa.ChunkedArray) -> BoolArray:
    """Where a column has a readable timestamp: bool (n,)."""
    return np.isfinite(seconds(column))


def numbers(column: pa.ChunkedArray) -> Float64Array:
    """A column as float64 (n,); NaN for what is not a number, such as dates and durations."""
    if pa.types.is_temporal(column.type):
        return np.full(len(column), np.nan)
    return pd.to_numeric(column.to_pandas(), errors="coerce").to_numpy(np.float64)


def seconds(column: pa.ChunkedArray) -> Float64Array:
    """Timestamps as float64 (n,): dates become seconds since 1970, numbers stay as they are.

    NaN for other values and for dates outside of the years 1 to 9999.
    """
    if pa.types.is_date(column.type):
        column = column.cast(pa.timestamp("s"))
    if pa.types.is_timestamp(column.type):
        ticks = column.cast(pa.int64()).to_numpy().astype(np.float64)
        elapsed = ticks / TICKS[column.type.unit]
    elif pa.types.is_temporal(column.type):
        return np.full(len(column), np.nan)
    else:
        number = numbers(column)
        # The majority decides, so that a stray number does not make a column of dates unreadable.
        if 2 * np.isfinite(number).sum() >= present(column).sum():
            return np.where(np.abs(number) < 2**62, number, np.nan)
        elapsed = _parsed(pd.Series(column.to_pandas()).astype("string"))
    return np.where((elapsed >= EARLIEST) & (elapsed < LATEST), elapsed, np.nan)


def _parsed(written: pd.Series) -> Float64Array:
    """Seconds since 1970 of dates in text; NaN where there is none."""
    # pandas would also read "now" and "today", with another result in every run.
    written = written.where(written.str.contains(r"\d", na=False))
    parsed = pd.to_datetime(written, errors="coerce", utc=True, format="mixed")
    # In microseconds, because nanoseconds do not reach the year 1.
    ticks = parsed.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    return np.where(np.isnat(ticks), np.nan, ticks.astype(np.int64) / TICKS["us"])


def sorted_codes(column: pa.ChunkedArray, kind: str) -> tuple[Int32Array, IdMap]:
    """Indices of a dictionary-encoded column into its distinct values in use, sorted.

    Returns
    -------
    codes : int32 (n,)
    ids : IdMap
        The values; `kind` is what they name.
    """
    encoded = column.combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    codes = encoded.indices.to_numpy(zero_copy_only=False)
    used = np.flatnonzero(np.bincount(codes, minlength=len(encoded.dictionary)))
    values = encoded.dictionary.take(pa.array(used))
    order = pc.sort_indices(values).to_numpy()
    rank = np.full(len(encoded.dictionary), -1, dtype=np.int32)
    rank[used[order]] = np.arange(len(used), dtype=np.int32)
    return rank[codes], IdMap(values.take(pa.array(order)), kind)


def label(source: Source) -> str:
    """The name of a source in messages."""
    return "the DataFrame" if isinstance(source, pd.DataFrame) else str(source)


def reasons(rejected: dict[str, int]) -> str:
    """Rejected rows by reason, for a message."""
    named = [f"{reason}: {count:,}" for reason, count in rejected.items() if count]
    return ", ".join(named) or "no rows"
