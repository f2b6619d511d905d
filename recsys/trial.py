"""A trial: one configuration trained rung by rung, measured at each, stopped when it is no use."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from recsys.factors import Factors
from recsys.metrics import precision_at_k
from recsys.model import DivergedError, Hyperparameters, Training
from recsys.stopping import StopRule, first_reason

Status = Literal["complete", "stopped", "diverged"]

# Early rungs are close together because that is where bad trials can be told from good ones;
# later ones a constant factor apart, because a curve bends on a logarithmic scale of epochs.
RUNGS = (1, 2, 3, 5, 8, 12, 17, 24, 33, 45, 60, 80, 105, 135, 170, 210, 260)


@dataclass(frozen=True)
class Problem:
    """What a study tunes on.

    Parameters
    ----------
    train, validation : csr_matrix float32 (n_users, n_items)
    k : int
        The objective is mean validation precision_at_k, training interactions masked.
    seed : int
        Of the model's initialisation and its sampling.
    item_features : csr_matrix float32 or None
        Trained jointly (identity block and tags); None for a vector of its own for each item.
    masked : bool
        False leaves the training interactions in the ranking, as the founding article does.
    """

    train: sp.csr_matrix
    validation: sp.csr_matrix
    k: int = 5
    seed: int = 0
    masked: bool = True
    item_features: sp.csr_matrix | None = None

    def precision(self, factors: Factors) -> float:
        known = self.train if self.masked else None
        return float(precision_at_k(factors, self.validation, known=known, k=self.k).mean())


@dataclass(frozen=True)
class Rung:
    """A measurement: precision after so many epochs and CPU seconds of training and measuring."""

    epoch: int
    precision: float
    seconds: float


@dataclass(frozen=True)
class TrialSpec:
    """What a trial is asked to do."""

    number: int
    configuration: dict[str, Any]
    rungs: tuple[int, ...] = RUNGS
    rules: tuple[StopRule, ...] = ()


@dataclass(frozen=True)
class TrialResult:
    """What came of a trial.

    Parameters
    ----------
    number : int
    configuration : dict
    curve : tuple of Rung
        Empty if the model diverged before the first rung.
    status : {"complete", "stopped", "diverged"}
    reason : str
        Why it ended.
    factors : Factors or None
        The state at the best rung; None for a trial that was recalled, not run.
    """

    number: int
    configuration: dict[str, Any]
    curve: tuple[Rung, ...]
    status: Status
    reason: str
    factors: Factors | None = field(default=None, compare=False, repr=False)

    @property
    def best(self) -> Rung | None:
        """The rung with the highest precision, the earliest of equals."""
        return max(self.curve, key=lambda rung: (rung.precision, -rung.epoch), default=None)

    @property
    def precision(self) -> float:
        """The best rung's precision; 0 where there is none or the trial diverged."""
        return self.best.precision if self.best else 0.0

    @property
    def seconds(self) -> float:
        return self.curve[-1].seconds if self.curve else 0.0


def run_trial(
    problem: Problem, spec: TrialSpec, on_rung: Callable[[Rung], None] | None = None
) -> TrialResult:
    """Train and measure one configuration, one thread, until a rule or the last rung ends it."""
    training = Training(
        problem.train,
        Hyperparameters.from_dict(spec.configuration),
        problem.seed,
        item_features=problem.item_features,
    )
    curve: list[Rung] = []
    factors: Factors | None = None
    status: Status = "complete"
    reason = "all rungs"
    # CPU time of this thread alone: other trials may run beside it.
    start = time.thread_time()
    with threadpool_limits(1):
        for epoch in spec.rungs:
            try:
                training.advance(epoch - training.epoch)
            except DivergedError as fault:
                status, reason = "diverged", str(fault)
                break
            precision = problem.precision(training.view())
            if precision > max((rung.precision for rung in curve), default=-1.0):
                factors = training.factors()
            curve.append(Rung(epoch, precision, time.thread_time() - start))
            if on_rung is not None:
                on_rung(curve[-1])
            if ended := _ended(spec.rules, curve):
                status, reason = "stopped", ended
                break
    return TrialResult(
        spec.number,
        spec.configuration,
        tuple(curve),
        status,
        reason,
        factors,
    )


def _ended(rules: Sequence[StopRule], curve: Sequence[Rung]) -> str | None:
    return first_reason(rules, [rung.epoch for rung in curve], [rung.precision for rung in curve])
