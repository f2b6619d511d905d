"""Holdouts: models measured on held-out interactions, with intervals, side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import scipy.sparse as sp

from recsys.base.arrays import Float64Array
from recsys.evaluation.metric_names import HEADLINE
from recsys.evaluation.non_inferiority import reach_of
from recsys.ranking.metrics import (
    Evaluation,
    Interval,
    bootstrap_interval,
    evaluate,
    paired_bootstrap,
)
from recsys.ranking.scorer import Scorer


@dataclass(frozen=True)
class Estimate:
    """A mean over users with its interval; without one for a metric of the catalogue."""

    mean: float
    low: float | None = None
    high: float | None = None

    @staticmethod
    def of(interval: Interval) -> Estimate:
        """An estimate with a bootstrap interval."""
        return Estimate(interval.mean, interval.low, interval.high)

    @staticmethod
    def by_user(values: Float64Array) -> Estimate:
        """A mean with Student's 95 % interval, without one for a single user.

        Parameters
        ----------
        values : float64 (n,)
            One for each user, n at least 1.
        """
        mean, reach = float(values.mean()), reach_of(values, 0.975)
        return Estimate(mean) if len(values) < 2 else Estimate(mean, mean - reach, mean + reach)

    def as_dict(self) -> dict[str, float | None]:
        """The estimate, ready for JSON."""
        return {"mean": self.mean, "low": self.low, "high": self.high}


@dataclass(frozen=True)
class Measured:
    """One model on one holdout.

    Parameters
    ----------
    estimates : dict of str to Estimate
        Metric names, also with the suffix `_unmasked`.
    evaluation : Evaluation
        Masked per-user figures, for paired comparison.
    """

    estimates: dict[str, Estimate]
    evaluation: Evaluation


def measure(
    scorer: Scorer,
    heldout: sp.csr_matrix,
    known: sp.csr_matrix,
    *,
    ks: Sequence[int] = (5, 10, 20),
    samples: int = 1000,
    seed: int = 0,
) -> Measured:
    """Measure a model on held-out interactions.

    Parameters
    ----------
    scorer : Scorer
        A fitted model, such as `Factors`.
    heldout, known : csr_matrix (n_users, n_items)
        `known` is what the model was trained on; it is left out of the ranking, and in it for
        the `_unmasked` variants, which is how the founding article measures.
    ks : sequence of int
    samples : int
        Bootstrap resamples of the users.
    seed : int
    """
    masked = evaluate(scorer, heldout, known=known, ks=ks)
    unmasked = evaluate(scorer, heldout, known=None, ks=ks)
    estimates = _estimates(masked.per_user, samples, seed)
    estimates |= {name: Estimate(value) for name, value in masked.catalogue.items()}
    for name, values in unmasked.per_user.items():
        estimates[f"{name}_unmasked"] = Estimate(float(values.mean()))
    return Measured(estimates, masked)


def _estimates(
    per_user: Mapping[str, Float64Array], samples: int, seed: int
) -> dict[str, Estimate]:
    return {
        name: Estimate.of(bootstrap_interval(values, seed, samples=samples))
        for name, values in per_user.items()
    }


def differences(
    measured: Mapping[str, Measured], winner: str, *, samples: int = 1000, seed: int = 0
) -> dict[str, Estimate]:
    """The winner's headline metric minus each other model's, paired by user."""
    own = measured[winner].evaluation.per_user[HEADLINE]
    return {
        name: Estimate.of(
            paired_bootstrap(own, other.evaluation.per_user[HEADLINE], seed, samples=samples)
        )
        for name, other in measured.items()
        if name != winner
    }


def as_leaderboard(
    measured: Mapping[str, Measured], compared: Mapping[str, Estimate]
) -> list[dict[str, Any]]:
    """One entry a model, best first, ready for JSON."""
    return sorted(
        (
            {
                "model": name,
                "metrics": {metric: est.as_dict() for metric, est in entry.estimates.items()},
                "behind_by": compared[name].as_dict() if name in compared else None,
            }
            for name, entry in measured.items()
        ),
        key=lambda entry: -entry["metrics"][HEADLINE]["mean"],
    )
