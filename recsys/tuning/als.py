"""ALS tuned on the validation holdout, so that the baseline is a fair one."""

from __future__ import annotations

import time

import scipy.sparse as sp
from skopt import Optimizer

from recsys.base.dimensions import Range
from recsys.models.als import Als
from recsys.ranking.metrics import precision_at_k
from recsys.tuning.space import SearchSpace

ALS_SPACE = SearchSpace(
    {
        "alpha": Range(low=0.5, high=50.0, scale="log"),
        "factors": Range(low=32, high=256, scale="log"),
        "regularization": Range(low=1e-3, high=10.0, scale="log"),
    },
    {},
)
# implicit's defaults, which most people would try first.
ALS_FIRST = {"alpha": 1.0, "factors": 100, "regularization": 0.01}


def tune_als(
    train: sp.csr_matrix,
    validation: sp.csr_matrix,
    *,
    trials: int,
    seed: int,
    seconds: float | None = None,
    k: int = 5,
) -> tuple[Als, float]:
    """Search for the ALS configuration with the best validation precision_at_k, defaults first.

    Parameters
    ----------
    train, validation : csr_matrix (n_users, n_items)
    trials : int
        At most; at least one.
    seed : int
    seconds : float or None
        CPU seconds after which no trial is started.
    k : int

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
        factors = als.fit(train, seed=seed)
        precision = float(precision_at_k(factors, validation, known=train, k=k).mean())
        optimizer.tell(point, -precision)
        best = max(best or (-1.0, als), (precision, als), key=lambda entry: entry[0])
    assert best is not None, "at least one trial is made"
    return best[1], best[0]
