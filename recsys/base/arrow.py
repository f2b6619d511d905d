"""Arrow: conversions and Parquet files without pandas, which pyarrow would import for them.

That import takes half a second, a third of the time limit of `recsys recommend`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.base.arrays import Int32Array, IntArray


def to_arrow(values: IntArray) -> pa.Array:
    """Whole numbers as an Arrow array of int64 (n,), without a copy where they are int64."""
    values = np.ascontiguousarray(values, np.int64)
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])


def to_int32(values: pa.Array) -> Int32Array:
    """An Arrow array of whole numbers without nulls as int32 (n,)."""
    return np.from_dlpack(values).astype(np.int32, copy=False)


def read_parquet(path: Path) -> pa.Table:
    """The table of one Parquet file."""
    with pq.ParquetFile(path) as file:
        return file.read()
