"""BPR: implicit's Bayesian personalised ranking, plain factor matrices out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from recsys.models.configuration import require_number
from recsys.models.model import FactorModel
from recsys.ranking.factors import Factors


@dataclass(frozen=True)
class Bpr(FactorModel):
    """Factors that rank what a user likes above items drawn at random [1]_; as implicit has them.

    Interactions count alike, whatever their weights.

    Parameters
    ----------
    factors : int
        Components of a vector.
    learning_rate, regularization : float
    iterations : int
        Each draws as many pairs as there are interactions.

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
        """On one thread, whatever `threads` says: several write to the same vectors."""
        from implicit.cpu.bpr import BayesianPersonalizedRanking  # takes long to import

        with threadpool_limits(1):
            model = BayesianPersonalizedRanking(**asdict(self), random_state=seed, num_threads=1)
            model.fit(interactions, show_progress=False)
        # The last column is the bias of an item, and 1 for a user. Whoever has no interactions
        # keeps a random vector, which says nothing.
        users = np.array(model.user_factors[:, :-1], np.float32)
        items = np.array(model.item_factors[:, :-1], np.float32)
        biases = np.array(model.item_factors[:, -1], np.float32)
        return Factors(users, items, np.zeros(len(users), np.float32), biases)
