"""The search: scikit-optimize asked in batches, told whole learning curves, told in order."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from dataclasses import dataclass
from typing import Any, Protocol

from skopt import Optimizer
from skopt.space import Integer
from threadpoolctl import threadpool_limits

from recsys.progress import SearchStarted, TrialDone, tell
from recsys.space import Configuration, SearchSpace
from recsys.stopping import Behind, Plateau, StopRule
from recsys.trial import RUNGS, Problem, TrialResult, TrialSpec, run_trial

Runner = Callable[[Problem, Sequence[TrialSpec]], Iterable[TrialResult]]


class Recorder(Protocol):
    """Keeps what trials found, and knows what earlier processes found in the same study."""

    def begin(self) -> None:
        """Called once before the first trial."""

    def recall(self, spec: TrialSpec) -> TrialResult | None:
        """The finished result of the same trial, if it was recorded."""

    def started(self, spec: TrialSpec) -> None: ...

    def finished(self, result: TrialResult) -> None: ...

    def end(self, study: Study) -> None:
        """Called once after the last trial."""


class Forgetful:
    """A recorder that keeps nothing, for a search without a tracking server."""

    def begin(self) -> None:
        pass

    def recall(self, spec: TrialSpec) -> TrialResult | None:
        return None

    def started(self, spec: TrialSpec) -> None:
        pass

    def finished(self, result: TrialResult) -> None:
        pass

    def end(self, study: Study) -> None:
        pass


@dataclass(frozen=True)
class Budget:
    """What a study may spend."""

    trials: int
    seconds: float | None = None


@dataclass(frozen=True)
class Study:
    """All trials on one problem and space, in their order.

    Parameters
    ----------
    trials : tuple of TrialResult
    ended : str
        Why no further trial was made.
    """

    trials: tuple[TrialResult, ...]
    ended: str

    @property
    def best(self) -> TrialResult:
        """The trial with the highest precision, the first of equals."""
        return max(self.trials, key=lambda trial: (trial.precision, -trial.number))


def threads(workers: int) -> Runner:
    """A runner that trains `workers` trials side by side; LightFM lets the lock go."""

    def run(problem: Problem, specs: Sequence[TrialSpec]) -> Iterable[TrialResult]:
        if workers == 1 or len(specs) == 1:
            yield from (run_trial(problem, spec) for spec in specs)
            return
        with ThreadPoolExecutor(workers) as pool:
            futures = [pool.submit(run_trial, problem, spec) for spec in specs]
            for future in as_completed(futures):
                yield future.result()

    return run


class Engine:
    """Asks for points and is told curves: a surrogate over hyper-parameters and epochs.

    Every rung is an observation of (configuration, epochs). A new configuration is asked for
    with the epochs left open; only its hyper-parameters are used, for the trial runs until it
    is stopped, so no epoch is paid for twice.
    """

    def __init__(self, space: SearchSpace, max_epochs: int, seed: int) -> None:
        self._space = space
        epochs = Integer(1, max_epochs, prior="log-uniform", transform="normalize", name="epochs")
        self._max_epochs = max_epochs
        self._optimizer = Optimizer(
            [*space.dimensions(), epochs],
            base_estimator="ET",
            n_initial_points=6,
            random_state=seed,
        )

    def ask(self, n: int) -> list[Configuration]:
        with threadpool_limits(1):
            points = self._optimizer.ask(n_points=n, strategy="cl_min")
        return [self._space.configuration(point[:-1]) for point in points]

    def tell(self, results: Sequence[TrialResult]) -> None:
        points: list[list[Any]] = []
        values: list[float] = []
        for result in results:
            point = self._space.point(result.configuration)
            points += [[*point, rung.epoch] for rung in result.curve]
            values += [-rung.precision for rung in result.curve]
            if result.status == "diverged":
                # A finite worst value: NaN would break the surrogate, and silence would let it
                # ask for the like again.
                points.append([*point, self._max_epochs])
                values.append(0.0)
        with threadpool_limits(1):
            self._optimizer.tell(points, values)


def run_study(
    problem: Problem,
    space: SearchSpace,
    budget: Budget,
    *,
    max_epochs: int = RUNGS[-1],
    batch: int = 1,
    seed: int = 0,
    first: Sequence[Configuration] = (),
    runner: Runner | None = None,
    recorder: Recorder | None = None,
) -> Study:
    """Search for the configuration with the best validation precision.

    The same seed and batch size give the same study, whatever the order in which the trials of
    a batch end: a trial is judged against earlier batches only, and results are told in the
    order of their numbers.

    Parameters
    ----------
    problem : Problem
    space : SearchSpace
    budget : Budget
    max_epochs : int
    batch : int
        Trials asked together, with a constant liar between them.
    seed : int
    first : sequence of configurations
        Tried before anything is asked for.
    runner : callable or None
        Runs the trials of a batch, yielding results as they end; one after the other if None.
    recorder : Recorder or None
    """
    runner, recorder = runner or threads(1), recorder or Forgetful()
    engine = Engine(space, max_epochs, seed)
    rungs = (*(epoch for epoch in RUNGS if epoch < max_epochs), max_epochs)
    queue = list(first)
    done: list[TrialResult] = []
    ended = f"{budget.trials} trials are made"
    start = time.monotonic()
    recorder.begin()
    tell(SearchStarted(budget.trials))
    while len(done) < budget.trials:
        if done and budget.seconds is not None and time.monotonic() - start > budget.seconds:
            ended = f"{budget.seconds:g} seconds are spent"
            break
        size = min(batch, budget.trials - len(done))
        asked, queue = queue[:size], queue[size:]
        if len(asked) < size:
            asked += engine.ask(size - len(asked))
        rules = _rules(done)
        specs = [
            TrialSpec(len(done) + place, configuration, rungs, rules)
            for place, configuration in enumerate(asked)
        ]
        best = max((trial.precision for trial in done), default=0.0)
        results = run_batch(problem, specs, runner, recorder, best)
        engine.tell(results)
        done += results
    study = Study(tuple(done), ended)
    recorder.end(study)
    return study


def _rules(done: Sequence[TrialResult]) -> tuple[StopRule, ...]:
    best = max(done, key=lambda trial: trial.precision, default=None)
    if best is None:
        return (Plateau(),)
    epochs = tuple(rung.epoch for rung in best.curve)
    return (Plateau(), Behind(epochs, tuple(rung.precision for rung in best.curve)))


def run_batch(
    problem: Problem,
    specs: Sequence[TrialSpec],
    runner: Runner,
    recorder: Recorder,
    best: float = 0.0,
) -> list[TrialResult]:
    """Results in the order of the specs; those already recorded are not run again.

    `best` is the highest precision before this batch, for those who watch.
    """
    recalled = {spec.number: recorder.recall(spec) for spec in specs}
    results = {number: result for number, result in recalled.items() if result is not None}
    missing = [spec for spec in specs if spec.number not in results]
    for result in results.values():
        best = max(best, result.precision)
        tell(_done(result, best, recalled=True))
    for spec in missing:
        recorder.started(spec)
    for result in runner(problem, missing):
        recorder.finished(result)
        results[result.number] = result
        best = max(best, result.precision)
        tell(_done(result, best, recalled=False))
    return [results[spec.number] for spec in specs]


def _done(result: TrialResult, best: float, recalled: bool) -> TrialDone:
    return TrialDone(
        number=result.number,
        precision=result.precision,
        best=best,
        epochs=result.best.epoch if result.best else 0,
        seconds=result.seconds,
        status=result.status,
        reason=result.reason,
        recalled=recalled,
        configuration=result.configuration,
    )
