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
   53 (2011): the decomposition, here by parts of users.
.. [4] J. Demmel, L. Grigori, M. Hoemmen and J. Langou, Communication-optimal parallel and
   sequential QR and LU factorizations, SIAM Journal on Scientific Computing 34 (2012): of a tall
   matrix, from the triangles of its parts.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

import numpy as np
import scipy.sparse as sp
from scipy.linalg import qr
from threadpoolctl import threadpool_limits

from recsys.base.arrays import Float32Array

# Length of every initial vector: a third to a half of what trained vectors grow to.
LENGTH = 0.5
# Interactions are divided by these powers of the numbers of interactions of their user and their
# item. Both are 1/2 in [1]_; 1/4 leaves popular items some weight.
USER_POWER, ITEM_POWER = 0.5, 0.25
# Decompositions have a multiple of so many components, so that trials of similar size share one.
STEP = 64
PART = 16_384  # users whose vectors are held at a time, more of them beside very many items
_ITERATIONS = 2  # products with the matrix and its transpose that sharpen the singular vectors
_BEYOND = 10  # components that are carried along for the accuracy of the others, as [3]_ advises
_NEGLIGIBLE = 1e-6  # singular values below this share of the largest are taken for zero


@dataclass(frozen=True)
class _Normalised:
    """Interactions divided by powers of the sums of their rows and columns, a part at a time."""

    likes: sp.csr_matrix
    rows: Float32Array
    columns: Float32Array

    @classmethod
    def of(cls, likes: sp.csr_matrix) -> _Normalised:
        sums = (np.asarray(likes.sum(axis=axis)).ravel() for axis in (1, 0))
        powers = USER_POWER, ITEM_POWER
        return cls(likes, *(_inverse_powers(s, p) for s, p in zip(sums, powers, strict=True)))

    def parts(self) -> Iterator[tuple[slice, sp.csr_matrix]]:
        """Rows, and the float32 values there."""
        n_users, n_items = self.likes.shape
        # What is summed over items is as large for any number of users.
        size = max(PART, n_items // 8)
        for start in range(0, n_users, size):
            part = slice(start, min(start + size, n_users))
            scaled = self.likes[part].astype(np.float32)
            scaled.data *= np.repeat(self.rows[part], np.diff(scaled.indptr))
            scaled.data *= self.columns[scaled.indices]
            yield part, scaled


@dataclass(frozen=True)
class Start:
    """Initial vectors; zero where a user or an item has no interactions.

    Those of users are products that are made a part of the users at a time, so that nothing holds
    all of them.

    Parameters
    ----------
    items : float32 (n_items, r)
        r is the number of components, or the rank of the interactions if that is less.
    """

    items: Float32Array
    _normalised: _Normalised = field(repr=False)
    _projection: Float32Array = field(repr=False)  # (n_items, r): of users, before their length

    def users(self) -> Iterator[tuple[slice, Float32Array]]:
        """Which users, and their vectors: float32 (users of the part, r); a part at a time."""
        for part, likes in self._normalised.parts():
            yield part, _to_length(likes @ self._projection)


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
                self._last = rounded, _decompose(self.likes, rounded, self.seed)
            whole = self._last[1]
        return replace(
            whole,
            items=_to_length(whole.items[:, :n_components]),
            _projection=np.ascontiguousarray(whole._projection[:, :n_components]),
        )


def _decompose(likes: sp.csr_matrix, n_components: int, seed: int) -> Start:
    """Singular vectors of items times the roots of their values, negligible ones left out; and
    what the interactions of users are multiplied with for theirs.

    What scikit-learn's `randomized_svd` finds of fewer users than items, from the same random
    numbers, but for the rounding.
    """
    normalised = _Normalised.of(likes)
    if likes.nnz == 0:
        none = np.zeros((likes.shape[1], 0), np.float32)
        return Start(none, normalised, none)
    rank = min(n_components, *likes.shape)
    with threadpool_limits(1, user_api="blas"):  # one order of additions: bit-reproducible
        basis = _range_of(normalised, rank + _BEYOND, seed)
        triangle: Float32Array = np.zeros((0, basis.shape[1]), np.float32)
        for _, part in normalised.parts():
            below = np.vstack([triangle, part @ basis])
            triangle = np.asarray(np.linalg.qr(below, mode="r"), np.float32)
        _, values, right = np.linalg.svd(triangle, full_matrices=False)
        kept = np.flatnonzero(values[:rank] > _NEGLIGIBLE * values[0])
        vectors, roots = basis @ right[kept].T, np.sqrt(values[kept])
    vectors *= np.sign(vectors[np.abs(vectors).argmax(axis=0), np.arange(len(kept))])
    return Start(vectors * roots, normalised, vectors / roots)


def _range_of(normalised: _Normalised, size: int, seed: int) -> Float32Array:
    """An orthonormal basis, near what the largest singular vectors of items span: (n_items, r)."""
    generator = np.random.RandomState(seed)
    sums = np.zeros((normalised.likes.shape[1], size), np.float32)
    for _, part in normalised.parts():
        drawn = generator.normal(size=(part.shape[0], size)).astype(np.float32)
        sums += part.T @ drawn
    for _ in range(_ITERATIONS):
        before, sums = sums, np.zeros_like(sums)
        for _, part in normalised.parts():
            sums += part.T @ (part @ before)
    # NumPy's works in double precision, with two and a half times the memory.
    basis: Float32Array = qr(sums, mode="economic", overwrite_a=True, check_finite=False)[0]
    return basis


def _inverse_powers(sums: Float32Array, power: float) -> Float32Array:
    found = np.zeros(len(sums), np.float32)
    found[sums > 0] = sums[sums > 0] ** -power
    return found


def _to_length(vectors: Float32Array) -> Float32Array:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scale = np.divide(LENGTH, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return np.asarray(vectors * scale, np.float32)
