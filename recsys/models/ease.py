"""EASE: item-to-item weights in closed form, by ridge regression of every item on others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from recsys.base.arrays import Float32Array, Float64Array, IntArray
from recsys.base.errors import InputError
from recsys.data.ages import ALL
from recsys.models.cholesky import invert_lower
from recsys.models.configuration import require_number
from recsys.models.item_to_item import (
    ItemToItemModel,
    largest_of_dense_rows,
    largest_of_product,
    likes_of_items,
    rooted,
    truncated,
)
from recsys.models.sparse_inverse import factor_after
from recsys.ranking.neighbours import Neighbours

MOST_EXACT = 20_000
"""Catalogues up to this size are solved exactly; time grows with the cube of the items, memory with
the square: 4.8 GB here."""

POPULAR = 12_000
"""Of larger catalogues, the items with most likes that are still solved together."""

_BLOCK = 1024  # rows sorted at a time


@dataclass(frozen=True)
class Ease(ItemToItemModel):
    """Embarrassingly shallow autoencoder [1]_, with dropout in its closed form [2]_.

    The weights B minimise the squared error of X B against X with a zero diagonal, regularised by
    the diagonal matrix L + D / (1 / dropout - 1), where D holds the number of likes of each item:
    with dropout p, the expected loss where each like is hidden with probability p. Memory: three
    float32 matrices of items by items at the peak, one Cholesky factorisation in place.

    Catalogues of more than `MOST_EXACT` items are solved in parts: exactly among the `POPULAR`
    items with most likes, and each other item given the `nearest` items with more likes, those
    with the highest correlation. The inverse of the Gram matrix that follows from these
    regressions [3]_ has weights for all items near the same ones, in both directions, and changes
    those among popular items as well. What that keeps of the precision, and what it costs:
    docs/experiments/neighbours.md.

    Parameters
    ----------
    regularization : float
        Of every weight, in likes.
    dropout : float
        From 0 (plain EASE) to below 1. Items with many likes are regularised in proportion.
    kept : int
        Weights of each row that are kept, by magnitude.
    nearest : int
        On large catalogues, how many others an item is regressed on.
    half_life, window : str
        How the age of interactions counts, see `recsys.data.ages.Aging`.

    References
    ----------
    .. [1] H. Steck, Embarrassingly shallow autoencoders for sparse data, WWW 2019.
    .. [2] H. Steck, Autoencoders that don't overfit towards the identity, NeurIPS 2020.
    .. [3] F. Schäfer, M. Katzfuss and H. Owhadi, Sparse Cholesky factorization by Kullback-Leibler
       minimization, SIAM Journal on Scientific Computing 43 (2021).
    """

    name: ClassVar[str] = "ease"

    regularization: float = 20.0
    dropout: float = 0.33
    kept: int = 200
    nearest: int = 100
    half_life: str = ALL
    window: str = ALL

    def __post_init__(self) -> None:
        require_number("regularization", self.regularization, 1e-6, 1e12)
        require_number("dropout", self.dropout, 0.0, 0.99)
        require_number("kept", self.kept, 1, 1_000_000, whole=True)
        require_number("nearest", self.nearest, 1, 2_000, whole=True)
        _ = self.aging

    def neighbours(self, likes: sp.csr_matrix, threads: int = 1) -> Neighbours:
        """Solve for the weights, and keep the largest of each row.

        Raises
        ------
        InputError
            If the regularisation is too small for the precision of float32.
        """
        likes = rooted(likes)
        # One thread: sums shared by threads differ in their bits.
        with threadpool_limits(1):
            if likes.shape[1] <= MOST_EXACT:
                return _largest_of_inverse(self._inverse(likes), self.kept)
            return self._in_parts(likes)

    def _in_parts(self, likes: sp.csr_matrix) -> Neighbours:
        """The same from an inverse that is exact among popular items, sparse factors elsewhere."""
        n_items = likes.shape[1]
        counts = likes_of_items(likes.multiply(likes).tocsr())
        penalties = self._penalties(counts)
        popular = np.sort(np.argsort(-counts, kind="stable")[:POPULAR])
        solved = np.zeros(n_items, bool)
        solved[popular] = True
        try:
            factor = factor_after(likes, counts, penalties, solved, self.nearest)
        except ArithmeticError as fault:
            raise self._singular() from fault
        inverse = self._inverse(likes[:, popular])
        added, other_side = factor.scaled(popular), factor.weights[popular].T.tocsr()
        for start in range(0, len(inverse), _BLOCK):
            block = inverse[start : start + _BLOCK]
            block += (added[start : start + _BLOCK] @ other_side).toarray()
        diagonal = factor.diagonal()
        diagonal[popular] = np.diag(inverse)
        scale = (-1 / diagonal).astype(np.float32)

        def besides(rows: IntArray, columns: IntArray, values: Float32Array) -> Float32Array:
            found: Float32Array = values * scale[columns] * ~(solved[rows] & solved[columns])
            return found

        among = _largest_of_inverse(inverse, self.kept)
        del inverse, added, other_side
        sides = factor.scaled(), factor.weights.T.tocsr()
        others = largest_of_product(*sides, self.kept, besides)
        return truncated(_together(among, popular, others), self.kept)

    def _penalties(self, counts: Float64Array) -> Float64Array:
        """What is added to the diagonal of the Gram matrix."""
        return self.regularization + self.dropout / (1 - self.dropout) * counts

    def _inverse(self, likes: sp.csr_matrix) -> Float32Array:
        """The inverse of the regularised Gram matrix: float32 (n_items, n_items)."""
        gram = np.asfortranarray((likes.T @ likes).toarray(), np.float32)
        counts = np.diag(gram).astype(np.float64)
        gram[np.diag_indices_from(gram)] += self._penalties(counts).astype(np.float32)
        if not invert_lower(gram):
            raise self._singular()
        # LAPACK fills one triangle; the other is its mirror, a block of rows at a time.
        for start in range(0, len(gram), _BLOCK):
            stop = min(start + _BLOCK, len(gram))
            gram[start:stop, stop:] = gram[stop:, start:stop].T
            corner = gram[start:stop, start:stop]
            corner[:] = np.tril(corner) + np.tril(corner, -1).T
        found: Float32Array = gram
        return found

    def _singular(self) -> InputError:
        return InputError(
            f"EASE with regularization {self.regularization:g} cannot be solved in float32",
            "a Gram matrix that is positive definite",
            "raise the regularization",
        )


def _largest_of_inverse(inverse: Float32Array, kept: int) -> Neighbours:
    """EASE's weights, the largest of each row, from the inverse of the regularised Gram matrix."""
    n_items = len(inverse)
    kept = min(kept, n_items)
    scale = (-1 / np.diag(inverse)).astype(np.float32)
    indices = np.empty((n_items, kept), np.int32)
    weights = np.empty((n_items, kept), np.float32)
    for start in range(0, n_items, _BLOCK):
        block: Float32Array = inverse[start : start + _BLOCK] * scale
        rows = np.arange(len(block))
        block[rows, start + rows] = 0
        part = slice(start, start + len(block))
        indices[part], weights[part] = largest_of_dense_rows(block, kept)
    indptr = np.arange(n_items + 1, dtype=np.int64) * kept
    return Neighbours(indptr, indices.ravel(), weights.ravel())


def _together(among: Neighbours, items: IntArray, others: Neighbours) -> Neighbours:
    """The weights among some items and those of all, no pair twice."""
    n_items = others.n_items
    counts = np.zeros(n_items, np.int64)
    counts[items] = np.diff(among.indptr)
    indptr = np.concatenate([[0], np.cumsum(counts)])
    columns = items[among.indices]
    found = sp.csr_matrix((among.weights, columns, indptr), (n_items, n_items)) + sp.csr_matrix(
        (others.weights, others.indices, others.indptr), (n_items, n_items)
    )
    return Neighbours(
        found.indptr.astype(np.int64), found.indices.astype(np.int32, copy=False), found.data
    )
