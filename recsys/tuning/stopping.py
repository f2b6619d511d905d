"""Learning curves judged: where one will end, and when going on is no use.

Small pure rules over lists of numbers, apart from the search that obeys them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

import numpy as np


def rungs(last: int, ratio: float = 0.75, least: int = 3) -> tuple[int, ...]:
    """Epochs at which a trial is measured: `last`, and down from it by a constant factor.

    A curve bends on a logarithmic scale of epochs, so that is the scale it is watched on.
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
    """The value to expect at `horizon` epochs; never less than the best already seen.

    A learning curve is nearly straight in the logarithm of the epochs: its slope over the last
    doubling is carried on, each further doubling worth `damping` of the one before.

    Parameters
    ----------
    epochs, values : sequences of the same length, at least one
    horizon : int
    damping : float
        Below 1.
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


MOST = 2.0  # by how much a forecast is corrected at most


def correction(
    curves: Sequence[tuple[Sequence[int], Sequence[float]]],
    epoch: int,
    horizon: int,
    fewest: int = 2,
) -> float:
    """How forecasts made at an epoch have turned out: a factor for those made there now.

    Curves rise for longer than their first epochs show, the more so the stronger the
    regularisation; compared with the best value of a trial that was trained for long, everything
    new would look hopeless. So forecasts are compared with what became of earlier ones: the
    median, over curves that have gone on for about twice as long, of what they have reached or
    promise now, divided by what they promised at that epoch.

    Parameters
    ----------
    curves : sequence of (epochs, values)
    epoch : int
    horizon : int
    fewest : int
        With fewer such curves the factor is one.
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
        # A curve that had learned nothing yet tells nothing of the others, however it ended.
        found.append(min(now / before, MOST) if before * MOST > now else MOST)
    return float(np.median(found)) if len(found) >= fewest else 1.0


class StopRule(Protocol):
    """Says why a trial should end here, or None to let it go on."""

    def reason(self, epochs: Sequence[int], values: Sequence[float]) -> str | None: ...


@dataclass(frozen=True)
class Plateau:
    """Ends a curve that has not risen by `rise` (relative) over its last `doublings` of epochs."""

    rise: float = 0.0
    doublings: float = 1.0
    fewest: int = 5

    def reason(self, epochs: Sequence[int], values: Sequence[float]) -> str | None:
        if len(values) < self.fewest:
            return None
        since = epochs[-1] / 2**self.doublings
        before = [value for epoch, value in zip(epochs, values, strict=True) if epoch <= since]
        if before and max(values) <= max(before) * (1 + self.rise):
            return f"no better than at epoch {math.floor(since)}"
        return None


@dataclass(frozen=True)
class BehindBest:
    """Ends a curve with less than `share` of the best value that any trial had at its epoch.

    Parameters
    ----------
    best_at : mapping of int to float
        The best value so far at each rung.
    share : float
    """

    best_at: Mapping[int, float] = field(default_factory=dict)
    share: float = 0.5

    def reason(self, epochs: Sequence[int], values: Sequence[float]) -> str | None:
        best = self.best_at.get(epochs[-1], 0.0)
        if values[-1] < self.share * best:
            return f"below {self.share:.0%} of the best at epoch {epochs[-1]}"
        return None


@dataclass(frozen=True)
class ForecastBelowBest:
    """Ends a curve whose forecast does not come up to the best value of the study.

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
        ahead = forecast(epochs, values, self.horizon) * self.factor
        if ahead * (1 + self.slack) < self.best:
            return f"forecast {ahead:.4f} is below the best, {self.best:.4f}"
        return None


@dataclass(frozen=True)
class Converged:
    """No more new trials: the last `patience` have not raised the study's best value by `rise`.

    Only trials that outlive their screen count.
    """

    patience: int = 15
    rise: float = 0.005

    def reason(self, best_after: Sequence[float]) -> str | None:
        """`best_after` is the study's best value after each of the trials that count."""
        if len(best_after) <= self.patience or best_after[-1] <= 0:
            return None
        before = best_after[-1 - self.patience]
        if best_after[-1] < before * (1 + self.rise):
            return f"converged: no rise of {self.rise:.1%} in {self.patience} trials"
        return None


def first_reason(
    rules: Sequence[StopRule], epochs: Sequence[int], values: Sequence[float]
) -> str | None:
    """The reason of the first rule that ends the curve; None if none does."""
    for rule in rules:
        if reason := rule.reason(epochs, values):
            return reason
    return None
