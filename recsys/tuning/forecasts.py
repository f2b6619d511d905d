"""Forecasts of a study's trials, corrected by how its earlier forecasts turned out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from recsys.tuning.policy import Policy
from recsys.tuning.space import SearchSpace
from recsys.tuning.stopping import ForecastBelowBest, correction, forecast
from recsys.tuning.trials import TrialResult


class Forecasts:
    """What to expect of trials at the last rung.

    Parameters
    ----------
    trials : sequence of TrialResult
        Of the study, which adds to it.
    policy : Policy
    """

    def __init__(self, trials: Sequence[TrialResult], policy: Policy) -> None:
        self._trials, self._policy = trials, policy
        # By epoch and number of rungs measured so far, which is all that a correction depends on.
        self._corrections: dict[tuple[int, int], float] = {}

    def expected(self, trial: TrialResult) -> float:
        """The precision to expect of a trial; what it reached, if its curve will not rise more."""
        policy = self._policy
        if trial.status == "diverged" or not trial.curve:
            return 0.0
        if trial.status == "complete" or policy.plateau.reason(trial.epochs, trial.values):
            return trial.precision
        ahead = forecast(trial.epochs, trial.values, policy.max_epochs)
        return max(trial.precision, ahead * self._correction(trial.epochs[-1]))

    def reason_to_stop(self, trial: TrialResult, best: float) -> str | None:
        """Why a paused trial need not be resumed: its forecast is below the study's best."""
        epoch = trial.epochs[-1]
        slack, factor = self._policy.slack_at(epoch), self._correction(epoch)
        rule = ForecastBelowBest(best, self._policy.max_epochs, slack, factor)
        return rule.reason(trial.epochs, trial.values)

    def observations(self, space: SearchSpace) -> list[tuple[list[Any], float]]:
        """Points and expected values of all trials, for the surrogate.

        A trial that diverged or learned nothing counts as far below the median as the best is
        above it: finite, and not so low that the surrogate sees nothing else. A trial in its first
        segment counts as the best (a constant liar), so that the surrogate looks elsewhere.
        """
        values = {trial.number: self.expected(trial) for trial in self._trials if trial.reason}
        if not values:
            return []
        best, median = max(values.values()), float(np.median(list(values.values())))
        floor = max(2 * median - best, median / 2)
        return [
            (
                space.point(trial.configuration),
                max(values[trial.number], floor) if trial.number in values else best,
            )
            for trial in self._trials
        ]

    def _correction(self, epoch: int) -> float:
        measured = sum(len(trial.curve) for trial in self._trials)
        if (epoch, measured) not in self._corrections:
            curves = [(trial.epochs, trial.values) for trial in self._trials if trial.curve]
            factor = correction(curves, epoch, self._policy.max_epochs)
            self._corrections[epoch, measured] = factor
        return self._corrections[epoch, measured]
