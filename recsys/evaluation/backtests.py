"""Backtests: figures of successive folds side by side, and all of them together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from recsys.base.arrays import Float64Array, IntArray
from recsys.evaluation.holdouts import Estimate

CHOICE = "choice"
"""What the pipeline would have released: the winner of each fold, whichever model it is."""


@dataclass(frozen=True)
class FoldScores:
    """The headline metric of every model for each user of a fold.

    Parameters
    ----------
    users : int (n,)
    values : mapping of str to float64 (n,)
    winner : str
        The model that the pipeline chose.
    """

    users: IntArray
    values: Mapping[str, Float64Array]
    winner: str

    def of(self, model: str) -> Float64Array:
        """The values of a model, or of the `CHOICE`."""
        return self.values[self.winner if model == CHOICE else model]


def clustered_interval(
    values: Float64Array, users: IntArray, seed: int, samples: int = 1000, level: float = 0.95
) -> Estimate:
    """Mean of values with a bootstrap interval in which each user's values stay together.

    One user is in several folds, and alike in all of them: as independent values they would make
    the interval too narrow [1]_.

    Parameters
    ----------
    values : float64 (n,)
    users : int (n,)
        Whose each value is.
    seed, samples : int
    level : float

    References
    ----------
    .. [1] A. C. Cameron, J. B. Gelbach and D. L. Miller, Bootstrap-based improvements for inference
       with clustered errors, Review of Economics and Statistics 90 (2008).
    """
    _, owner = np.unique(users, return_inverse=True)
    sums, counts = np.bincount(owner, values), np.bincount(owner)
    generator = np.random.default_rng(seed)
    step = max(1, 2**21 // len(sums))  # 16 MB of indices at a time
    means = []
    for done in range(0, samples, step):
        drawn = generator.integers(len(sums), size=(min(step, samples - done), len(sums)))
        means.append(sums[drawn].sum(axis=1) / counts[drawn].sum(axis=1))
    low, high = np.quantile(np.concatenate(means), [(1 - level) / 2, (1 + level) / 2])
    return Estimate(float(values.mean()), float(low), float(high))


def over_all_folds(folds: Sequence[FoldScores], *, seed: int, samples: int) -> dict[str, Any]:
    """Every model over the users of all folds, and how far the pipeline's choice is ahead of it.

    Parameters
    ----------
    folds : sequence of FoldScores
    seed, samples : int
        Of the bootstrap.

    Returns
    -------
    dict
        `models` and `ahead`, estimates by model; `users` (distinct), `user_folds` (values); and
        `folds_behind`, in how many folds the choice had a lower mean than each model.
    """
    users = np.concatenate([fold.users for fold in folds])
    common = [
        name
        for name in folds[0].values
        # What won every fold is the choice, and no other model.
        if all(name in fold.values for fold in folds) and any(fold.winner != name for fold in folds)
    ]

    def pooled(model: str) -> Float64Array:
        return np.concatenate([fold.of(model) for fold in folds])

    own = pooled(CHOICE)
    found = {name: pooled(name) for name in common}
    return {
        "users": len(np.unique(users)),
        "user_folds": len(users),
        "models": {
            name: clustered_interval(values, users, seed, samples).as_dict()
            for name, values in {CHOICE: own, **found}.items()
        },
        "ahead": {
            name: clustered_interval(own - values, users, seed, samples).as_dict()
            for name, values in found.items()
        },
        "folds_behind": {
            name: sum(float(fold.of(CHOICE).mean()) < float(fold.of(name).mean()) for fold in folds)
            for name in common
        },
    }
