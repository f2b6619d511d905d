"""ALS: implicit's alternating least squares, plain factor matrices out."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import ClassVar

import numpy as np
import scipy.sparse as sp
from implicit.cpu.als import AlternatingLeastSquares
from threadpoolctl import threadpool_limits

from recsys.models.configuration import require_number
from recsys.models.model import FactorModel
from recsys.ranking.factors import Factors


@dataclass(frozen=True)
class Als(FactorModel):
    """Alternating least squares on implicit feedback [1]_; names and defaults are implicit's.

    Parameters
    ----------
    alpha : float
        An interaction of weight w is trusted 1 + alpha * w times as much as its absence.
    factors : int
        Components of a vector.
    regularization : float
    iterations : int
        Each solves for all users and then for all items.

    References
    ----------
    .. [1] Y. Hu, Y. Koren and C. Volinsky, Collaborative filtering for implicit feedback datasets,
       ICDM 2008.
    """

    name: ClassVar[str] = "als"

    alpha: float = 1.0
    factors: int = 100
    regularization: float = 0.01
    iterations: int = 15

    def __post_init__(self) -> None:
        require_number("alpha", self.alpha, 1e-12, 1e12)
        require_number("factors", self.factors, 1, 10_000, whole=True)
        require_number("regularization", self.regularization, 0.0, 1e12)
        require_number("iterations", self.iterations, 1, 1_000_000, whole=True)

    def _fit(self, interactions: sp.csr_matrix, seed: int, threads: int) -> Factors:
        """On one thread, whatever `threads` says: sums shared by threads differ in their bits."""
        with threadpool_limits(1):
            model = AlternatingLeastSquares(**asdict(self), random_state=seed, num_threads=1)
            model.fit(interactions, show_progress=False)
        users = np.ascontiguousarray(model.user_factors, np.float32)
        items = np.ascontiguousarray(model.item_factors, np.float32)
        return Factors(
            users, items, np.zeros(len(users), np.float32), np.zeros(len(items), np.float32)
        )
