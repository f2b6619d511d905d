"""Spectral initialisation: initial vectors from the singular vectors of the interactions.

LightFM begins with random vectors, and a strongly regularised model spends most of its epochs on
finding the coarse structure of the interactions. A truncated singular value decomposition finds
that structure at the cost of an epoch or two. It saves epochs; the precision that is reached in
the end is much the same (docs/experiments/spectral-initialisation.md).

References
----------
.. [1] I. S. Dhillon, Co-clustering documents and words using bipartite spectral graph
   partitioning, KDD 2001: the matrix divided by the roots of its rows' and columns' sums.
.. [2] A. Y. Ng, M. I. Jordan and Y. Weiss, On spectral clustering: analysis and an algorithm,
   NIPS 2001: rows of singular vectors brought to one length.
.. [3] N. Halko, P. G. Martinsson and J. A. Tropp, Finding structure with randomness, SIAM Review
   53 (2011): the decomposition.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, field

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from recsys.base.arrays import Float32Array

# Length of every initial vector: a third to a half of what trained vectors grow to.
LENGTH = 0.5
# Interactions are divided by these powers of the numbers of interactions of their user and their
# item. Both are 1/2 in [1]_; 1/4 leaves popular items some weight.
USER_POWER, ITEM_POWER = 0.5, 0.25
# Decompositions have a multiple of so many components, so that trials of similar size share one.
STEP = 64
_NEGLIGIBLE = 1e-6  # singular values below this share of the largest are taken for zero


@dataclass(frozen=True)
class Start:
    """Initial vectors; zero where a user or an item has no interactions.

    Parameters
    ----------
    users : float32 (n_users, r)
    items : float32 (n_items, r)
        r is the number of components, or the rank of the interactions if that is less.
    """

    users: Float32Array
    items: Float32Array


@dataclass
class Spectrum:
    """The singular vectors of interactions, computed when they are first needed.

    The last decomposition is kept. The result depends on interactions, seed and number of
    components alone, not on earlier calls. Safe to call from several threads.

    Parameters
    ----------
    likes : csr_matrix float32 (n_users, n_items)
        Weights are taken as they are.
    seed : int
    """

    likes: sp.csr_matrix
    seed: int
    _lock: threading.Lock = field(default_factory=threading.Lock, repr=False)
    _last: tuple[int, Start] | None = field(default=None, repr=False)

    def start(self, n_components: int) -> Start:
        """The initial vectors of a model with this number of components."""
        rounded = -(-n_components // STEP) * STEP
        with self._lock:
            if self._last is None or self._last[0] != rounded:
                self._last = rounded, self._decompose(rounded)
            whole = self._last[1]
        return Start(
            _to_length(whole.users[:, :n_components]), _to_length(whole.items[:, :n_components])
        )

    def _decompose(self, n_components: int) -> Start:
        """Singular vectors times the roots of their values, negligible ones left out."""
        from sklearn.utils.extmath import randomized_svd  # takes long to import

        normalised = _normalised(self.likes)
        rank = min(n_components, *normalised.shape)
        if normalised.nnz == 0:
            return Start(*(np.zeros((n, 0), np.float32) for n in normalised.shape))
        with threadpool_limits(1, user_api="blas"):  # one order of additions: bit-reproducible
            left, values, right = randomized_svd(
                normalised, rank, n_iter=2, random_state=self.seed, flip_sign=True
            )
        kept = values > _NEGLIGIBLE * values[0]
        roots = np.sqrt(values[kept])
        return Start(
            np.ascontiguousarray(left[:, kept] * roots, np.float32),
            np.ascontiguousarray(right[kept].T * roots, np.float32),
        )


def _normalised(likes: sp.csr_matrix) -> sp.csr_matrix:
    rows = _inverse_powers(np.asarray(likes.sum(axis=1)).ravel(), USER_POWER)
    columns = _inverse_powers(np.asarray(likes.sum(axis=0)).ravel(), ITEM_POWER)
    return (sp.diags(rows) @ likes @ sp.diags(columns)).tocsr().astype(np.float32)


def _inverse_powers(sums: Float32Array, power: float) -> Float32Array:
    found = np.zeros(len(sums), np.float32)
    found[sums > 0] = sums[sums > 0] ** -power
    return found


def _to_length(vectors: Float32Array) -> Float32Array:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scale = np.divide(LENGTH, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return np.asarray(vectors * scale, np.float32)
