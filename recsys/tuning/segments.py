"""Segments: the parts in which a trial is trained, from one pause to the next."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial

from threadpoolctl import threadpool_limits

from recsys.base.cores import cpu_seconds
from recsys.models.lightfm import DivergedError, Training
from recsys.tuning.checkpoints import CheckpointStore, MemoryCheckpoints
from recsys.tuning.problems import Problem
from recsys.tuning.stopping import StopRule, first_reason
from recsys.tuning.trials import Rung, Status, TrialResult


@dataclass(frozen=True)
class Segment:
    """A part of a trial: over these rungs from where it paused, unless a rule stops it.

    Parameters
    ----------
    trial : TrialResult
        As far as it has come.
    rungs : tuple of int
        Epochs to measure at, ascending.
    rules : tuple of StopRule
        Asked after each rung.
    last : int
        The rung at which a trial is complete.
    recorded : tuple of Rung
        Measurements of an earlier process, taken over instead of made again.
    diverged : str or None
        Why the earlier process found the trial diverged after the recorded rungs.
    best_precision : float
        The best precision of the study so far. The factors of a trial are kept only above it.
    shown_number : int or None
        The trial's number in the study, where this search is a part of one.
    """

    trial: TrialResult
    rungs: tuple[int, ...]
    rules: tuple[StopRule, ...]
    last: int
    recorded: tuple[Rung, ...] = ()
    diverged: str | None = None
    best_precision: float = 0.0
    shown_number: int | None = None

    def __str__(self) -> str:
        number = self.trial.number if self.shown_number is None else self.shown_number
        return f"trial {number:03d}, to epoch {self.rungs[-1]}"


class Trainer:
    """Trains segments, and saves the models of paused trials so that no epoch is trained twice.

    Parameters
    ----------
    problem : Problem
    checkpoints : CheckpointStore or None
        In memory by default. A model that is not there any more is trained again up to where it
        was, which gives the same model.
    """

    def __init__(self, problem: Problem, checkpoints: CheckpointStore | None = None) -> None:
        self.problem = problem
        self.checkpoints = MemoryCheckpoints() if checkpoints is None else checkpoints

    def run(self, segment: Segment) -> TrialResult:
        """Train and measure a segment; only blocks of an epoch are trained on several threads.

        Returns
        -------
        TrialResult
            Paused at the last of the rungs, or ended: complete, stopped by a rule, or diverged.
        """
        trial = segment.trial
        recorded = {rung.epoch: rung for rung in segment.recorded}
        clock = _Stopwatch(trial.seconds)
        training: Training | None = None
        with threadpool_limits(1):
            for epoch in segment.rungs:
                if epoch in recorded:
                    rung = recorded[epoch]
                    clock.reset(rung.seconds)
                    trial = replace(trial, curve=(*trial.curve, rung), factors=None, kept=None)
                elif segment.diverged is not None:
                    return self._end(trial, "diverged", segment.diverged)
                else:
                    training = training or self._resume(trial)
                    try:
                        training.advance(epoch - training.epoch)
                    except DivergedError as fault:
                        return self._end(trial, "diverged", str(fault))
                    trial = self._measure(trial, training, segment.best_precision, clock)
                if epoch >= segment.last:
                    return self._end(trial, "complete", "all epochs")
                if reason := first_reason(segment.rules, trial.epochs, trial.values):
                    return self._end(trial, "stopped", reason)
        if training is not None:
            self.checkpoints.save(trial.name, training)
        return replace(trial, status="paused", reason=f"paused at epoch {trial.epochs[-1]}")

    def _measure(
        self, trial: TrialResult, training: Training, best: float, clock: _Stopwatch
    ) -> TrialResult:
        """The trial with one more rung, and with its factors if they are the study's best."""
        precision = self.problem.precision(training.view())
        if precision > trial.precision:
            factors = training.factors() if precision > best else None
            trial = replace(trial, factors=factors, kept=None)
        rung = Rung(training.epoch, precision, clock.seconds())
        return replace(trial, curve=(*trial.curve, rung))

    def _end(self, trial: TrialResult, status: Status, reason: str) -> TrialResult:
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
    """CPU seconds of this thread and its helpers, on top of what a trial has taken before."""

    def __init__(self, before: float) -> None:
        self.reset(before)

    def reset(self, before: float) -> None:
        self._before, self._start = before, cpu_seconds()

    def seconds(self) -> float:
        return self._before + cpu_seconds() - self._start


def train_whole(problem: Problem, trial: TrialResult, epochs: Sequence[int]) -> TrialResult:
    """Train a trial over all its rungs, with no rule to stop it.

    Parameters
    ----------
    problem : Problem
    trial : TrialResult
    epochs : sequence of int
        To measure at, ascending; the last is where training ends.
    """
    segment = Segment(trial, tuple(epochs), (), epochs[-1])
    return Trainer(problem).run(segment)
