"""The search: configurations are proposed in turns, epochs go to the most promising trials.

Configurations known to do well elsewhere come first and are trained until their curves stop
rising. Every other trial is screened for a few epochs and its curve is forecast to the last rung.
New trials and resumed ones take turns: of the paused trials the one with the best forecast is
resumed for a doubling of its epochs. How a new trial gets its configuration is in
`recsys.tuning.proposals`; what was measured is in docs/experiments/search-policy.md.

References
----------
K. Swersky, J. Snoek and R. P. Adams, Freeze-Thaw Bayesian Optimization, arXiv:1406.3896, 2014. Its
idea; the forecast here is a damped straight line in the logarithm of the epochs.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field, replace

from threadpoolctl import threadpool_limits

from recsys.base.events import SearchStarted, emit
from recsys.tuning.forecasts import Forecasts
from recsys.tuning.policy import Budget, Policy
from recsys.tuning.problems import Problem
from recsys.tuning.proposals import Proposer
from recsys.tuning.recorders import NullRecorder, Recorder, emit_trial
from recsys.tuning.segments import Segment
from recsys.tuning.space import Configuration, SearchSpace
from recsys.tuning.stopping import BehindBest, StopRule, rungs
from recsys.tuning.trials import Rung, Study, TrialResult, order_of_merit
from recsys.tuning.workers import FutureResult, ThreadWorkers, Workers


def run_study(
    problem: Problem,
    space: SearchSpace,
    budget: Budget,
    *,
    policy: Policy = Policy(),
    batch: int = 1,
    threads: int = 1,
    workers: Workers | None = None,
    seed: int = 0,
    first: Sequence[Configuration] = (),
    first_number: int = 0,
    best_before: float = 0.0,
    recorder: Recorder | None = None,
) -> Study:
    """Search for the configuration with the best validation precision.

    The same seed and batch give the same study, in whatever order segments end and however many
    threads or workers train them. A budget in seconds ends it where the clock says.

    Parameters
    ----------
    problem : Problem
    space : SearchSpace
    budget : Budget
    policy : Policy
    batch : int
        Segments in training at once: each is decided without the results of the `batch - 1`
        before it.
    threads : int
        Threads that train segments; LightFM releases the GIL.
    workers : Workers or None
        Train segments instead of these threads.
    seed : int
    first : sequence of configurations
        Tried before any other.
    first_number : int
        What is added to a trial's number where it is shown, if the search is part of a study.
    best_before : float
        The best precision in the study before this search; no decision depends on it.
    recorder : Recorder or None

    Returns
    -------
    Study
        Of its trials the best has its factors.
    """
    recorder = recorder or NullRecorder()
    recorder.begin()
    few = budget.trials if space.every is None else len(space.every)
    emit(SearchStarted(min(budget.trials, few)))
    with ExitStack() as stack:
        # Limits of threads belong to the process: a segment that ends would lift the limit of one
        # that is still training, unless there is a limit around them all.
        stack.enter_context(threadpool_limits(1))
        if workers is None:
            pool = stack.enter_context(ThreadPoolExecutor(threads))
            workers = ThreadWorkers(problem, pool.submit)
        proposer = Proposer(space, seed, first, policy.initial)
        search = _Search(workers, proposer, space, budget, policy, batch, recorder, first_number)
        search.best_before = best_before
        ended = search.run()
        study = Study(tuple(search.trials), ended)
        best = replace(study.best, factors=workers.factors(study.best))
    trials = tuple(best if trial.number == best.number else trial for trial in study.trials)
    study = Study(trials, ended)
    recorder.end(study)
    return study


@dataclass
class _Running:
    """A segment in training, and the trial as it was before."""

    trial: TrialResult
    future: FutureResult[TrialResult]


@dataclass
class _Search:
    """A study in progress.

    Decisions are made one after the other, each from the results of all segments but the last
    `batch - 1` submitted, whether these have ended or not. So seed and batch determine the study,
    however long each segment takes.
    """

    workers: Workers
    proposer: Proposer
    space: SearchSpace
    budget: Budget
    policy: Policy
    batch: int
    recorder: Recorder
    first_number: int = 0
    best_before: float = 0.0
    trials: list[TrialResult] = field(default_factory=list)
    running: deque[_Running] = field(default_factory=deque)
    # The best precision after each trial that passed its screen: one that failed it is no sign of
    # convergence.
    best_after: list[float] = field(default_factory=list)
    resumed_last: bool = True

    def __post_init__(self) -> None:
        self.forecasts = Forecasts(self.trials, self.policy)

    def run(self) -> str:
        """Submit segments and collect their results until the study ends; returns why it ended."""
        start = time.monotonic()
        ended = f"{self.budget.trials} trials are made"
        while True:
            while len(self.running) >= self.batch:
                self._collect()
            spent = time.monotonic() - start
            if self.budget.seconds is not None and self.trials and spent > self.budget.seconds:
                ended = f"{self.budget.seconds:g} seconds are spent"
                break
            converged = self.policy.converged.reason(self.best_after)
            if not self._submit_next(converged is not None):
                if not self.running:
                    ended = converged or self._exhausted() or ended
                    break
                self._collect()
        while self.running:
            self._collect()
        for trial in self._paused():
            self._stop(trial, f"the study ended: {ended}")
        return ended

    @property
    def best(self) -> float:
        """The best precision so far."""
        return max((trial.precision for trial in self.trials), default=0.0)

    def _best_trial(self) -> TrialResult | None:
        """The best trial so far; None if none has learned anything."""
        best = max(self.trials, key=order_of_merit, default=None)
        return best if best is not None and best.precision > 0 else None

    def _submit_next(self, converged: bool) -> bool:
        """Submit the next segment, of a new trial or a paused one; False if there is neither.

        A study that has converged starts no new trial, but it does not end while a paused trial
        is expected to exceed its best: if it does, the study had not converged after all.
        """
        if (known := self._paused_known()) is not None:
            self._resume(known)
            return True
        self._stop_unpromising()
        may_start = len(self.trials) < self.budget.trials and not converged
        may_start = may_start and not self._exhausted()
        screening = len(self.trials) < self.policy.initial
        candidate = None if screening and may_start else self._most_promising()
        if converged and candidate and self.forecasts.expected(candidate) <= self.best:
            candidate = None
        if candidate is not None and not (may_start and self.resumed_last):
            self.resumed_last = True
            self._resume(candidate)
            return True
        if may_start:
            self.resumed_last = screening
            self._start()
            return True
        return False

    def _exhausted(self) -> str | None:
        """That every configuration was tried, where there are few; else None."""
        every = self.space.every
        tried = [trial.configuration for trial in self.trials]
        if every is None or any(one not in tried for one in every):
            return None
        return f"all {len(every)} configurations are tried"

    def _start(self) -> None:
        """Submit the first segment of a new trial."""
        number = len(self.trials)
        # Observations are computed from all curves: only where they are asked for.
        asked = self.proposer.source(number) == "surrogate"
        observations = self.forecasts.observations(self.space) if asked else []
        best = self._best_trial()
        near = best.configuration if best is not None else None
        tried = [trial.configuration for trial in self.trials]
        proposed = self.proposer.propose(observations, number, near, tried)
        trial = TrialResult(number, proposed)
        self.trials.append(trial)
        self.recorder.started(trial)
        self._submit(trial, self.policy.screen)

    def _resume(self, trial: TrialResult) -> None:
        """Submit the next segment of a paused trial, which doubles its epochs."""
        self._submit(trial, 2 * trial.epochs[-1])

    def _submit(self, trial: TrialResult, epoch: int) -> None:
        """Submit a segment that ends at the rung nearest to an epoch."""
        ladder = rungs(self.policy.max_epochs)
        # A little beyond the epoch rather than just before it.
        until = next((rung for rung in ladder if rung * 1.15 >= epoch), ladder[-1])
        reached = trial.epochs[-1] if trial.curve else 0
        recorded = self.recorder.recall(trial.number, trial.configuration)
        segment = Segment(
            trial,
            tuple(rung for rung in ladder if reached < rung <= until),
            self._rules(trial),
            self.policy.max_epochs,
            recorded.curve,
            recorded.diverged,
            self.best,
            trial.number + self.first_number,
        )
        self.running.append(_Running(trial, self.workers.submit(segment)))

    def _rules(self, trial: TrialResult) -> tuple[StopRule, ...]:
        """What may stop a segment; a known configuration is not compared with other trials."""
        if self._is_known(trial):
            return (self.policy.plateau,)
        best = self._best_trial()
        values = dict(zip(best.epochs, best.values, strict=True)) if best is not None else {}
        return BehindBest(values, self.policy.share), self.policy.plateau

    def _collect(self) -> None:
        """Wait for the segment that was submitted first, and take in its result."""
        running = self.running.popleft()
        result = running.future.result()
        first = running.trial.curve == ()
        self._record(result, result.curve[len(running.trial.curve) :])
        if first and result.status in ("paused", "complete"):
            self.best_after.append(self.best)
        elif self.best_after:
            self.best_after[-1] = self.best

    def _record(self, result: TrialResult, new: Sequence[Rung] = ()) -> None:
        self.trials[result.number] = result
        self.recorder.measured(result, new)
        shown = replace(result, number=result.number + self.first_number)
        emit_trial(shown, max(self.best_before, self.best, result.precision))

    def _paused(self) -> list[TrialResult]:
        """The trials that may be resumed."""
        running = {entry.trial.number for entry in self.running}
        return [
            trial
            for trial in self.trials
            if trial.status == "paused" and trial.curve and trial.number not in running
        ]

    def _is_known(self, trial: TrialResult) -> bool:
        return self.proposer.source(trial.number) == "known"

    def _paused_known(self) -> TrialResult | None:
        """A paused trial of a known configuration, which is trained until its curve stops rising.

        Such configurations are strongly regularised, and behind others for many epochs.
        """
        return next((trial for trial in self._paused() if self._is_known(trial)), None)

    def _most_promising(self) -> TrialResult | None:
        """The paused trial with the best forecast, the first of equals."""
        return max(
            self._paused(), key=lambda t: (self.forecasts.expected(t), -t.number), default=None
        )

    def _stop_unpromising(self) -> None:
        best = self.best
        for trial in self._paused():
            if reason := self.forecasts.reason_to_stop(trial, best):
                self._stop(trial, reason)

    def _stop(self, trial: TrialResult, reason: str) -> None:
        self.workers.discard(trial)
        self._record(replace(trial, status="stopped", reason=reason))
