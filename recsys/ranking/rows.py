"""Compressed rows: which items each user has, as two arrays, and how to run through them."""

from __future__ import annotations

from typing import Protocol

import numpy as np

from recsys.base.arrays import Int64Array, IntArray


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
