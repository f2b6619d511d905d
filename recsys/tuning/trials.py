"""Trials and studies: which configurations were tried, and what was measured of them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from recsys.ranking.factors import Factors
from recsys.ranking.neighbours import Neighbours
from recsys.tuning.understanding import Understanding

Status = Literal["paused", "complete", "stopped", "diverged"]


@dataclass(frozen=True)
class Rung:
    """A measurement: precision after so many epochs and CPU seconds of training and measuring."""

    epoch: int
    precision: float
    seconds: float


@dataclass(frozen=True)
class TrialResult:
    """A trial as far as it has come.

    Parameters
    ----------
    number : int
    configuration : dict
    curve : tuple of Rung
        Empty if the model diverged before the first rung.
    status : {"paused", "complete", "stopped", "diverged"}
    reason : str
        Why it ended, or paused.
    factors : Factors or None
        The model at the best rung; None if that rung was recalled and not trained, if another trial
        was better, or if a worker in another process keeps it.
    neighbours : Neighbours or None
        Of an item-to-item model, the weights it was measured with; of the best trial alone, for
        they are large.
    kept : str or None
        Where the other process keeps it.
    finishes : int or None
        The number of the trial whose model this one finishes, repeating its seconds; see
        `recsys.tuning.finishing`.
    beaten : bool
        Whether another trial of its model was better over several holdouts, see
        `recsys.tuning.contenders`: however high its precision, it is no candidate.
    """

    number: int
    configuration: dict[str, Any]
    curve: tuple[Rung, ...] = ()
    status: Status = "paused"
    reason: str = ""
    factors: Factors | None = field(default=None, compare=False, repr=False)
    neighbours: Neighbours | None = field(default=None, compare=False, repr=False)
    kept: str | None = field(default=None, compare=False, repr=False)
    finishes: int | None = None
    beaten: bool = False

    @property
    def name(self) -> str:
        """The key of its checkpoint; the configuration tells equal numbers apart."""
        text = json.dumps(self.configuration, sort_keys=True)
        digest = hashlib.blake2b(text.encode(), digest_size=6).hexdigest()
        return f"{self.number:04d}-{digest}"

    @property
    def best(self) -> Rung | None:
        """The rung with the highest precision, the earliest of equals."""
        return max(self.curve, key=lambda rung: (rung.precision, -rung.epoch), default=None)

    @property
    def precision(self) -> float:
        """The best rung's precision; 0 where there is none."""
        return self.best.precision if self.best else 0.0

    @property
    def seconds(self) -> float:
        """CPU seconds up to the last rung."""
        return self.curve[-1].seconds if self.curve else 0.0

    @property
    def epochs(self) -> list[int]:
        """The epochs of the rungs."""
        return [rung.epoch for rung in self.curve]

    @property
    def values(self) -> list[float]:
        """The precision at the rungs."""
        return [rung.precision for rung in self.curve]


@dataclass(frozen=True)
class Contender:
    """A trial that was raced: its mean over so many holdouts, and on the first one alone."""

    trial: int
    model: str
    first: float
    mean: float
    holdouts: int


@dataclass(frozen=True)
class Study:
    """All trials on one problem and search space, in their order.

    Parameters
    ----------
    trials : tuple of TrialResult
    ended : str
        Why no further trial was made.
    understood : Understanding or None
        What it knows of its search space; None where it is a part of a larger study.
    contenders : tuple of Contender
        The trials that were raced on further holdouts, of each model the winner first.
    race_seconds : mapping of str to float
        CPU seconds that races took, by model.
    understanding_seconds : float
        CPU seconds that `understood` took.
    """

    trials: tuple[TrialResult, ...]
    ended: str
    understood: Understanding | None = None
    contenders: tuple[Contender, ...] = ()
    race_seconds: Mapping[str, float] = field(default_factory=dict)
    understanding_seconds: float = 0.0

    @property
    def best(self) -> TrialResult:
        """The trial with the highest precision, the first of equals.

        Item-to-item models alone are no candidates: they win as a part of a blended trial.
        """
        left = [trial for trial in self.trials if not trial.beaten]
        candidates = [trial for trial in left if not is_closed_form(trial)]
        return max(candidates or self.trials, key=order_of_merit)


def is_closed_form(trial: TrialResult) -> bool:
    """Whether a trial is that of an item-to-item model, which no epochs train."""
    return "model" in trial.configuration


def order_of_merit(trial: TrialResult) -> tuple[float, int]:
    """A key by which the best trial is the largest: its precision, of equals the earlier."""
    return trial.precision, -trial.number
