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

from recsys.base.arrays import Int32Array, IntArray

_GROUP = 1 << 20  # rows of a group of Parquet where nothing else is asked for


class PairsFile:
    """Writes users and items, as `persistence.save_interactions` writes them.

    Parameters
    ----------
    path : Path
    """

    def __init__(self, path: Path) -> None:
        self._writer = pq.ParquetWriter(
            path, pa.schema([("user", pa.int32()), ("item", pa.int32())]), compression="zstd"
        )
        self._held: list[tuple[Int32Array, Int32Array]] = []
        self._rows = 0

    def append(self, user: Int32Array, item: Int32Array) -> None:
        """Add pairs: int32 (n,) each."""
        self._held.append((user, item))
        self._rows += len(user)
        if self._rows >= _GROUP:
            self._write(self._rows - self._rows % _GROUP)

    def _write(self, rows: int) -> None:
        user, item = (np.concatenate(columns) for columns in zip(*self._held, strict=True))
        table = pa.table({"user": user[:rows], "item": item[:rows]})
        self._writer.write_table(table, row_group_size=_GROUP)
        self._held, self._rows = [(user[rows:], item[rows:])], len(user) - rows

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, _: object, __: TracebackType | None
    ) -> None:
        if kind is None and self._rows:
            self._write(self._rows)
        self._writer.close()


def read_pairs(path: Path, rows: int) -> Iterator[list[Int32Array]]:
    """Users and items of a file, so many at a time."""
    with pq.ParquetFile(path, pre_buffer=False) as file:
        for batch in file.iter_batches(rows, columns=["user", "item"]):
            yield [batch.column(name).to_numpy() for name in ("user", "item")]


def count_pairs(path: Path) -> int:
    """Number of rows of a file of interactions."""
    return int(pq.read_metadata(path).num_rows)


def has_pairs_alone(path: Path) -> bool:
    """Whether interactions have neither weights nor times."""
    return set(pq.read_schema(path).names) == {"user", "item"}


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

    def append(self, values: IntArray) -> None:
        """Add values."""
        values.astype(self._kind, copy=False).tofile(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()


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
