"""Baselines every model has to beat: popularity, and implicit's ALS with a tuning of its own."""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass

import numpy as np
import scipy.sparse as sp
from implicit.cpu.als import AlternatingLeastSquares
from skopt import Optimizer
from threadpoolctl import threadpool_limits

from recsys.config import Range
from recsys.factors import Factors
from recsys.metrics import precision_at_k
from recsys.space import SearchSpace

ALS_SPACE = SearchSpace(
    {
        "alpha": Range(low=0.5, high=50.0, scale="log"),
        "factors": Range(low=32, high=256, scale="log"),
        "regularization": Range(low=1e-3, high=10.0, scale="log"),
    },
    {},
)
# implicit's own defaults: what somebody would run without thinking.
ALS_FIRST = {"alpha": 1.0, "factors": 100, "regularization": 0.01}


def popularity(interactions: sp.csr_matrix) -> Factors:
    """Every user gets the most liked items: no factors, the number of likes as item bias."""
    n_users, n_items = interactions.shape
    likes = np.bincount(interactions.indices, minlength=n_items).astype(np.float32)
    nothing = np.zeros((n_users, 0), np.float32), np.zeros((n_items, 0), np.float32)
    return Factors(*nothing, np.zeros(n_users, np.float32), likes)


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


def tune_als(
    train: sp.csr_matrix,
    validation: sp.csr_matrix,
    *,
    trials: int,
    seed: int,
    seconds: float | None = None,
    k: int = 5,
) -> tuple[Als, float]:
    """The best ALS configuration by validation precision_at_k, the library's defaults first.

    Parameters
    ----------
    train, validation : csr_matrix (n_users, n_items)
    trials : int
        At most so many.
    seed : int
    seconds : float or None
        No new trial after so many seconds of CPU time.

    Returns
    -------
    best : Als
    precision : float
        Its mean validation precision_at_k.
    """
    optimizer = Optimizer(
        ALS_SPACE.dimensions(), base_estimator="ET", random_state=seed, n_initial_points=5
    )
    start = time.process_time()
    best: tuple[float, Als] | None = None
    for trial in range(trials):
        if best is not None and seconds is not None and time.process_time() - start > seconds:
            break
        point = ALS_SPACE.point(ALS_FIRST) if trial == 0 else optimizer.ask()
        als = Als(**ALS_SPACE.configuration(point))
        factors = als.fit(train, seed)
        precision = float(precision_at_k(factors, validation, known=train, k=k).mean())
        optimizer.tell(point, -precision)
        best = max(best or (-1.0, als), (precision, als), key=lambda entry: entry[0])
    assert best is not None, "at least one trial is made"
    return best[1], best[0]
