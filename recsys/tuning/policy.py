"""The search policy: how many trials are made, and how epochs are spent on them."""

from __future__ import annotations

from dataclasses import dataclass

from recsys.tuning.stopping import Converged, Plateau


@dataclass(frozen=True)
class Budget:
    """What a study may spend: configurations tried, and seconds of wall time."""

    trials: int
    seconds: float | None = None


@dataclass(frozen=True)
class Policy:
    """How epochs are spent on trials.

    The defaults were chosen in whole studies on data that no benchmark uses; see
    docs/experiments/search-policy.md.

    Parameters
    ----------
    max_epochs : int
        The last rung.
    screen : int
        Epochs that a new trial gets before it is compared with others.
    initial : int
        Trials before the first local step and the first question to the surrogate; they are
        spread over the likely part of the space.
    plateau : Plateau
        Stops a curve that has ceased to rise.
    share : float
        A trial below this share of the best trial's value at the same epoch is stopped.
    slack : float
        By how much (relative) a forecast made at the screen may fall short of the best.
    converged : Converged
        Ends the study.
    """

    max_epochs: int = 260
    screen: int = 11
    initial: int = 6
    plateau: Plateau = Plateau(doublings=0.8)
    share: float = 0.75
    slack: float = 0.08
    converged: Converged = Converged()

    def slack_at(self, epoch: int) -> float:
        """By how much (relative) a forecast made at an epoch may fall short of the best.

        Forecasts err less the later they are made, roughly with the square root of the epochs.
        """
        return self.slack * (self.screen / epoch) ** 0.5
