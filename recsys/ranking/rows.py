"""Compressed rows: which items each user has, as two arrays, and how to run through them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Protocol

import numpy as np

from recsys.base.arrays import BoolArray, Int64Array, IntArray

_AT_ONCE = 2**14  # what is made of them on the way stays in the processor's cache
_IN_BLOCK = 2**18  # numbers of a block of vectors


class Rows(Protocol):
    """The two arrays of a compressed sparse row matrix; ``scipy.sparse.csr_array`` has them."""

    @property
    def indptr(self) -> IntArray:
        """Where each row begins in `indices`, and where the last ends: int (n_rows + 1,)."""
        ...

    @property
    def indices(self) -> IntArray:
        """Columns of the stored entries, row after row: int (m,)."""
        ...


@dataclass(frozen=True)
class _Between:
    """Neighbouring rows of others; a `Rows`."""

    indptr: IntArray
    indices: IntArray


def blocks_of(count: int, width: int, least: int = 1) -> Iterator[slice]:
    """Cut so many vectors, each of `width` numbers, into blocks that take little memory.

    A block has `least` of them at least, but for the last one.
    """
    step = max(least, _IN_BLOCK // max(1, width))
    return (slice(start, min(start + step, count)) for start in range(0, count, step))


def row_blocks(rows: Rows, width: int) -> Iterator[tuple[slice, Rows]]:
    """Blocks of rows, and where they are among all of them, see `blocks_of`."""
    for block in blocks_of(len(rows.indptr) - 1, width):
        indptr = rows.indptr[block.start : block.stop + 1]
        yield block, _Between(indptr - indptr[0], rows.indices[indptr[0] : indptr[-1]])


def flatten(rows: Rows, users: IntArray) -> tuple[Int64Array, Int64Array]:
    """Where the entries of some rows are stored, row after row, and whose they are.

    Returns
    -------
    entries : int64 (m,)
        Positions in ``rows.indices``.
    owners : int64 (m,)
        Positions in ``users``.
    """
    starts = np.asarray(rows.indptr[users], np.int64)
    counts = np.asarray(rows.indptr[users + 1], np.int64) - starts
    owners = np.repeat(np.arange(len(users)), counts)
    firsts = np.cumsum(counts) - counts
    return np.arange(len(owners)) + np.repeat(starts - firsts, counts), owners


def row_of(rows: Rows, index: int) -> IntArray:
    """The items of one row: int (m,)."""
    return rows.indices[rows.indptr[index] : rows.indptr[index + 1]]


def entries_of(indices: IntArray, wanted: BoolArray) -> Int64Array:
    """Where indices with a mark are stored, ascending: int64 (m,)."""
    found = np.empty(len(indices), bool)
    for start in range(0, len(indices), _AT_ONCE):
        part = slice(start, start + _AT_ONCE)
        wanted.take(indices[part], mode="clip", out=found[part])
    return np.flatnonzero(found)


def owners_of(rows: Rows, entries: Int64Array) -> Int64Array:
    """Whose row each entry is in, by where it is stored: int64 (m,)."""
    return np.searchsorted(rows.indptr, entries, side="right") - 1
