"""Workers: who trains the segments of a study, in this process or wherever its stages can be read.

A pool runs calls and returns futures; it may be threads, processes or a cluster. Little travels
through it: a segment to threads of this process, a segment and the paths of the stages to other
processes, and numbers back. Matrices and models do not.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np

from recsys.base.cores import at_most
from recsys.data.outcomes import Encoded, HeldOut
from recsys.ranking.factors import Factors
from recsys.store.exchange import Exchange, fetch_stage
from recsys.store.stages import Stage
from recsys.tuning.checkpoints import CheckpointStore, FileCheckpoints
from recsys.tuning.problems import Problem, load_problem
from recsys.tuning.segments import Segment, Trainer
from recsys.tuning.trials import TrialResult

A = TypeVar("A")
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")


class FutureResult(Protocol[R_co]):
    """The result of a submitted call, as `concurrent.futures.Future` gives it."""

    def result(self) -> R_co:
        """Wait for the result; raises what the call raised."""


class Pool(Protocol):
    """Runs calls side by side; `shares_memory` tells whether in threads of this process."""

    shares_memory: bool

    def submit(self, call: Callable[[A], R], argument: A, /) -> FutureResult[R]:
        """Start `call(argument)` in a worker."""


class Workers(Protocol):
    """Train segments and keep the models of paused trials."""

    def submit(self, segment: Segment) -> FutureResult[TrialResult]:
        """Start to train a segment."""

    def discard(self, trial: TrialResult) -> None:
        """Delete the model of a paused trial, which will not be resumed."""

    def factors(self, trial: TrialResult) -> Factors | None:
        """The model at the trial's best rung; None if it was not kept."""


class ThreadWorkers:
    """Threads of this process, which share the problem's matrices.

    Parameters
    ----------
    problem : Problem
    submit : callable
        Runs a function of one argument in a thread, as an executor's `submit` does.
    checkpoints : CheckpointStore or None
        Where the models of paused trials wait; in memory by default.
    """

    def __init__(
        self,
        problem: Problem,
        submit: Callable[[Callable[[Segment], TrialResult], Segment], Any],
        checkpoints: CheckpointStore | None = None,
    ) -> None:
        self._trainer, self._submit = Trainer(problem, checkpoints), submit

    def submit(self, segment: Segment) -> FutureResult[TrialResult]:
        """Start to train a segment in a thread."""
        future: FutureResult[TrialResult] = self._submit(self._trainer.run, segment)
        return future

    def discard(self, trial: TrialResult) -> None:
        """Delete the checkpoint of a paused trial."""
        self._trainer.checkpoints.drop(trial.name)

    def factors(self, trial: TrialResult) -> Factors | None:
        """The model at the trial's best rung, which the trial has with it."""
        return trial.factors


@dataclass(frozen=True)
class RemoteProblem:
    """Where other processes find what a study tunes on, and where they keep models.

    Parameters
    ----------
    holdouts, features : Stage
        With paths or URLs that every worker can read.
    seed : int
    exchange : Exchange
        Where checkpoints and the best models are saved.
    """

    holdouts: Stage[HeldOut]
    features: Stage[Encoded]
    seed: int
    exchange: Exchange


@dataclass(frozen=True)
class RemoteSegment:
    """A segment to train, and the problem to train it on."""

    problem: RemoteProblem
    segment: Segment

    def __str__(self) -> str:
        return str(self.segment)


class RemoteWorkers:
    """Other processes, perhaps on other machines, which read the stages themselves.

    Parameters
    ----------
    problem : RemoteProblem
    submit : callable
        Runs `train_remote` with a segment in another process.
    """

    def __init__(
        self,
        problem: RemoteProblem,
        submit: Callable[[Callable[[RemoteSegment], TrialResult], RemoteSegment], Any],
    ) -> None:
        self._problem, self._submit = problem, submit

    def submit(self, segment: Segment) -> FutureResult[TrialResult]:
        """Start to train a segment in another process."""
        remote = RemoteSegment(self._problem, segment)
        future: FutureResult[TrialResult] = self._submit(train_remote, remote)
        return future

    def discard(self, trial: TrialResult) -> None:
        """Delete the checkpoint of a paused trial in the exchange."""
        FileCheckpoints(self._problem.exchange).drop(trial.name)

    def factors(self, trial: TrialResult) -> Factors | None:
        """The model at the trial's best rung, from the exchange."""
        arrays = None if trial.kept is None else self._problem.exchange.load(_file(trial))
        return None if arrays is None else Factors(**arrays)


def train_remote(remote: RemoteSegment) -> TrialResult:
    """Train a segment in this process; returns numbers, saves the best model in the exchange.

    On one core: others train on the others.
    """
    with at_most(1):
        result = _trainer(remote.problem).run(remote.segment)
    if result.factors is None:
        return result
    names = "user_factors", "item_factors", "user_biases", "item_biases"
    arrays = {name: np.asarray(getattr(result.factors, name)) for name in names}
    address = remote.problem.exchange.save(_file(result), arrays)
    return replace(result, factors=None, kept=address)


def _file(trial: TrialResult) -> str:
    return f"best-{trial.name}.npz"


_lock = threading.Lock()
_last: list[tuple[RemoteProblem, Trainer]] = []


def _trainer(remote: RemoteProblem) -> Trainer:
    """The trainer of a problem; that of the last one is kept, as more segments of it will come."""
    with _lock:
        if not _last or _last[0][0] != remote:
            problem = load_problem(
                fetch_stage(remote.holdouts), fetch_stage(remote.features), remote.seed
            )
            _last[:] = [(remote, Trainer(problem, FileCheckpoints(remote.exchange)))]
        return _last[0][1]
