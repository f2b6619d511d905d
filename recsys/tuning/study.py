"""The study: trials without features, the best of them finished, then joint ones if asked for.

Finished: its features mapped where there are some, its users blended with their fold-in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import numpy as np
from threadpoolctl import threadpool_limits

from recsys.base.arrays import IntArray
from recsys.base.config import Search
from recsys.models.configuration import HybridParameters, parse_configuration
from recsys.models.content import Profiles
from recsys.models.foldin import blend_users
from recsys.models.hybrid import map_features
from recsys.models.mapping import choose
from recsys.ranking.factors import Factors
from recsys.tuning.portfolio import PORTFOLIO
from recsys.tuning.search import (
    Budget,
    NullRecorder,
    Policy,
    Recorded,
    Recorder,
    Study,
    announce,
    run_study,
)
from recsys.tuning.space import Configuration, SearchSpace
from recsys.tuning.trials import Problem, Rung, TrialResult
from recsys.tuning.workers import Workers

# How far features may be blended into trained items. More than this, about half of what an item
# with the fewest likes says, has hurt warm users on the bundled sample.
CONTENT_BLENDINGS = (0.0, 1.0, 2.0)
# The share of a trained user that is folded in. On split 10, validation precision_at_5 at shares of
# 0, 1/4, 1/2, 3/4 and 1: citeulike-a 0.182, 0.184, 0.186, 0.185, 0.186 (192 components, 146
# epochs), the bundled sample 0.440, 0.442, 0.438, 0.432, 0.420 (128 components, 260 epochs).
USER_BLENDINGS = (0.0, 0.25, 0.5, 0.75)


@dataclass
class _Part:
    """A recorder for one of several searches in a study: numbers go on, the study does not end."""

    whole: Recorder
    offset: int

    def begin(self) -> None:
        pass

    def recall(self, number: int, configuration: Configuration) -> Recorded:
        return self.whole.recall(number + self.offset, configuration)

    def started(self, trial: TrialResult) -> None:
        self.whole.started(self._numbered(trial))

    def measured(self, trial: TrialResult, new: Sequence[Rung]) -> None:
        self.whole.measured(self._numbered(trial), new)

    def end(self, study: Study) -> None:
        pass

    def _numbered(self, trial: TrialResult) -> TrialResult:
        return replace(trial, number=trial.number + self.offset)


def study_strategies(
    problem: Problem,
    search: Search,
    seed: int,
    *,
    started_from: Sequence[Configuration] = (),
    cold_items: Sequence[int] | IntArray = (),
    threads: int = 1,
    workers: Workers | None = None,
    recorder: Recorder | None = None,
) -> Study:
    """One study over all strategies: which way of using features ranks best for warm users.

    Parameters
    ----------
    problem : Problem
        With its sides, if there are features.
    search : Search
    seed : int
    started_from : sequence of configurations
        That did well before, on other data; tried early.
    cold_items : int array
        Kept out of every choice made here, so that they can be measured as items never seen.
    workers : int
    workers : Workers or None
        Trains the segments in the place of so many threads.
    recorder : Recorder or None

    Returns
    -------
    Study
        Numbered through; the mapped model stands as a trial of its own, with one rung.
    """
    recorder = recorder or NullRecorder()
    recorder.begin()
    space = SearchSpace.from_config({"strategy": "none", **search.space})
    first = _first(space, (*started_from, *PORTFOLIO.values()))
    budget = Budget(search.trials, search.seconds)
    train = partial(_search, problem, search, seed, threads, workers)
    study = train(space, budget, first, _Part(recorder, 0))
    trials = list(study.trials)
    plain = best_of(trials)
    if plain is not None and plain.precision > 0:
        can_map = _can_map(problem, cold_items)
        with threadpool_limits(1, user_api="blas"):  # the same choice on any machine
            if can_map:
                finished = _map(problem, plain, len(trials), cold_items)
            else:
                finished = with_blended_users(problem, plain, len(trials))
        if can_map or finished.precision > plain.precision:
            trials.append(finished)
            _record(finished, recorder, max(finished.precision, plain.precision))
        if can_map and search.joint_trials:
            trials += _joint(train, search, plain, len(trials), recorder)
    found = Study(tuple(trials), study.ended)
    recorder.end(found)
    return found


def _first(space: SearchSpace, known: Sequence[Configuration]) -> list[Configuration]:
    """Known configurations, drawn into the space; each once: the champion may be one of ours."""
    found: list[Configuration] = []
    for configuration in known:
        inside = space.configuration(space.point(configuration))
        if inside not in found:
            found.append(inside)
    return found


def _can_map(problem: Problem, cold_items: Sequence[int] | IntArray) -> bool:
    """Whether there are two trained items with features: one to learn from, one to choose by."""
    if problem.sides is None or problem.sides.item is None:
        return False
    described = without(problem.sides.item.profiles(), cold_items).described
    return int(described[np.unique(problem.train.indices)].sum()) >= 2


def _search(
    problem: Problem,
    search: Search,
    seed: int,
    threads: int,
    workers: Workers | None,
    space: SearchSpace,
    budget: Budget,
    first: Sequence[Configuration],
    recorder: Recorder,
) -> Study:
    return run_study(
        problem,
        space,
        budget,
        policy=Policy(search.max_epochs),
        batch=search.batch,
        threads=threads,
        workers=workers,
        seed=seed,
        first=first,
        recorder=recorder,
    )


def _joint(
    train: Callable[[SearchSpace, Budget, Sequence[Configuration], Recorder], Study],
    search: Search,
    plain: TrialResult,
    offset: int,
    recorder: Recorder,
) -> list[TrialResult]:
    """Trials with features trained jointly, the first at the optimum of those without."""
    space = SearchSpace.from_config({**search.space, **search.joint_space, "strategy": "joint"})
    start = {name: v for name, v in plain.configuration.items() if name != "strategy"}
    first = [space.configuration(space.point(start))]
    seconds = search.seconds
    if seconds is not None:
        seconds *= search.joint_trials / search.trials
    budget = Budget(search.joint_trials, seconds)
    part = _Part(recorder, offset)
    study = train(space, budget, first, part)
    return [replace(trial, number=trial.number + offset) for trial in study.trials]


def _map(
    problem: Problem,
    plain: TrialResult,
    number: int,
    cold_items: Sequence[int] | IntArray,
) -> TrialResult:
    """The best trial without features, its features mapped, the choices made on validation."""
    assert problem.sides is not None
    assert problem.sides.item is not None
    assert plain.best is not None
    own = _factors(problem, plain)
    chosen = choose(
        without(problem.sides.item.profiles(), cold_items), own, problem.train, seed=problem.seed
    )
    plans = [
        HybridParameters("mapped", chosen.penalty, chosen.bias_gain, content_blending=blending)
        for blending in CONTENT_BLENDINGS
    ]
    blended = [
        map_features(own, problem.train, parameters, problem.sides).factors for parameters in plans
    ]
    values = [problem.precision(factors) for factors in blended]
    value, parameters, items = max(
        zip(values, plans, blended, strict=True), key=lambda found: found[0]
    )
    value, parameters = _blend_users(problem, own, items, parameters, value)
    configuration = {
        **plain.configuration,
        "strategy": "mapped",
        "penalty": parameters.penalty,
        "bias_gain": parameters.bias_gain,
        "content_blending": parameters.content_blending,
        "user_blending": parameters.user_blending,
    }
    rung = replace(plain.best, precision=value)
    reason = f"trial {plain.number}, features mapped"
    return TrialResult(number, configuration, (rung,), "complete", reason)


def with_blended_users(problem: Problem, plain: TrialResult, number: int) -> TrialResult:
    """A trial without features, its users blended with their fold-in as far as pays on validation.

    `number` is that of the trial returned. Nothing is trained, unless the model is gone.
    """
    assert plain.best is not None
    own = _factors(problem, plain)
    value, parameters = _blend_users(problem, own, own, HybridParameters(), plain.precision)
    return TrialResult(
        number,
        {**plain.configuration, "user_blending": parameters.user_blending},
        (replace(plain.best, precision=value),),
        "complete",
        f"trial {plain.number}, users blended with their fold-in",
    )


def _factors(problem: Problem, trial: TrialResult) -> Factors:
    """The state at a trial's best rung."""
    if trial.factors is not None:
        return trial.factors
    assert trial.best is not None
    training = problem.training(trial.configuration)  # recalled, not trained
    training.advance(trial.best.epoch)
    return training.factors()


def _record(trial: TrialResult, recorder: Recorder, best: float) -> None:
    recorder.started(trial)
    recorder.measured(trial, trial.curve)
    announce(trial, best)


def _blend_users(
    problem: Problem, own: Factors, items: Factors, parameters: HybridParameters, value: float
) -> tuple[float, HybridParameters]:
    """The same parameters with users blended with their fold-in as far as pays.

    `items` are the factors as the parameters has them so far, `value` is their precision.
    """
    found = [(value, parameters)]
    for share in USER_BLENDINGS[1:]:
        # Item vectors come from items alone: they are the same whatever the users are.
        users = blend_users(own, problem.train, share).user_factors
        precision = problem.precision(replace(items, user_factors=users))
        found.append((precision, replace(parameters, user_blending=share)))
    return max(found, key=lambda pair: pair[0])


def without(profiles: Profiles, items: Sequence[int] | IntArray) -> Profiles:
    """The same with nothing said of some of the items."""
    counts = np.diff(profiles.indptr)
    gone = np.zeros(profiles.n_items, bool)
    gone[np.asarray(items, np.int64)] = True
    kept = ~np.repeat(gone, counts)
    indptr = np.concatenate([[0], np.cumsum(np.where(gone, 0, counts))]).astype(np.int64)
    return replace(
        profiles, indptr=indptr, indices=profiles.indices[kept], data=profiles.data[kept]
    )


def _strategy(trial: TrialResult) -> str:
    return parse_configuration(trial.configuration)[1].strategy


def best_of(trials: Sequence[TrialResult]) -> TrialResult | None:
    """The trial with the highest precision, of equals one with its features mapped, then the first.

    A mapped model ranks warm users as the one it was mapped from unless blending helps, and
    answers for items never seen as well.
    """
    return max(
        (trial for trial in trials if trial.best is not None),
        key=lambda trial: (trial.precision, _strategy(trial) == "mapped", -trial.number),
        default=None,
    )


def best_by_strategy(trials: Sequence[TrialResult]) -> dict[str, TrialResult]:
    """The best trial of each strategy that was tried."""
    found: dict[str, TrialResult] = {}
    for strategy in ("none", "mapped", "joint"):
        best = best_of([trial for trial in trials if _strategy(trial) == strategy])
        if best is not None:
            found[strategy] = best
    return found
