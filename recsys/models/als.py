"""ALS: implicit's alternating least squares, plain factor matrices out."""

from __future__ import annotations

from dataclasses import asdict, dataclass

import numpy as np
import scipy.sparse as sp
from implicit.cpu.als import AlternatingLeastSquares
from threadpoolctl import threadpool_limits

from recsys.ranking.factors import Factors


@dataclass(frozen=True)
class Als:
    """A configuration of alternating least squares (Hu, Koren and Volinsky, Collaborative
    Filtering for Implicit Feedback Datasets, ICDM 2008), under implicit's names."""

    alpha: float
    factors: int
    regularization: float
    iterations: int = 15

    def fit(self, interactions: sp.csr_matrix, seed: int) -> Factors:
        """Train on one thread, reproducible in the seed."""
        model = AlternatingLeastSquares(**asdict(self), random_state=seed, num_threads=1)
        with threadpool_limits(1):
            model.fit(interactions, show_progress=False)
        users = np.ascontiguousarray(model.user_factors, np.float32)
        items = np.ascontiguousarray(model.item_factors, np.float32)
        no_bias = np.zeros(len(users), np.float32), np.zeros(len(items), np.float32)
        return Factors(users, items, *no_bias)
