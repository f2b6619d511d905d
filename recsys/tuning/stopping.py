"""Stop rules: forecasts of learning curves, and when to stop a trial or a study.

Pure functions and rules over lists of numbers, apart from the search that applies them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


def rungs(last: int, ratio: float = 0.75, least: int = 3) -> tuple[int, ...]:
    """Epochs at which a trial is measured: `last`, and down from it by a constant factor.

    Curves are nearly straight on a logarithmic scale of epochs, so they are measured on it.

    Parameters
    ----------
    last : int
    ratio : float
        Of one rung to the next, below 1.
    least : int
        No rung is below it.
    """
    found = {last}
    epoch = last * ratio
    while round(epoch) >= least:
        found.add(round(epoch))
        epoch *= ratio
    return tuple(sorted(found))


def forecast(
    epochs: Sequence[int], values: Sequence[float], horizon: int, damping: float = 0.8
) -> float:
    """The value to expect at `horizon` epochs; never less than the best so far.

    A learning curve is nearly straight in the logarithm of the epochs. Its slope over the last
    doubling is extrapolated, and each further doubling counts `damping` times the one before.

    Parameters
    ----------
    epochs, values : sequences of the same length, at least one
    horizon : int
    damping : float
        Below 1.

    Returns
    -------
    float
    """
    best = max(values)
    if len(values) < 2 or epochs[-1] >= horizon:
        return best
    doublings = np.log2(epochs)
    recent = doublings >= doublings[-1] - 1.3
    recent[-3:] = True
    x, y = doublings[recent], np.asarray(values, dtype=float)[recent]
    slope = float(np.polyfit(x, y, 1)[0])
    if slope <= 0:
        return best
    # Between the last value, which is noisy, and the line through the recent ones.
    here = (max(y[-1], y.mean() + slope * (x[-1] - x.mean())) + y[-1]) / 2
    ahead = math.log2(horizon / epochs[-1])
    gain = slope * damping * (1 - damping**ahead) / (1 - damping)
    return max(best, float(here + gain))


MAX_CORRECTION = 2.0


def correction(
    curves: Sequence[tuple[Sequence[int], Sequence[float]]],
    epoch: int,
    horizon: int,
    fewest: int = 2,
) -> float:
    """A factor for forecasts made at an epoch, from how earlier ones made there turned out.

    Curves rise for longer than their first epochs show, the more so the stronger the
    regularisation, so forecasts of young curves are too low beside the value of an old one. The
    factor is the median, over curves that have since gone on for about twice the epochs, of their
    forecast now divided by their forecast then.

    Parameters
    ----------
    curves : sequence of (epochs, values)
    epoch : int
    horizon : int
    fewest : int
        With fewer such curves the factor is one.

    Returns
    -------
    float
        At most `MAX_CORRECTION`.
    """
    found: list[float] = []
    for epochs, values in curves:
        if epoch not in epochs or epochs[-1] < 1.9 * epoch:
            continue
        there = list(epochs).index(epoch) + 1
        before, now = (
            forecast(epochs[:there], values[:there], horizon),
            forecast(epochs, values, horizon),
        )
        # A curve that had learned nothing yet says nothing about others, so its ratio is bounded.
        grown = now / before if before * MAX_CORRECTION > now else MAX_CORRECTION
        found.append(min(grown, MAX_CORRECTION))
    return float(np.median(found)) if len(found) >= fewest else 1.0


class StopRule(Protocol):
    """A rule that stops a trial because of its learning curve."""

    def reason(self, epochs: Sequence[int], values: Sequence[float]) -> str | None:
        """Why the trial should stop here; None if it should not."""


@dataclass(frozen=True)
class Plateau:
    """Stops a curve that has not risen by `rise` (relative) over its last `doublings` of epochs.

    Parameters
    ----------
    rise, doublings : float
    fewest : int
        With fewer values it is too early to tell.
    """

    rise: float = 0.0
    doublings: float = 1.0
    fewest: int = 5

    def reason(self, epochs: Sequence[int], values: Sequence[float]) -> str | None:
        """Since which epoch the curve has not risen; None if it has."""
        if len(values) < self.fewest:
            return None
        since = epochs[-1] / 2**self.doublings
        before = [value for epoch, value in zip(epochs, values, strict=True) if epoch <= since]
        if before and max(values) <= max(before) * (1 + self.rise):
            return f"no better than at epoch {math.floor(since)}"
        return None


@dataclass(frozen=True)
class BehindBest:
    """Stops a curve below a `share` of the value that the best trial had at the same epoch.

    Parameters
    ----------
    best_at : mapping of int to float
        The best trial's value at each rung.
    share : float
    """

    best_at: Mapping[int, float] = field(default_factory=dict)
    share: float = 0.5

    def reason(self, epochs: Sequence[int], values: Sequence[float]) -> str | None:
        """At which epoch the curve is too low; None if it is not."""
        best = self.best_at.get(epochs[-1], 0.0)
        if values[-1] < self.share * best:
            return f"below {self.share:.0%} of the best at epoch {epochs[-1]}"
        return None


@dataclass(frozen=True)
class ForecastBelowBest:
    """Stops a curve whose forecast is below the best value of the study.

    Parameters
    ----------
    best : float
    horizon : int
        The last rung.
    slack : float
        How much (relative) a forecast may be wrong.
    factor : float
        Forecasts are multiplied by it; see `correction`.
    """

    best: float
    horizon: int
    slack: float = 0.0
    factor: float = 1.0

    def reason(self, epochs: Sequence[int], values: Sequence[float]) -> str | None:
        """The forecast that is too low; None if it is not."""
        ahead = forecast(epochs, values, self.horizon) * self.factor
        if ahead * (1 + self.slack) < self.best:
            return f"forecast {ahead:.4f} is below the best, {self.best:.4f}"
        return None


@dataclass(frozen=True)
class Converged:
    """Ends a study whose best value the last `patience` trials have not raised by `rise`.

    Only trials that pass their screen count.

    Parameters
    ----------
    patience : int
    rise : float
        Relative.
    """

    patience: int = 15
    rise: float = 0.005

    def reason(self, best_after: Sequence[float]) -> str | None:
        """Why the study should end; None if it should not.

        Parameters
        ----------
        best_after : sequence of float
            The study's best value after each of the trials that count.
        """
        if len(best_after) <= self.patience or best_after[-1] <= 0:
            return None
        before = best_after[-1 - self.patience]
        if best_after[-1] < before * (1 + self.rise):
            return f"converged: no rise of {self.rise:.1%} in {self.patience} trials"
        return None


def first_reason(
    rules: Sequence[StopRule], epochs: Sequence[int], values: Sequence[float]
) -> str | None:
    """The reason of the first rule that stops the curve; None if none does."""
    for rule in rules:
        if reason := rule.reason(epochs, values):
            return reason
    return None
