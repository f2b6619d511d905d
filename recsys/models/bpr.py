"""BPR: Bayesian personalised ranking as implicit has it, plain factor matrices out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from recsys.base.arrays import Float32Array
from recsys.base.libraries import address
from recsys.models.configuration import require_number
from recsys.models.kernel import (
    DRAWN_AT_ONCE,
    WIDEST,
    Descent,
    Interactions,
    descend,
    load_kernel,
    padded,
)
from recsys.models.model import FactorModel
from recsys.ranking.factors import Factors


@dataclass(frozen=True)
class Bpr(FactorModel):
    """Factors that rank what a user likes above items drawn at random [1]_; as implicit has them.

    The algorithm is implicit's: pairs of a liked item and another one drawn by popularity, a step
    of plain gradient descent for each, item biases and regularisation. The compiled kernel draws
    other random numbers and takes a third of the time; implicit itself trains where the kernel
    was not compiled (docs/experiments/libraries.md).

    Interactions count alike, whatever their weights.

    Parameters
    ----------
    factors : int
        Components of a vector.
    learning_rate, regularization : float
    iterations : int
        Each learns from as many pairs as there are interactions, but for those whose other item
        the user likes.

    References
    ----------
    .. [1] S. Rendle, C. Freudenthaler, Z. Gantner and L. Schmidt-Thieme, BPR: Bayesian personalized
       ranking from implicit feedback, UAI 2009.
    """

    name: ClassVar[str] = "bpr"

    factors: int = 100
    learning_rate: float = 0.01
    regularization: float = 0.01
    iterations: int = 100

    def __post_init__(self) -> None:
        require_number("factors", self.factors, 1, 10_000, whole=True)
        require_number("learning_rate", self.learning_rate, 1e-9, 10.0)
        require_number("regularization", self.regularization, 0.0, 1e6)
        require_number("iterations", self.iterations, 1, 1_000_000, whole=True)

    def _fit(self, interactions: sp.csr_matrix, seed: int, threads: int) -> Factors:
        """On one thread, whatever `threads` says: several would write to the same vectors."""
        by_kernel = load_kernel() is not None and interactions.nnz > 0
        train = self._by_kernel if by_kernel else self._by_implicit
        users, items = train(interactions, seed)
        # The last column is the bias of an item, and 1 for a user.
        own, theirs = (np.array(rows[:, :-1], np.float32) for rows in (users, items))
        biases = np.array(items[:, -1], np.float32)
        return Factors(own, theirs, np.zeros(len(users), np.float32), biases)

    def _by_implicit(
        self, interactions: sp.csr_matrix, seed: int
    ) -> tuple[Float32Array, Float32Array]:
        from implicit.cpu.bpr import BayesianPersonalizedRanking  # takes long to import

        with threadpool_limits(1):
            model = BayesianPersonalizedRanking(**asdict(self), random_state=seed, num_threads=1)
            model.fit(interactions, show_progress=False)
        return model.user_factors, model.item_factors

    def _by_kernel(
        self, interactions: sp.csr_matrix, seed: int
    ) -> tuple[Float32Array, Float32Array]:
        given = Interactions(interactions, False)
        users, items = start(given, self.factors, seed)
        state = np.array([seed % 2**64], np.uint64)
        descent = Descent(
            users=address(users),
            items=address(items),
            padded=users.strides[0] // users.itemsize,
            bias=self.factors,
            interactions=interactions.nnz,
            user=address(given.users),
            item=address(given.liked),
            starts=address(given.starts),
            rate=self.learning_rate,
            regularization=self.regularization,
            seed=address(state),
        )
        for _ in range(self.iterations):
            descend(descent, WIDEST)
        return users, items


def start(given: Interactions, factors: int, seed: int) -> tuple[Float32Array, Float32Array]:
    """What BPR begins with: rows of users and of items, float32 (n, factors + 1), for the kernel.

    Those of implicit, to the last bit. Rows without interactions are zero, so that such a user is
    answered by the biases of the items; the last column of a user is 1.
    """
    generator = np.random.default_rng(seed)
    users, items = (padded(rows, factors + 1) for rows in given.matrix.shape)
    for rows, counts in ((items, given.of_items), (users, given.of_users)):
        for first in range(0, len(rows), DRAWN_AT_ONCE):
            part = rows[first : first + DRAWN_AT_ONCE]
            part[:] = (generator.random(part.shape, np.float32) - np.float32(0.5)) / factors
        rows[counts == 0] = 0
    users[:, factors] = 1
    return users, items
