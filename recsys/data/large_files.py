"""Large files: those of `recsys.data.persistence`, written a part at a time to the same bytes."""

from __future__ import annotations

import shutil
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import IO, Self

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.lib import format as npy

from recsys.base.arrays import AnyArray, Int32Array, IntArray

_GROUP = 1 << 20  # rows of a group of Parquet where nothing else is asked for


class InteractionsFile:
    """Writes users, items and times, as `persistence.save_interactions` writes them.

    Parameters
    ----------
    path : Path
    timed : bool
        Whether there are times.
    """

    def __init__(self, path: Path, timed: bool) -> None:
        fields = [("user", pa.int32()), ("item", pa.int32()), ("timestamp", pa.int64())]
        self._schema = pa.schema(fields if timed else fields[:2])
        self._writer = pq.ParquetWriter(path, self._schema, compression="zstd")
        self._held: list[tuple[IntArray, ...]] = []
        self._rows = 0

    def append(self, *columns: IntArray) -> None:
        """Add interactions: int32 (n,) users and items, int64 times if there are any."""
        self._held.append(columns)
        self._rows += len(columns[0])
        if self._rows >= _GROUP:
            self._write(self._rows - self._rows % _GROUP)

    def _write(self, rows: int) -> None:
        columns = [np.concatenate(each) for each in zip(*self._held, strict=True)]
        table = pa.table([pa.array(column[:rows]) for column in columns], schema=self._schema)
        self._writer.write_table(table, row_group_size=_GROUP)
        self._held, self._rows = [tuple(c[rows:] for c in columns)], len(columns[0]) - rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: object, __: TracebackType | None
    ) -> None:
        if kind is None and self._rows:
            self._write(self._rows)
        self._writer.close()


def stored_interactions(path: Path, rows: int, *, times: bool = False) -> Iterator[list[AnyArray]]:
    """Users and items of a file, and times if they are asked for, so many at a time."""
    names = ["user", "item", "timestamp"][: 2 + times]
    with pq.ParquetFile(path, pre_buffer=False) as file:
        for batch in file.iter_batches(rows, columns=names):
            yield [batch.column(name).to_numpy() for name in names]


def count_interactions(path: Path) -> int:
    """Number of rows of a file of interactions."""
    return int(pq.read_metadata(path).num_rows)


def are_weighed(path: Path) -> bool:
    """Whether interactions have weights."""
    return "weight" in pq.read_schema(path).names


def are_timed(path: Path) -> bool:
    """Whether interactions have times."""
    return "timestamp" in pq.read_schema(path).names


class ArrayFile:
    """Writes one array (m,) as `numpy.save` does, a part at a time.

    Parameters
    ----------
    path : Path
    kind : dtype
    length : int
    """

    def __init__(self, path: Path, kind: type[np.generic], length: int) -> None:
        self._file, self._kind = path.open("wb"), kind
        _write_header(self._file, np.dtype(kind), (length,))

    def append(self, values: AnyArray) -> None:
        """Add values."""
        values.astype(self._kind, copy=False).tofile(self._file)

    def close(self) -> None:
        """Complete the file."""
        self._file.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class MatrixFile:
    """Writes a matrix of ones, in compressed rows, as `persistence.save_matrix` writes it.

    Parameters
    ----------
    path : Path
        Its name ends in .npz; the columns are in a file beside it until `close`.
    shape : (int, int)
    """

    def __init__(self, path: Path, shape: tuple[int, int]) -> None:
        self._path, self._shape = path, shape
        self._columns = path.with_suffix(".columns")
        self._counts = np.zeros(shape[0], np.int64)
        self._columns.touch(exist_ok=False)

    def append(self, row: Int32Array, column: Int32Array) -> None:
        """Add entries: int32 (n,) each, in the order of rows, then columns."""
        if not len(row):
            return
        first = int(row[0])
        counts = np.bincount(row - first)
        self._counts[first : first + len(counts)] += counts
        with self._columns.open("ab") as file:
            column.astype(np.int32, copy=False).tofile(file)

    @property
    def nnz(self) -> int:
        """Number of entries."""
        return int(self._counts.sum())

    @property
    def rows_in_use(self) -> int:
        """Number of rows that have an entry."""
        return int(np.count_nonzero(self._counts))

    def close(self) -> None:
        """Write the file."""
        nnz = self.nnz
        indptr = np.zeros(self._shape[0] + 1, np.int32 if nnz < 2**31 else np.int64)
        np.cumsum(self._counts, out=indptr[1:])
        with zipfile.ZipFile(self._path, "w", zipfile.ZIP_STORED, allowZip64=True) as archive:
            with _member(archive, "indices") as file:
                _write_header(file, np.dtype(np.int32), (nnz,))
                with self._columns.open("rb") as columns:
                    shutil.copyfileobj(columns, file, 1 << 22)
            for name, values in (
                ("indptr", indptr),
                ("format", np.asanyarray(b"csr")),
                ("shape", np.asanyarray(self._shape)),
            ):
                with _member(archive, name) as file:
                    npy.write_array(file, values, allow_pickle=False)
            with _member(archive, "data") as file:
                _write_header(file, np.dtype(np.float32), (nnz,))
                for start in range(0, nnz, _GROUP):
                    file.write(np.ones(min(_GROUP, nnz - start), np.float32).tobytes())
        self._columns.unlink()


def _member(archive: zipfile.ZipFile, name: str) -> IO[bytes]:
    # As numpy.savez opens it.
    return archive.open(f"{name}.npy", "w", force_zip64=True)


def _write_header(file: IO[bytes], kind: np.dtype[np.generic], shape: tuple[int, ...]) -> None:
    described = {"descr": npy.dtype_to_descr(kind), "fortran_order": False, "shape": shape}
    npy.write_array_header_1_0(file, described)
