"""Crews: who trains the legs of a study, in this process or wherever stages can be read.

A pool runs calls and gives futures; it may be threads, processes, a cluster. What a crew sends
through it is small: to this process a leg, to others the leg and where the stages are. Back come
numbers, and where the model was left.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, Protocol, TypeVar

import numpy as np

from recsys.ranking.factors import Factors
from recsys.store.exchange import Exchange, fetch_stage
from recsys.store.stages import Stage
from recsys.tuning.checkpoints import Files, Shelf
from recsys.tuning.problems import load_problem
from recsys.tuning.trials import Leg, Problem, TrialResult, Workshop

A = TypeVar("A")
R_co = TypeVar("R_co", covariant=True)
R = TypeVar("R")


class Pending(Protocol[R_co]):
    """A result to come."""

    def result(self) -> R_co:
        """Wait for it; raises what the call raised."""


class Pool(Protocol):
    """Runs calls side by side. `here` says whether they share this process's memory."""

    here: bool

    def submit(self, call: Callable[[A], R], argument: A, /) -> Pending[R]: ...


class Crew(Protocol):
    """Trains legs, and keeps the models of trials that are paused."""

    def send(self, leg: Leg) -> Pending[TrialResult]: ...

    def forget(self, trial: TrialResult) -> None:
        """The trial will not go on."""

    def factors(self, trial: TrialResult) -> Factors | None:
        """The state at the trial's best rung, if it was kept."""


class Here:
    """Legs trained in this process, their models in its memory.

    Parameters
    ----------
    problem : Problem
    submit : callable
        Runs a function with one argument in some thread; an executor's.
    shelf : Shelf or None
    """

    def __init__(
        self,
        problem: Problem,
        submit: Callable[[Callable[[Leg], TrialResult], Leg], Any],
        shelf: Shelf | None = None,
    ) -> None:
        self._workshop, self._submit = Workshop(problem, shelf), submit

    def send(self, leg: Leg) -> Pending[TrialResult]:
        found: Pending[TrialResult] = self._submit(self._workshop.run, leg)
        return found

    def forget(self, trial: TrialResult) -> None:
        self._workshop.shelf.drop(trial.name)

    def factors(self, trial: TrialResult) -> Factors | None:
        return trial.factors


@dataclass(frozen=True)
class Bench:
    """What all legs of a study are trained on, and where a worker finds it.

    Parameters
    ----------
    holdouts, features : Stage
        Their paths as any worker can read them.
    seed : int
    exchange : Exchange
        Where models are left.
    """

    holdouts: Stage
    features: Stage
    seed: int
    exchange: Exchange


@dataclass(frozen=True)
class Order:
    """A leg, and what it is trained on."""

    bench: Bench
    leg: Leg

    def __str__(self) -> str:
        return str(self.leg)


class Elsewhere:
    """Legs trained by other processes, perhaps on other machines.

    Parameters
    ----------
    bench : Bench
    submit : callable
        Runs `work` with an order in another process.
    """

    def __init__(
        self, bench: Bench, submit: Callable[[Callable[[Order], TrialResult], Order], Any]
    ) -> None:
        self._bench, self._submit = bench, submit

    def send(self, leg: Leg) -> Pending[TrialResult]:
        found: Pending[TrialResult] = self._submit(work, Order(self._bench, leg))
        return found

    def forget(self, trial: TrialResult) -> None:
        Files(self._bench.exchange).drop(trial.name)

    def factors(self, trial: TrialResult) -> Factors | None:
        arrays = None if trial.kept is None else self._bench.exchange.load(_file(trial))
        return None if arrays is None else Factors(**arrays)


def work(order: Order) -> TrialResult:
    """Train a leg in whatever process this is; the best state goes to a file, numbers back."""
    result = _workshop(order.bench).run(order.leg)
    if result.factors is None:
        return result
    names = "user_factors", "item_factors", "user_biases", "item_biases"
    arrays = {name: np.asarray(getattr(result.factors, name)) for name in names}
    where = order.bench.exchange.save(_file(result), arrays)
    return replace(result, factors=None, kept=where)


def _file(trial: TrialResult) -> str:
    return f"best-{trial.name}.npz"


_lock = threading.Lock()
_last: list[tuple[Bench, Workshop]] = []


def _workshop(bench: Bench) -> Workshop:
    """The workshop of a study; a worker keeps the last one, for it will be asked again."""
    with _lock:
        if not _last or _last[0][0] != bench:
            problem = load_problem(
                fetch_stage(bench.holdouts), fetch_stage(bench.features), bench.seed
            )
            _last[:] = [(bench, Workshop(problem, Files(bench.exchange)))]
        return _last[0][1]
