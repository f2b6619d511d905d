"""ALS: alternating least squares on implicit feedback, solved exactly, factor matrices out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from recsys.base.arrays import Float32Array, Int64Array
from recsys.models.configuration import require_number
from recsys.models.model import FactorModel
from recsys.ranking.factors import Factors

_BATCH_BYTES = 2**25  # of the vectors that one batch of systems gathers


@dataclass(frozen=True)
class Als(FactorModel):
    """Alternating least squares [1]_, with the loss and regularisation of [2]_.

    It minimises the sum of weight * (1 - x.y)^2 over all interactions, plus `unobserved_weight`
    * (x.y)^2 over all pairs, plus a penalty on the squared length of each vector:
    `regularization` * (weight of its interactions + `unobserved_weight` * length of the other
    side) ** `exponent`.

    Parameters
    ----------
    factors : int
        Components of a vector.
    regularization : float
    unobserved_weight : float
        Of a pair without interaction, where an interaction counts as much as its own weight.
    exponent : float
        1 regularises vectors in proportion to what they are fitted to, 0 all alike.
    iterations : int
        Each solves for all users and then for all items.

    References
    ----------
    .. [1] Y. Hu, Y. Koren and C. Volinsky, Collaborative filtering for implicit feedback datasets,
       ICDM 2008.
    .. [2] S. Rendle, W. Krichene, L. Zhang and Y. Koren, Revisiting the performance of iALS on item
       recommendation benchmarks, RecSys 2022.
    """

    name: ClassVar[str] = "als"

    factors: int = 128
    regularization: float = 0.003
    unobserved_weight: float = 0.1
    exponent: float = 1.0
    iterations: int = 12

    def __post_init__(self) -> None:
        require_number("factors", self.factors, 1, 10_000, whole=True)
        require_number("regularization", self.regularization, 1e-12, 1e12)
        require_number("unobserved_weight", self.unobserved_weight, 0.0, 1e6)
        require_number("exponent", self.exponent, 0.0, 2.0)
        require_number("iterations", self.iterations, 1, 1_000_000, whole=True)

    def _fit(self, interactions: sp.csr_matrix, seed: int, threads: int) -> Factors:
        """On one thread, whatever `threads` says: sums shared by threads differ in their bits."""
        transposed = interactions.T.tocsr()
        transposed.sort_indices()
        generator = np.random.default_rng(seed)
        shape = interactions.shape[1], self.factors
        items = generator.normal(0, 0.1 / np.sqrt(self.factors), shape).astype(np.float32)
        users = np.zeros((interactions.shape[0], self.factors), np.float32)
        with threadpool_limits(1):
            for _ in range(self.iterations):
                users = self._solved(interactions, items)
                items = self._solved(transposed, users)
        biases = np.zeros(len(users), np.float32), np.zeros(len(items), np.float32)
        return Factors(users, items, *biases)

    def _solved(self, rows: sp.csr_matrix, others: Float32Array) -> Float32Array:
        """The best vector of each row for given vectors of the other side.

        The systems of all rows share the Gram matrix of the other side. In the basis of its
        eigenvectors that part is diagonal, so that a row with fewer interactions than components
        is solved in the dimension of its interactions (Woodbury's identity).
        """
        gram = others.T.astype(np.float64) @ others
        values, basis = np.linalg.eigh(gram)
        shared = self.unobserved_weight * np.maximum(values, 0.0)
        weights = np.asarray(rows.sum(axis=1), np.float64).ravel()
        fitted_to = weights + self.unobserved_weight * len(others)
        penalties = self.regularization * fitted_to**self.exponent
        rotated = (others @ basis).astype(np.float32)
        found = np.zeros((rows.shape[0], self.factors), np.float32)
        for batch, count in _batches(np.diff(rows.indptr), self.factors):
            entries = rows.indptr[batch][:, None] + np.arange(count)
            diagonal = (shared + penalties[batch][:, None]).astype(np.float32)
            vectors, trusted = rotated[rows.indices[entries]], rows.data[entries]
            solve = _in_interactions if count <= self.factors else _in_components
            found[batch] = solve(vectors, trusted, diagonal)
        return (found @ basis.T).astype(np.float32)


def _batches(counts: Int64Array, components: int) -> Iterator[tuple[Int64Array, int]]:
    """Rows with equally many interactions, as many as fit the memory of a batch."""
    order = np.argsort(counts, kind="stable")
    for count, first, number in zip(*np.unique(counts[order], True, False, True), strict=True):
        if count == 0:
            continue
        step = max(1, _BATCH_BYTES // (4 * int(count) * components))
        for start in range(first, first + number, step):
            yield order[start : min(start + step, first + number)], int(count)


def _in_interactions(
    vectors: Float32Array, weights: Float32Array, diagonal: Float32Array
) -> Float32Array:
    """Solve (D + Y'WY) x = Y'W1 by systems of the size of the interactions.

    Parameters
    ----------
    vectors : float32 (b, m, d)
    weights : float32 (b, m)
    diagonal : float32 (b, d)

    Returns
    -------
    float32 (b, d)
    """
    divided = vectors / diagonal[:, None, :]
    systems = divided @ vectors.transpose(0, 2, 1)
    places = np.arange(weights.shape[1])
    systems[:, places, places] += 1 / weights
    ones = np.ones((*weights.shape, 1), np.float32)
    solved = np.linalg.solve(systems, ones)
    found: Float32Array = (solved.transpose(0, 2, 1) @ divided)[:, 0]
    return found


def _in_components(
    vectors: Float32Array, weights: Float32Array, diagonal: Float32Array
) -> Float32Array:
    """The same by systems of the size of the components."""
    weighted = vectors * weights[:, :, None]
    systems = vectors.transpose(0, 2, 1) @ weighted
    places = np.arange(diagonal.shape[1])
    systems[:, places, places] += diagonal
    found: Float32Array = np.linalg.solve(systems, weighted.sum(axis=1)[:, :, None])[:, :, 0]
    return found
