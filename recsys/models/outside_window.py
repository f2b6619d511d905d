"""Users and items outside of the window that was fitted: vectors from their old likes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import scipy.sparse as sp

from recsys.base.arrays import BoolArray, IntArray
from recsys.models.foldin import learn_foldin, learn_item_foldin
from recsys.ranking.factors import Factors


def place_outside(factors: Factors, fitted: sp.csr_matrix, known: sp.csr_matrix) -> Factors:
    """Give users and items a vector that are known by interactions outside of the window alone.

    They were not trained, so that their vectors would be those that training began with. A user's
    is folded in from the items that were fitted, an item's from the users that were. Such an item
    has the lowest bias of those that were fitted: nobody liked it of late.

    Parameters
    ----------
    factors : Factors
        As they were trained; vectors of such users are overwritten.
    fitted : csr_matrix (n_users, n_items)
        What they were trained on.
    known : csr_matrix (n_users, n_items)
        All interactions, `fitted` among them.

    Returns
    -------
    Factors
        The same object where everybody was fitted.
    """
    if fitted.nnz == known.nnz:
        return factors
    users, items = (_outside(fitted, known, axis) for axis in (0, 1))
    if not len(users) + len(items):
        return factors
    # What was not fitted itself says nothing of others.
    in_users, in_items = (_counts(fitted, axis) > 0 for axis in (0, 1))
    others = factors.item_factors.copy()
    biases = factors.item_biases.copy()
    if len(users):
        foldin = learn_foldin(factors, fitted)
        rows = _without_columns(known[users], ~in_items)
        factors.user_factors[users] = foldin.users(factors.item_factors, rows)
    if len(items):
        foldin = learn_item_foldin(factors, fitted)
        rows = _without_columns(known.T.tocsr()[items], ~in_users)
        others[items] = foldin.users(factors.user_factors, rows)
        biases[items] = factors.item_biases[in_items].min(initial=0)
    return replace(factors, item_factors=others, item_biases=biases)


def _counts(matrix: sp.csr_matrix, axis: int) -> IntArray:
    if axis == 0:
        return np.diff(matrix.indptr)
    return np.bincount(matrix.indices, minlength=matrix.shape[1])


def _outside(fitted: sp.csr_matrix, known: sp.csr_matrix, axis: int) -> IntArray:
    """Which users (axis 0) or items (1) have interactions, none of which was fitted."""
    found: IntArray = np.flatnonzero((_counts(known, axis) > 0) & (_counts(fitted, axis) == 0))
    return found


def _without_columns(rows: sp.csr_matrix, columns: BoolArray) -> sp.csr_matrix:
    found = rows.copy()
    found.data = np.where(columns[found.indices], 0, found.data)
    found.eliminate_zeros()
    return found
