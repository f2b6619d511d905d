"""Stop rules: small pure judgements on a trial's learning curve, apart from the search."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol


class StopRule(Protocol):
    """Says why a trial should end here, or None to let it go on."""

    def reason(self, epochs: Sequence[int], values: Sequence[float]) -> str | None: ...


@dataclass(frozen=True)
class Plateau:
    """Ends a trial whose best value has not risen by `rise` (relative) for `patience` rungs."""

    patience: int = 3
    rise: float = 0.01

    def reason(self, epochs: Sequence[int], values: Sequence[float]) -> str | None:
        if len(values) <= self.patience:
            return None
        before = max(values[: -self.patience])
        since = max(values[-self.patience :])
        if since < before * (1 + self.rise):
            return f"no rise of {self.rise:.0%} in {self.patience} rungs"
        return None


@dataclass(frozen=True)
class Behind:
    """Ends a trial that is far behind the best curve so far at the same epoch.

    Parameters
    ----------
    best_epochs, best_values : sequences of the same length
        The best trial's curve; empty before there is one.
    factor : float
        Share of the best curve's value that has to be reached...
    grace : int
        ...from this epoch on.
    """

    best_epochs: tuple[int, ...]
    best_values: tuple[float, ...]
    factor: float = 0.7
    grace: int = 3

    def reason(self, epochs: Sequence[int], values: Sequence[float]) -> str | None:
        if epochs[-1] < self.grace:
            return None
        there = [
            v for e, v in zip(self.best_epochs, self.best_values, strict=True) if e <= epochs[-1]
        ]
        if there and max(values) < self.factor * max(there):
            return f"below {self.factor:.0%} of the best curve at epoch {epochs[-1]}"
        return None


def first_reason(
    rules: Sequence[StopRule], epochs: Sequence[int], values: Sequence[float]
) -> str | None:
    """The reason of the first rule that ends the trial; None if none does."""
    for rule in rules:
        if reason := rule.reason(epochs, values):
            return reason
    return None
