"""Arrow: conversions and Parquet files without pandas, which pyarrow would import for them.

That import takes half a second, a third of the time limit of `recsys recommend`.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from recsys.base.arrays import Int32Array, IntArray


def to_arrow(values: IntArray) -> pa.Array:
    """Whole numbers as an Arrow array of int64 (n,), without a copy where they are int64."""
    values = np.ascontiguousarray(values, np.int64)
    return pa.Array.from_buffers(pa.int64(), len(values), [None, pa.py_buffer(values)])


class Texts:
    """The strings of an Arrow array, decoded when they are asked for.

    As many strings of Python would take several times the memory, and processes that are forked
    from one another would not share it: Python counts references within each.

    Parameters
    ----------
    values : pyarrow string array (n,)
        A null is an empty text.
    """

    def __init__(self, values: pa.Array) -> None:
        self._values = values if values.type == pa.string() else values.cast(pa.string())
        _, offsets, data = self._values.buffers()
        first, n = self._values.offset, len(self._values)
        bounds = np.zeros(1, np.int32)
        if offsets is not None and n:
            bounds = np.frombuffer(offsets, np.int32)[first : first + n + 1]
        self._bounds = memoryview(bounds.data)  # whose numbers are Python's at once
        self._data = memoryview(b"" if data is None else data)

    def __reduce__(self) -> tuple[type[Texts], tuple[pa.Array]]:
        return Texts, (self._values,)

    def __len__(self) -> int:
        return len(self._values)

    def __getitem__(self, index: int) -> str:
        return str(self._data[self._bounds[index] : self._bounds[index + 1]], "utf-8")

    @property
    def buffers(self) -> tuple[Int32Array, NDArray[np.uint8]]:
        """Where each begins, and where the last ends, int32 (n + 1,); all of them as UTF-8."""
        return np.asarray(self._bounds), np.frombuffer(self._data, np.uint8)

    def encoded(self, index: int) -> bytes:
        """A text as UTF-8."""
        return self._data[self._bounds[index] : self._bounds[index + 1]].tobytes()


def to_int32(values: pa.Array) -> Int32Array:
    """An Arrow array of whole numbers without nulls as int32 (n,)."""
    return np.from_dlpack(values).astype(np.int32, copy=False)


def read_parquet(path: Path) -> pa.Table:
    """The table of one Parquet file."""
    with pq.ParquetFile(path) as file:
        return file.read()
