"""Folds: what one fit learns from and is measured on, among the users and items it knows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from recsys.base.arrays import BoolArray, Int32Array, Int64Array, IntArray
from recsys.data.ages import InteractionTimes
from recsys.data.splits import Split


@dataclass(frozen=True)
class Fold:
    """Matrices of one shape (n_users, n_items), of the users and items that are known to a fit.

    A split by user knows all of the core. One by time knows those of before: the others have no row
    and no column, so that nothing is learned of them and no list has them.

    Parameters
    ----------
    known, heldout : csr_matrix float32
        What is learned from, and what is to be found.
    hidden : csr_matrix float32 or None
        Ones for pairs that are never recommended.
    cold_items : int32
        Items that a separate fit withholds.
    users, items : int32 (n_users,), int32 (n_items,), or None
        Which of the core's users and items the rows and columns are, ascending; None: all of them.
    times : InteractionTimes or None
        When the interactions of `known` were, by its rows and columns.
    """

    known: sp.csr_matrix
    heldout: sp.csr_matrix
    hidden: sp.csr_matrix | None
    cold_items: Int32Array
    users: Int32Array | None = None
    items: Int32Array | None = None
    times: InteractionTimes | None = None

    @property
    def places(self) -> Mapping[str, Int32Array | None]:
        """`users` and `items` under "user" and "item"."""
        return {"user": self.users, "item": self.items}

    def users_of_core(self, rows: IntArray) -> IntArray:
        """Which of the core's users some rows are."""
        return rows if self.users is None else self.users[rows]

    def items_of_core(self, columns: IntArray) -> IntArray:
        """Which of the core's items some columns are."""
        return columns if self.items is None else self.items[columns]

    def rows_of(self, users: Int64Array) -> Int64Array:
        """Which rows some of the core's users are, all of whom it has."""
        return users if self.users is None else np.searchsorted(self.users, users)

    def columns_of(self, items: Int64Array) -> Int64Array:
        """Which columns some of the core's items are, all of which it has."""
        return items if self.items is None else np.searchsorted(self.items, items)


def search_fold(parts: Split) -> Fold:
    """The fold that models are searched on: trained before the validation, measured on it."""
    return _fold(parts, parts.train, parts.validation, parts.times())


def final_fold(parts: Split) -> Fold:
    """The fold that a choice is measured on once; see `Split.final`."""
    return _fold(parts, *parts.final(), parts.final_times())


def further_search_folds(parts: Split, count: int, seed: int) -> Iterator[Fold]:
    """Folds that hold out other likes of the validation users, as many of each of them.

    Parameters
    ----------
    parts : Split
        Drawn at random, by user.
    count : int
    seed : int
        Fold n is the same whatever the count.
    """
    pool = (parts.train + parts.validation).tocsr()
    pool.sort_indices()
    times = parts.times()
    if times is not None:
        later = parts.validation_days
        assert later is not None
        times = times.joined(InteractionTimes.of_matrix(parts.validation, later))
    wanted = np.diff(parts.validation.indptr)
    owner = np.repeat(np.arange(pool.shape[0]), np.diff(pool.indptr))
    for number in range(count):
        chance = np.random.default_rng([seed, 13, number]).random(pool.nnz)
        order = np.lexsort((chance, owner))
        # By user already: a place's distance from the first one of its user.
        rank = np.arange(pool.nnz) - pool.indptr[owner]
        held = np.zeros(pool.nnz, bool)
        held[order[rank < wanted[owner]]] = True
        known, heldout = (_entries(pool, kept) for kept in (~held, held))
        yield Fold(known, heldout, parts.hidden, parts.cold_items, times=times)


def _entries(matrix: sp.csr_matrix, kept: BoolArray) -> sp.csr_matrix:
    """The matrix with some of its entries."""
    before = np.concatenate([[0], np.cumsum(kept)])
    indptr = before[matrix.indptr].astype(matrix.indptr.dtype)
    parts = matrix.data[kept], matrix.indices[kept], indptr
    return sp.csr_matrix(parts, shape=matrix.shape)


def _fold(
    parts: Split, known: sp.csr_matrix, heldout: sp.csr_matrix, times: InteractionTimes | None
) -> Fold:
    if parts.time is None:
        return Fold(known, heldout, parts.hidden, parts.cold_items, times=times)
    users, items = known_places(known)
    hidden = None if parts.hidden is None else restricted(parts.hidden, users, items)
    return Fold(
        restricted(known, users, items),
        restricted(heldout, users, items),
        hidden,
        np.flatnonzero(np.isin(items, parts.cold_items)).astype(np.int32),
        users,
        items,
        None if times is None else times.restricted(users, items),
    )


def known_places(known: sp.csr_matrix) -> tuple[Int32Array, Int32Array]:
    """The rows and the columns that have entries, ascending."""
    users = np.flatnonzero(np.diff(known.indptr)).astype(np.int32)
    return users, np.unique(known.indices).astype(np.int32)


def restricted(matrix: sp.csr_matrix, users: IntArray, items: IntArray) -> sp.csr_matrix:
    """Some rows and columns of a matrix, each row in ascending order of its columns."""
    part = matrix[users][:, items].tocsr()
    part.sort_indices()
    return part
