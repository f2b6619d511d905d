"""Columns of a read table as checked arrays: which rows are usable, numbers, moments, codes."""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from recsys.idmap import IdMap
from recsys.tables import Source

Check = Callable[[pa.ChunkedArray], NDArray[np.bool_]]


def valid_rows(
    table: pa.Table, checks: Mapping[str, tuple[str, Check]]
) -> tuple[NDArray[np.bool_], dict[str, int]]:
    """Which rows pass every check, and how many fall to each (the first that they fail).

    Parameters
    ----------
    table : pyarrow.Table
    checks : mapping
        Column name to the reason given for a row that fails, and the check; columns that the
        table does not have are passed over.
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


def present(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Where a text column has something in it."""
    empty = pc.or_kleene(pc.is_null(column), pc.equal(column.cast(pa.string()), ""))
    return ~np.asarray(pc.fill_null(empty, True))


def positive(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Where a column has a positive number that float32 can hold."""
    number = numbers(column)
    return np.isfinite(number) & (number > 0) & (number < np.finfo(np.float32).max)


def dated(column: pa.ChunkedArray) -> NDArray[np.bool_]:
    """Where a column has a readable timestamp."""
    return np.isfinite(seconds(column))


def numbers(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """A column as float64, NaN where it is no number."""
    return pd.to_numeric(column.to_pandas(), errors="coerce").to_numpy(np.float64)


def seconds(column: pa.ChunkedArray) -> NDArray[np.float64]:
    """Timestamps as numbers: dates become seconds since 1970, numbers stay what they are."""
    if pa.types.is_temporal(column.type):
        moments = pd.Series(column.to_pandas())
    else:
        number = numbers(column)
        # One stray number must not make a column of dates unreadable, nor the other way round.
        if 2 * np.isfinite(number).sum() >= present(column).sum():
            return np.where(np.abs(number) < 2**62, number, np.nan)
        moments = pd.Series(column.to_pandas()).astype("string")
    parsed = pd.to_datetime(moments, errors="coerce", utc=True, format="mixed")
    elapsed = (parsed - pd.Timestamp(0, tz="UTC")) / pd.Timedelta(seconds=1)
    return elapsed.to_numpy(np.float64)


def sorted_codes(column: pa.ChunkedArray, kind: str) -> tuple[NDArray[np.int32], IdMap]:
    """Indices (int32) of a dictionary-encoded column into its values, used ones only, sorted."""
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
    """What a message calls a source."""
    return "the DataFrame" if isinstance(source, pd.DataFrame) else str(source)


def reasons(rejected: dict[str, int]) -> str:
    """Rejected rows by reason, for a message."""
    named = [f"{reason}: {count:,}" for reason, count in rejected.items() if count]
    return ", ".join(named) or "no rows"
