"""The compiled loops of ranking (sums.c), where they were compiled.

Whoever calls them comes to the same, to the last bit, where they were not.
"""

from __future__ import annotations

import ctypes
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np

from recsys.base.arrays import AnyArray, Float32Array, Int32Array, Int64Array, IntArray
from recsys.base.libraries import address, load_library
from recsys.ranking.rows import Rows

FOLDER = Path(__file__).parent
VERSION = 3
LANES = 16
"""Groups whose maxima are taken are a multiple of this."""

_POINTER, _NUMBER, _INDEX = ctypes.c_void_p, ctypes.c_int64, ctypes.c_int32
_REAL = ctypes.c_float
_ARGUMENTS = {
    "recsys_sum_rows": (_POINTER, _NUMBER, *(_POINTER,) * 5, _NUMBER),
    "recsys_add_rows": (_POINTER, _NUMBER, *(_POINTER,) * 4),
    "recsys_add_liked": (*(_POINTER,) * 2, _NUMBER, _POINTER, _NUMBER, *(_POINTER,) * 4, _NUMBER),
    "recsys_count_placed": (_NUMBER, *(_POINTER,) * 3, _NUMBER, _POINTER),
    "recsys_take_placed": (_NUMBER, *(_POINTER,) * 4, _NUMBER, *(_POINTER,) * 2),
    "recsys_find_column": (_NUMBER, *(_POINTER,) * 2, _INDEX, *(_POINTER,) * 2),
    "recsys_take_largest": (_NUMBER, *(_POINTER,) * 3, _NUMBER, *(_POINTER,) * 2),
    "recsys_products": (_POINTER, _NUMBER, *(_POINTER,) * 8),
    "recsys_group_maxima": (_POINTER, *(_NUMBER,) * 4, _POINTER, _NUMBER),
    "recsys_bound_products": (
        _POINTER, *(_NUMBER,) * 2, *(_POINTER,) * 4, *(_REAL,) * 3, _POINTER, _NUMBER,
    ),
}  # fmt: skip


@cache
def load_sums() -> ctypes.CDLL | None:
    """The compiled functions, or None where the package was installed without a compiler."""
    return load_library(FOLDER, "_sums", _declare)


def _declare(library: ctypes.CDLL) -> bool:
    library.recsys_sums_version.restype = _NUMBER
    if library.recsys_sums_version() != VERSION:
        return False
    for name, arguments in _ARGUMENTS.items():
        function = getattr(library, name)
        function.argtypes, function.restype = arguments, None
    library.recsys_find_column.restype = _NUMBER
    library.recsys_count_placed.restype = _NUMBER
    return True


@dataclass(frozen=True)
class CompiledRows:
    """A sparse matrix as the compiled loops read it, checked once, since they check nothing.

    Parameters
    ----------
    indptr : int64 (n_rows + 1,)
    indices : int32 (m,)
    weights : float32 (m,)
    columns : int
        All indices are below it.
    """

    indptr: Int64Array
    indices: Int32Array
    weights: Float32Array
    columns: int

    @staticmethod
    def of(indptr: IntArray, indices: AnyArray, weights: AnyArray) -> CompiledRows | None:
        """The rows, or None where nothing was compiled or the arrays are not of these types."""
        usual = indices.dtype == np.int32 and weights.dtype == np.float32
        contiguous = indices.flags.c_contiguous and weights.flags.c_contiguous
        if load_sums() is None or not (usual and contiguous):
            return None
        bounds = np.ascontiguousarray(indptr, np.int64)
        ascending = bounds[0] >= 0 and bounds[-1] <= len(indices) and (np.diff(bounds) >= 0).all()
        if not ascending or (len(indices) and indices.min() < 0):
            return None
        return CompiledRows(bounds, indices, weights, int(indices.max(initial=-1)) + 1)

    @property
    def n_rows(self) -> int:
        """How many rows there are."""
        return len(self.indptr) - 1

    def takes(self, out: Float32Array) -> bool:
        """Whether rows can be added to the rows of an array, or to an array as one row."""
        usual = out.dtype == np.float32 and out.flags.c_contiguous and out.flags.writeable
        return usual and out.shape[-1] >= self.columns

    def sum_rows(self, bounds: Int64Array, items: Int64Array, out: Float32Array) -> None:
        """Overwrite each row of `out` with the sum of some rows.

        Parameters
        ----------
        bounds : int64 (b + 1,)
        items : int64 (m,)
            Those of row u are ``items[bounds[u] : bounds[u + 1]]``, all below `n_rows`.
        out : float32 (b, at least `columns`)
        """
        bounds, items = _whole(bounds), _whole(items)
        _loops().recsys_sum_rows(
            address(bounds),
            len(bounds) - 1,
            address(items),
            *self._addresses,
            address(out),
            out.shape[1],
        )

    def add_rows(self, items: Int64Array, out: Float32Array) -> None:
        """Add some rows, int64 (m,), to an array: float32 (at least `columns`,)."""
        items = _whole(items)
        _loops().recsys_add_rows(address(items), len(items), *self._addresses, address(out))

    def add_liked(self, likes: Rows, users: IntArray, out: Float32Array) -> bool:
        """Add the rows of what each user likes to the first rows of an array.

        Parameters
        ----------
        likes : Rows
            What has no row here is passed over.
        users : int (b,)
        out : float32 (at least b, at least `columns`)

        Returns
        -------
        bool
            False, and nothing is added, where likes are not of the types that are needed.
        """
        liked = likes.indices
        if liked.dtype != np.int32 or not liked.flags.c_contiguous:
            return False
        starts = _whole(likes.indptr[users])
        stops = _whole(likes.indptr[users + 1])
        if len(starts) and not (starts.min() >= 0 and stops.max() <= len(liked)):
            return False
        _loops().recsys_add_liked(
            address(starts), address(stops), len(starts), address(liked), self.n_rows,
            *self._addresses, address(out), out.shape[1],
        )  # fmt: skip
        return True

    def find_column(self, column: int) -> tuple[Int64Array, Int64Array]:
        """The rows that have a column, and where their entries are: int64 (m,) each.

        Indices have to ascend in each row.
        """
        rows, places = np.empty((2, self.n_rows), np.int64)
        indptr, indices, _ = self._addresses
        found = _loops().recsys_find_column(
            self.n_rows, indptr, indices, column, address(rows), address(places)
        )
        return rows[:found], places[:found]

    def placed(self, places: Int32Array) -> tuple[Int64Array, Int32Array, Float32Array]:
        """The entries in columns that have a place: their rows' bounds, places and weights.

        Parameters
        ----------
        places : int32 (n_columns,)
            Below zero where a column has none.
        """
        bounds = np.empty(self.n_rows + 1, np.int64)
        indptr, indices, weights = self._addresses
        given = address(places), len(places)
        count = _loops().recsys_count_placed(self.n_rows, indptr, indices, *given, address(bounds))
        taken, taken_weights = np.empty(count, np.int32), np.empty(count, np.float32)
        _loops().recsys_take_placed(
            self.n_rows, indptr, indices, weights, *given, address(taken), address(taken_weights)
        )
        return bounds, taken, taken_weights

    def products(self, rows: Int64Array, last: Int32Array) -> Float32Array:
        """The products of some rows with each other: float32 (n, n).

        Parameters
        ----------
        rows : int64 (n,)
            Below `n_rows`, each once; no row has a column twice.
        last : int32 (`columns`,)
            Room to work in: -1 everywhere, and so it is left.
        """
        rows = _whole(rows)
        assert len(last) >= self.columns
        entries = int((self.indptr[rows + 1] - self.indptr[rows]).sum())
        before, owner = np.empty((2, entries), np.int32)
        values, found = np.empty(entries, np.float32), np.empty((len(rows),) * 2, np.float32)
        _loops().recsys_products(
            address(rows), len(rows), *self._addresses, address(last), address(before),
            address(owner), address(values), address(found),
        )  # fmt: skip
        return found

    @property
    def _addresses(self) -> tuple[int | None, int | None, int | None]:
        return address(self.indptr), address(self.indices), address(self.weights)


def take_largest(
    bounds: IntArray, indices: Int32Array | None, values: Float32Array, kept: int
) -> tuple[Int32Array, Float32Array] | None:
    """The entries of largest magnitude of each row, in their order; of equal ones the first.

    Parameters
    ----------
    bounds : int (n_rows + 1,)
        Row i is at ``bounds[i]:bounds[i + 1]``, ascending.
    indices : int32 (m,) or None
        Of the entries; None for their places in the row.
    values : float32 (m,)
    kept : int
        Of each row, at most; at least 1.

    Returns
    -------
    (indices, values) or None
        Those of one row after the other; None where nothing was compiled or the arrays are laid
        out otherwise.
    """
    library = load_sums()
    arrays = [values] if indices is None else [values, indices]
    usual = values.dtype == np.float32 and (indices is None or indices.dtype == np.int32)
    if library is None or not usual or not all(each.flags.c_contiguous for each in arrays):
        return None
    bounds = _whole(bounds)
    assert kept >= 1
    assert bounds[0] >= 0
    assert all(bounds[-1] <= len(each) for each in arrays)
    counts = np.diff(bounds)
    assert (counts >= 0).all()
    total = int(np.minimum(counts, kept).sum())
    taken, taken_values = np.empty(total, np.int32), np.empty(total, np.float32)
    library.recsys_take_largest(
        len(counts), address(bounds), address(indices), address(values), kept, address(taken),
        address(taken_values),
    )  # fmt: skip
    return taken, taken_values


def group_maxima(scores: Float32Array, group: int, out: Float32Array) -> bool:
    """The largest number of each group of neighbours, NaN if one is: as `np.maximum.reduceat`.

    Parameters
    ----------
    scores : float32 (b, n)
        The numbers of a row are contiguous.
    group : int
        Numbers of a group; n is a multiple of it.
    out : float32 (b, n / group)

    Returns
    -------
    bool
        False, and nothing is done, where nothing was compiled or the arrays are laid out otherwise.
    """
    library, rows = load_sums(), (scores, out)
    if library is None or group % LANES or not scores.size:
        return False
    if any(a.strides[1] != a.itemsize or a.strides[0] % a.itemsize for a in rows):
        return False
    library.recsys_group_maxima(
        address(scores), len(scores), scores.strides[0] // scores.itemsize, out.shape[1],
        group, address(out), out.strides[0] // out.itemsize,
    )  # fmt: skip
    return True


def _loops() -> ctypes.CDLL:
    library = load_sums()
    assert library is not None
    return library


def _whole(array: IntArray) -> Int64Array:
    return np.ascontiguousarray(array, np.int64)
