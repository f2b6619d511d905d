"""EASE: item-to-item weights in closed form, by ridge regression of every item on all others."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
from scipy.linalg import lapack
from threadpoolctl import threadpool_limits

from recsys.base.arrays import Float32Array
from recsys.base.errors import InputError
from recsys.models.configuration import require_number
from recsys.models.item_to_item import ItemToItemModel, largest_of_dense_rows
from recsys.ranking.neighbours import Neighbours

MOST_ITEMS = 40_000
"""Beyond this many items the Gram matrix (float32, squared) and the cube of time are too much."""

_BLOCK = 1024  # rows sorted at a time


@dataclass(frozen=True)
class Ease(ItemToItemModel):
    """Embarrassingly shallow autoencoder [1]_, with dropout in its closed form [2]_.

    The weights B minimise the squared error of X B against X with a zero diagonal, regularised by
    the diagonal matrix L + D / (1 / dropout - 1), where D holds the number of likes of each item:
    with dropout p, the expected loss where each like is hidden with probability p. Memory: three
    float32 matrices of items by items at the peak, one Cholesky factorisation in place.

    Parameters
    ----------
    regularization : float
        Of every weight, in likes.
    dropout : float
        From 0 (plain EASE) to below 1. Items with many likes are regularised in proportion.
    kept : int
        Weights of each row that are kept, by magnitude.

    References
    ----------
    .. [1] H. Steck, Embarrassingly shallow autoencoders for sparse data, WWW 2019.
    .. [2] H. Steck, Autoencoders that don't overfit towards the identity, NeurIPS 2020.
    """

    name: ClassVar[str] = "ease"

    regularization: float = 20.0
    dropout: float = 0.33
    kept: int = 200

    def __post_init__(self) -> None:
        require_number("regularization", self.regularization, 1e-6, 1e12)
        require_number("dropout", self.dropout, 0.0, 0.99)
        require_number("kept", self.kept, 1, 1_000_000, whole=True)

    def neighbours(self, likes: sp.csr_matrix, threads: int = 1) -> Neighbours:
        """Solve for all weights, and keep the largest of each row.

        Raises
        ------
        InputError
            If there are more than `MOST_ITEMS` items, or the regularisation is too small for the
            precision of float32.
        """
        n_items = likes.shape[1]
        if n_items > MOST_ITEMS:
            raise InputError(
                f"{n_items:,} items for EASE in closed form",
                f"at most {MOST_ITEMS:,}, or {MOST_ITEMS**2 * 12 / 2**30:.0f} GB of memory",
                "take rp3beta, or raise threshold.item_min",
            )
        # One thread: sums shared by threads differ in their bits.
        with threadpool_limits(1):
            inverse = self._inverse(likes)
        kept = min(self.kept, n_items)
        indices = np.empty((n_items, kept), np.int32)
        weights = np.empty((n_items, kept), np.float32)
        scale = (-1 / np.diag(inverse)).astype(np.float32)
        for start in range(0, n_items, _BLOCK):
            block: Float32Array = inverse[start : start + _BLOCK] * scale
            rows = np.arange(len(block))
            block[rows, start + rows] = 0
            part = slice(start, start + len(block))
            indices[part], weights[part] = largest_of_dense_rows(block, kept)
        indptr = np.arange(n_items + 1, dtype=np.int64) * kept
        return Neighbours(indptr, indices.ravel(), weights.ravel())

    def _inverse(self, likes: sp.csr_matrix) -> Float32Array:
        """The inverse of the regularised Gram matrix: float32 (n_items, n_items)."""
        gram = np.asfortranarray((likes.T @ likes).toarray(), np.float32)
        counts = np.diag(gram).copy()
        penalty = self.regularization + self.dropout / (1 - self.dropout) * counts
        gram[np.diag_indices_from(gram)] += penalty.astype(np.float32)
        factor, failed = lapack.spotrf(gram, lower=1, overwrite_a=1)
        if not failed:
            factor, failed = lapack.spotri(factor, lower=1, overwrite_c=1)
        if failed:
            raise InputError(
                f"EASE with regularization {self.regularization:g} cannot be solved in float32",
                "a Gram matrix that is positive definite",
                "raise the regularization",
            )
        # LAPACK fills one triangle; the other is its mirror, a block of rows at a time.
        for start in range(0, len(factor), _BLOCK):
            stop = min(start + _BLOCK, len(factor))
            factor[start:stop, stop:] = factor[stop:, start:stop].T
            corner = factor[start:stop, start:stop]
            corner += np.tril(corner, -1).T - np.triu(corner, 1)
        found: Float32Array = factor
        return found
