"""The inverse of a Gram matrix that is too large to be solved as a whole, as a sparse factor."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp
from scipy.linalg import lapack

from recsys.base.arrays import (
    BoolArray,
    Float32Array,
    Float64Array,
    Int64Array,
    IntArray,
)
from recsys.models.item_to_item import largest_of_product
from recsys.ranking.compiled import CompiledRows
from recsys.ranking.neighbours import Neighbours
from recsys.ranking.rows import flatten


@dataclass(frozen=True)
class SparseFactor:
    """What some items add to the inverse of a Gram matrix of all.

    Each of these items is regressed on a few of those before it, and what the regression leaves
    of it is taken to have nothing to do with what is left of the others. With this one assumption
    the inverse is ``F @ diag(1 / r) @ F.T`` beside the inverse of the other items alone. No
    symmetric positive definite matrix with these entries is nearer to the inverse, measured by
    the Kullback-Leibler divergence [1]_.

    Parameters
    ----------
    weights : csr_matrix (n_items, n_regressed), float32
        F: a column for each item that is regressed, one at the item itself and minus its
        regression's weights at those that it is regressed on.
    left : float32 (n_regressed,)
        r: the squared error of each regression, and its penalties.

    References
    ----------
    .. [1] F. Schäfer, M. Katzfuss and H. Owhadi, Sparse Cholesky factorization by Kullback-Leibler
       minimization, SIAM Journal on Scientific Computing 43 (2021).
    """

    weights: sp.csr_matrix
    left: Float32Array

    def scaled(self, items: IntArray | slice = slice(None)) -> sp.csr_matrix:
        """Rows of ``F @ diag(1 / r)``: csr_matrix (n, n_regressed)."""
        return sp.csr_matrix(self.weights[items] @ sp.diags_array(1 / self.left))

    def diagonal(self) -> Float64Array:
        """What is added to each number of the diagonal: float64 (n_items,)."""
        squares = self.weights.multiply(self.weights)
        return np.asarray(squares @ (1 / self.left.astype(np.float64)), np.float64)


def factor_after(
    likes: sp.csr_matrix,
    counts: Float64Array,
    penalties: Float64Array,
    solved: BoolArray,
    nearest: int,
) -> SparseFactor:
    """Regress items on the most correlated of those with more likes.

    Parameters
    ----------
    likes : csr_matrix (n_users, n_items), float32
    counts, penalties : float64 (n_items,)
        The diagonal of the Gram matrix, and what is added to it.
    solved : bool (n_items,)
        The items with most likes, which are not regressed.
    nearest : int
        How many others an item is regressed on, at most.

    Raises
    ------
    ArithmeticError
        If the penalties are too small for the precision of float32.
    """
    by_item = sp.csr_matrix(likes.T)
    found = _nearest_before(by_item, likes, counts, penalties, solved, nearest)
    weights = np.empty(len(found.indices), np.float32)
    left = np.empty(len(solved), np.float32)
    gram = _Gram(by_item)
    for item in np.flatnonzero(~solved):
        entries = slice(found.indptr[item], found.indptr[item + 1])
        others = found.indices[entries]
        products = gram.of(np.append(others, item).astype(np.int64))
        normal, target = np.asfortranarray(products[:-1, :-1]), products[:-1, -1]
        normal[np.diag_indices_from(normal)] += penalties[others].astype(np.float32)
        if len(others):
            weights[entries], failed = lapack.sposv(normal, target, overwrite_a=1)[1:]
            if failed:
                raise ArithmeticError(f"the items near item {item} are too much alike")
        explained = float(target @ weights[entries])
        # What a penalty leaves is never less than the penalty itself, but for rounding.
        left[item] = penalties[item] + max(counts[item] - explained, 0.0)
    return _assembled(found, weights, left, solved)


def _nearest_before(
    by_item: sp.csr_matrix,
    likes: sp.csr_matrix,
    counts: Float64Array,
    penalties: Float64Array,
    solved: BoolArray,
    nearest: int,
) -> Neighbours:
    """The items with more likes that each item is most correlated with, none for those solved."""
    place = np.empty(len(counts), np.int64)
    place[np.argsort(-counts, kind="stable")] = np.arange(len(counts))
    lengths = np.sqrt(counts + penalties).astype(np.float32)

    def correlated(rows: IntArray, columns: IntArray, together: Float32Array) -> Float32Array:
        before = place[columns] < place[rows]
        found: Float32Array = before * together / (lengths[rows] * lengths[columns])
        return found.astype(np.float32)

    regressed = sp.csr_matrix(sp.diags_array((~solved).astype(np.float32)) @ by_item)
    regressed.eliminate_zeros()
    return largest_of_product(regressed, likes, nearest, correlated)


class _Gram:
    """Gram matrices of a few items, without a pass over all users."""

    def __init__(self, by_item: sp.csr_matrix) -> None:
        self._by_item = by_item
        self._compiled = CompiledRows.of(by_item.indptr, by_item.indices, by_item.data)
        self._place = np.full(by_item.shape[1], -1, np.int32)

    def of(self, items: Int64Array) -> Float32Array:
        """The products of the likes of some items, each once: float32 (m, m)."""
        if self._compiled is not None:
            return self._compiled.products(items, self._place)
        entries, owners = flatten(self._by_item, items)
        users = self._by_item.indices[entries]
        # Any entry of a user stands for the user: fewer columns than there are likes here.
        self._place[users] = np.arange(len(users), dtype=np.int32)
        columns = self._place[users]
        several = np.bincount(columns)[columns] > 1
        values = self._by_item.data[entries]
        squares = np.bincount(owners, values * values, len(items))
        values, owners, columns = values[several], owners[several], columns[several]
        shape = len(items), len(users)
        part = sp.csr_matrix((values, columns, _bounds(owners, len(items))), shape)
        found: Float32Array = (part @ part.T).toarray()
        found[np.diag_indices_from(found)] = squares
        return found


def _bounds(owners: Int64Array, n_rows: int) -> Int64Array:
    return np.searchsorted(owners, np.arange(n_rows + 1))


def _assembled(
    found: Neighbours, weights: Float32Array, left: Float32Array, solved: BoolArray
) -> SparseFactor:
    """The factor, from the weights of each regression."""
    n_items = len(solved)
    regressed = np.flatnonzero(~solved)
    rows = sp.csr_matrix((-weights, found.indices, found.indptr), (n_items, n_items))[regressed]
    itself = sp.csr_matrix(
        (np.ones(len(regressed), np.float32), regressed, np.arange(len(regressed) + 1)), rows.shape
    )
    return SparseFactor(sp.csr_matrix((rows + itself).T), left[regressed])
