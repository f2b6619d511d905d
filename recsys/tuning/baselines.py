"""Baselines that need tuning, ALS and BPR: what the winner is compared with is at its best."""

from __future__ import annotations

import time

import scipy.sparse as sp

from recsys.base.dimensions import Range
from recsys.base.errors import InputError
from recsys.models.model import FactorModel, model_class
from recsys.ranking.metrics import precision_at_k
from recsys.tuning.space import Configuration, SearchSpace

SPACES: dict[str, SearchSpace] = {
    "als": SearchSpace(
        {
            "factors": Range(low=32, high=256, scale="log"),
            "regularization": Range(low=1e-4, high=0.1, scale="log"),
            "unobserved_weight": Range(low=3e-3, high=1.0, scale="log"),
        },
        {},
    ),
    "bpr": SearchSpace(
        {
            "factors": Range(low=32, high=256, scale="log"),
            "iterations": Range(low=20, high=200, scale="log"),
            "learning_rate": Range(low=1e-3, high=0.1, scale="log"),
            "regularization": Range(low=1e-3, high=0.3, scale="log"),
        },
        {},
    ),
}
"""The baselines, and what is searched of each; the exponent of ALS is the paper's."""

# What their authors recommend, which is tried first.
FIRST: dict[str, tuple[Configuration, ...]] = {
    "als": (
        {"factors": 128, "regularization": 0.003, "unobserved_weight": 0.1},
        {"factors": 256, "regularization": 0.003, "unobserved_weight": 0.03},
    ),
    "bpr": ({"factors": 100, "iterations": 100, "learning_rate": 0.01, "regularization": 0.01},),
}
_AT_RANDOM = 5  # points before the surrogate is asked, those of FIRST among them


def recommended(name: str) -> FactorModel:
    """A baseline as its authors recommend it, which is what a search tries first.

    Parameters
    ----------
    name : str
        As in `SPACES`.
    """
    space = SPACES[name]
    found = model_class(name).from_dict(space.configuration(space.point(FIRST[name][0])))
    assert isinstance(found, FactorModel)
    return found


def tune_baseline(
    name: str,
    train: sp.csr_matrix,
    validation: sp.csr_matrix,
    *,
    trials: int,
    seed: int,
    seconds: float | None = None,
    k: int = 5,
) -> tuple[FactorModel, float]:
    """Search for the configuration with the best validation precision_at_k.

    Parameters
    ----------
    name : str
        As in `SPACES`.
    train, validation : csr_matrix (n_users, n_items)
    trials : int
        At most; at least one.
    seed : int
    seconds : float or None
        CPU seconds of this thread after which no trial is started; the result then depends on
        the machine.
    k : int

    Returns
    -------
    best : FactorModel
    precision : float
        Its mean validation precision_at_k.

    Raises
    ------
    InputError
        If no trial could be fitted.
    """
    from skopt import Optimizer  # takes long to import

    space, first = SPACES[name], FIRST[name]
    optimizer = Optimizer(
        space.dimensions(), base_estimator="ET", random_state=seed, n_initial_points=_AT_RANDOM
    )
    start = time.thread_time()
    best: tuple[FactorModel, float] | None = None
    for trial in range(trials):
        if best is not None and seconds is not None and time.thread_time() - start > seconds:
            break
        point = space.point(first[trial]) if trial < len(first) else optimizer.ask()
        model = model_class(name).from_dict(space.configuration(point))
        assert isinstance(model, FactorModel)
        precision = _precision(model, train, validation, seed, k)
        optimizer.tell(point, -precision, fit=trial + 1 < trials)
        if best is None or precision > best[1]:
            best = model, precision
    if best is None or best[1] < 0:
        raise InputError(
            f"no trial of the baseline {name} could be fitted",
            "factors that stay finite",
            "leave it out with evaluate.baseline_trials = 0",
        )
    return best


def _precision(
    model: FactorModel, train: sp.csr_matrix, validation: sp.csr_matrix, seed: int, k: int
) -> float:
    try:
        factors = model.fit(train, seed=seed)
    except InputError:  # diverged
        return -1.0
    return float(precision_at_k(factors, validation, known=train, k=k).mean())
