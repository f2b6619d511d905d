"""Folds: what one fit learns from and is measured on, among the users and items it knows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from recsys.base.arrays import Int32Array, IntArray
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
        Which of the core's users and items the rows and columns are; None: all of them.
    """

    known: sp.csr_matrix
    heldout: sp.csr_matrix
    hidden: sp.csr_matrix | None
    cold_items: Int32Array
    users: Int32Array | None = None
    items: Int32Array | None = None

    @property
    def places(self) -> Mapping[str, Int32Array | None]:
        """`users` and `items` under "user" and "item"."""
        return {"user": self.users, "item": self.items}

    def users_of_core(self, rows: IntArray) -> IntArray:
        """Which of the core's users some rows are."""
        return rows if self.users is None else self.users[rows]


def search_fold(parts: Split) -> Fold:
    """The fold that models are searched on: trained before the validation, measured on it."""
    return _fold(parts, parts.train, parts.validation)


def final_fold(parts: Split) -> Fold:
    """The fold that a choice is measured on once; see `Split.final`."""
    return _fold(parts, *parts.final())


def _fold(parts: Split, known: sp.csr_matrix, heldout: sp.csr_matrix) -> Fold:
    if parts.time is None:
        return Fold(known, heldout, parts.hidden, parts.cold_items)
    users, items = known_places(known)
    hidden = None if parts.hidden is None else restricted(parts.hidden, users, items)
    return Fold(
        restricted(known, users, items),
        restricted(heldout, users, items),
        hidden,
        np.flatnonzero(np.isin(items, parts.cold_items)).astype(np.int32),
        users,
        items,
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
