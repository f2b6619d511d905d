"""Trials: configurations trained in segments and measured at rungs."""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, partial
from typing import Any, Literal

import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from recsys.models.hybrid import FeaturesBySide, start_training
from recsys.models.lightfm import DivergedError, Training
from recsys.models.spectral import Spectrum
from recsys.ranking.factors import Factors
from recsys.ranking.metrics import precision_at_k
from recsys.tuning.checkpoints import CheckpointStore, MemoryCheckpoints
from recsys.tuning.stopping import StopRule, first_reason

Status = Literal["paused", "complete", "stopped", "diverged"]


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
    masked : bool
        False leaves the training interactions in the ranking, as the founding article does.
    sides : FeaturesBySide or None
        Features, for configurations whose strategy is to train with them.
    """

    train: sp.csr_matrix
    validation: sp.csr_matrix
    k: int = 5
    seed: int = 0
    masked: bool = True
    sides: FeaturesBySide | None = None

    def precision(self, factors: Factors) -> float:
        known = self.train if self.masked else None
        return float(precision_at_k(factors, self.validation, known=known, k=self.k).mean())

    def training(self, configuration: Mapping[str, Any]) -> Training:
        return start_training(
            self.train, configuration, self.seed, self.sides, spectrum=self._spectrum
        )

    @cached_property
    def _spectrum(self) -> Spectrum:
        """Shared by the trials: it is the same for all of them."""
        return Spectrum(self.train, self.seed)


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
        The state at the best rung; None where that was recalled and not trained, or was no better
        than another trial's, or was left by a worker elsewhere under `kept`.
    kept : str or None
    """

    number: int
    configuration: dict[str, Any]
    curve: tuple[Rung, ...] = ()
    status: Status = "paused"
    reason: str = ""
    factors: Factors | None = field(default=None, compare=False, repr=False)
    kept: str | None = field(default=None, compare=False, repr=False)

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
        return self.curve[-1].seconds if self.curve else 0.0

    @property
    def epochs(self) -> list[int]:
        return [rung.epoch for rung in self.curve]

    @property
    def values(self) -> list[float]:
        return [rung.precision for rung in self.curve]


@dataclass(frozen=True)
class Segment:
    """A part of a trial: from where it paused over these rungs, unless a rule ends it.

    Parameters
    ----------
    trial : TrialResult
        As far as it has come.
    rungs : tuple of int
        Epochs to measure at, ascending.
    rules : tuple of StopRule
    last : int
        The rung at which a trial is complete.
    recorded : tuple of Rung
        Measurements of an earlier process: taken over instead of made again.
    diverged : str or None
        That the earlier process saw it diverge behind the recorded rungs.
    record : float
        The best precision of the study so far: what does not exceed it need not be copied.
    """

    trial: TrialResult
    rungs: tuple[int, ...]
    rules: tuple[StopRule, ...]
    last: int
    recorded: tuple[Rung, ...] = ()
    diverged: str | None = None
    record: float = 0.0

    def __str__(self) -> str:
        return f"trial {self.trial.number:03d}, to epoch {self.rungs[-1]}"


class Trainer:
    """Trains segments, and saves the models of paused trials so that no epoch is trained twice.

    Parameters
    ----------
    problem : Problem
    checkpoints : CheckpointStore or None
        By default in memory. A model that is no longer there is trained again up to where it
        was, which gives the same model.
    """

    def __init__(self, problem: Problem, checkpoints: CheckpointStore | None = None) -> None:
        self.problem = problem
        self.checkpoints = MemoryCheckpoints() if checkpoints is None else checkpoints

    def run(self, segment: Segment) -> TrialResult:
        """Train and measure one segment, on one thread."""
        trial = segment.trial
        recorded = {rung.epoch: rung for rung in segment.recorded}
        spent = _Stopwatch(trial.seconds)
        training: Training | None = None
        with threadpool_limits(1):
            for epoch in segment.rungs:
                if epoch in recorded:
                    rung = recorded[epoch]
                    spent.reset(rung.seconds)
                    trial = replace(trial, curve=(*trial.curve, rung), factors=None, kept=None)
                elif segment.diverged is not None:
                    return self._ended(trial, "diverged", segment.diverged)
                else:
                    training = training or self._resume(trial)
                    try:
                        training.advance(epoch - training.epoch)
                    except DivergedError as fault:
                        return self._ended(trial, "diverged", str(fault))
                    precision = self.problem.precision(training.view())
                    if precision > trial.precision:
                        # A copy of the state is only made where it is the best of the study.
                        factors = training.factors() if precision > segment.record else None
                        trial = replace(trial, factors=factors, kept=None)
                    rung = Rung(epoch, precision, spent.seconds())
                    trial = replace(trial, curve=(*trial.curve, rung))
                if epoch >= segment.last:
                    return self._ended(trial, "complete", "all epochs")
                if reason := first_reason(segment.rules, trial.epochs, trial.values):
                    return self._ended(trial, "stopped", reason)
        if training is not None:
            self.checkpoints.save(trial.name, training)
        return replace(trial, status="paused", reason=f"paused at epoch {trial.epochs[-1]}")

    def _ended(self, trial: TrialResult, status: Status, reason: str) -> TrialResult:
        self.checkpoints.drop(trial.name)
        return replace(trial, status=status, reason=reason)

    def _resume(self, trial: TrialResult) -> Training:
        """The model where the trial paused: its checkpoint, or trained again up to there."""
        create = partial(self.problem.training, trial.configuration)
        if not trial.curve:
            return create()
        reached = trial.curve[-1].epoch
        training = self.checkpoints.restore(trial.name, create)
        if training is None or training.epoch != reached:
            training = create()
            training.advance(reached)
        return training


class _Stopwatch:
    """CPU seconds of this thread, going on from what a trial has cost before."""

    def __init__(self, before: float) -> None:
        self.reset(before)

    def reset(self, before: float) -> None:
        self._before, self._start = before, time.thread_time()

    def seconds(self) -> float:
        return self._before + time.thread_time() - self._start


def run_whole(problem: Problem, trial: TrialResult, epochs: Sequence[int]) -> TrialResult:
    """One trial over all its rungs, no rule ending it."""
    segment = Segment(trial, tuple(epochs), (), epochs[-1])
    return Trainer(problem).run(segment)
