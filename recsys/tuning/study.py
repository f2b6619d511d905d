"""The study: trials without features, the best of them finished, then joint ones if asked for.

Each way of using features (a strategy) stands in the same study, so that one figure decides
between them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from threadpoolctl import threadpool_limits

from recsys.base.arrays import IntArray
from recsys.base.config import Search
from recsys.data.ages import searched_ages, without_times
from recsys.models.configuration import parse_configuration
from recsys.tuning.aging import with_aging, without_aging
from recsys.tuning.closed_forms import BLENDABLE, best_closed_forms, tune_closed_forms
from recsys.tuning.configured import joint_space, plain_space
from recsys.tuning.contenders import LIGHTFM, Further, Races
from recsys.tuning.finishing import (
    can_map,
    factors_of,
    with_blended_users,
    with_mapped_features,
    with_neighbours,
)
from recsys.tuning.forecasts import Forecasts
from recsys.tuning.policy import Budget, Policy
from recsys.tuning.portfolio import PORTFOLIO
from recsys.tuning.problems import Problem
from recsys.tuning.recorders import NullRecorder, PartRecorder, Recorder, emit_trial
from recsys.tuning.search import run_study
from recsys.tuning.space import Configuration, SearchSpace
from recsys.tuning.trials import Study, TrialResult, is_closed_form
from recsys.tuning.understanding import understand
from recsys.tuning.workers import Workers

# Searches a space within a budget, beginning with some configurations.
RunSearch = Callable[[SearchSpace, Budget, Sequence[Configuration], PartRecorder], Study]


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
    further: Further | None = None,
) -> Study:
    """Search over all strategies for the one that ranks best for warm users.

    Parameters
    ----------
    problem : Problem
        With its sides, if there are features.
    search : Search
    seed : int
    started_from : sequence of configurations
        Known to do well on other data; tried first.
    cold_items : int array
        Left out of every choice made here, so that they can be measured as items never seen.
    threads : int
        Threads that train segments.
    workers : Workers or None
        Train segments instead of these threads.
    recorder : Recorder or None
    further : callable or None
        Makes problems with other holdouts of the same users: where the holdout of `problem` says
        too little, the best trials are raced on these.

    Returns
    -------
    Study
        Trials of all searches numbered through; a finished model is a trial with one rung.
    """
    recorder = recorder or NullRecorder()
    recorder.begin()
    weighted = _weights_differ(problem)
    ages = searched_ages(search.space)
    if ages and problem.times is None:
        raise without_times()
    space = plain_space(search, weighted)
    known = (*started_from, *PORTFOLIO.values())
    first = _known(space, _varied(space, known, weighted))
    run = partial(_run, problem, search, seed, threads, workers)
    with threadpool_limits(1, user_api="blas"):
        trials = tune_closed_forms(
            problem,
            search.item_to_item_trials,
            search.item_to_item_bytes,
            recorder,
            seed,
            ages,
            threads,
        )
    offset = len(trials)
    best_before = max((trial.precision for trial in trials), default=0.0)
    study = run(
        space,
        Budget(search.trials, search.seconds),
        first,
        PartRecorder(recorder, offset, best_before),
    )
    trials += [replace(trial, number=trial.number + offset) for trial in study.trials]
    races = Races(problem, further, search.contenders, threads)
    trials = races.run(trials, (LIGHTFM, *BLENDABLE))
    plain = best_of(trials)
    finished = plain
    if plain is not None and plain.precision > 0:
        # Not kept of a trial that was not the best one before the race.
        plain = replace(plain, factors=factors_of(problem, plain))
        mappable = can_map(problem, cold_items)
        with threadpool_limits(1, user_api="blas"):  # the same choice on any machine
            if mappable:
                finished = with_mapped_features(problem, plain, len(trials), cold_items, threads)
            else:
                finished = with_blended_users(problem, plain, len(trials), threads)
        if mappable or finished.precision > plain.precision:
            trials.append(finished)
            _record(finished, recorder, max(trial.precision for trial in trials))
        else:
            finished = plain
        with threadpool_limits(1, user_api="blas"):
            own = replace(finished, factors=plain.factors)
            trials += _blended(problem, own, trials, races, recorder, threads)
        if mappable and search.joint_trials:
            trials += _joint(run, search, plain, trials, recorder)
    expected = Forecasts(study.trials, Policy(search.max_epochs)).observations(space)
    start = time.thread_time()
    understood = understand(space, expected, seed)
    found = Study(
        tuple(trials),
        study.ended,
        understood,
        tuple(races.found),
        races.seconds,
        time.thread_time() - start,
    )
    recorder.end(found)
    return found


def _blended(
    problem: Problem,
    finished: TrialResult,
    trials: Sequence[TrialResult],
    races: Races,
    recorder: Recorder,
    threads: int,
) -> list[TrialResult]:
    """The finished trial blended with the best item-to-item model; none where there is none."""
    candidates = [trial for name, trial in best_closed_forms(trials).items() if name in BLENDABLE]
    if not candidates:
        return []
    neighbours = max(candidates, key=lambda trial: trial.precision)
    if len(contenders := races.contenders(candidates)) > 1:
        neighbours = contenders[races.race(contenders).winner]
    blended = with_neighbours(problem, finished, neighbours, len(trials), threads)
    _record(blended, recorder, max(trial.precision for trial in (*trials, blended)))
    return [blended]


def _weights_differ(problem: Problem) -> bool:
    weights = problem.train.data
    return len(weights) > 0 and bool((weights != weights[0]).any())


def _varied(
    space: SearchSpace, known: Sequence[Configuration], weighted: bool
) -> list[Configuration]:
    """Configurations that take interactions as they are, the first of them otherwise as well.

    Whether weights help at all is a matter of the data, and one trial says it; so it is with a
    half-life, and with a window.
    """
    plain: Configuration = {"weight_power": 1.0} if weighted else {}
    first, *others = ({**plain, **without_aging(space), **each} for each in known)
    tried = [{**first, "weight_power": 0.0}] if weighted else []
    return [first, *tried, *({**first, **aging} for aging in with_aging(space)), *others]


def _known(space: SearchSpace, configurations: Sequence[Configuration]) -> list[Configuration]:
    """Configurations moved into the space, each once: the champion's may be in the portfolio."""
    found: list[Configuration] = []
    for configuration in configurations:
        inside = space.configuration(space.point(configuration))
        if inside not in found:
            found.append(inside)
    return found


def _run(
    problem: Problem,
    search: Search,
    seed: int,
    threads: int,
    workers: Workers | None,
    space: SearchSpace,
    budget: Budget,
    first: Sequence[Configuration],
    recorder: PartRecorder,
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
        first_number=recorder.offset,
        best_before=recorder.best_before,
        recorder=recorder,
    )


def _joint(
    run: RunSearch,
    search: Search,
    plain: TrialResult,
    before: Sequence[TrialResult],
    recorder: Recorder,
) -> list[TrialResult]:
    """Trials with features trained jointly, the first at the optimum of those without."""
    space = joint_space(search)
    start = {name: v for name, v in plain.configuration.items() if name != "strategy"}
    first = [space.configuration(space.point(start))]
    seconds = search.seconds
    if seconds is not None:
        seconds *= search.joint_trials / search.trials
    budget = Budget(search.joint_trials, seconds)
    offset, best_before = len(before), max(trial.precision for trial in before)
    study = run(space, budget, first, PartRecorder(recorder, offset, best_before))
    return [replace(trial, number=trial.number + offset) for trial in study.trials]


def _record(trial: TrialResult, recorder: Recorder, best: float) -> None:
    recorder.started(trial)
    recorder.measured(trial, trial.curve)
    emit_trial(trial, best)


def _strategy(trial: TrialResult) -> str:
    return parse_configuration(trial.configuration)[1].strategy


def best_of(trials: Sequence[TrialResult]) -> TrialResult | None:
    """The LightFM trial with the highest precision, blended or not.

    Of equals one with neighbours, for two models err less than one where validation cannot tell;
    then one with mapped features, which ranks warm users as the one it was mapped from and
    answers for items never seen as well; then the first.
    """

    def merit(trial: TrialResult) -> tuple[float, bool, bool, int]:
        parameters = parse_configuration(trial.configuration)[1]
        blended, mapped = parameters.neighbours != "none", parameters.strategy == "mapped"
        return trial.precision, blended, mapped, -trial.number

    left = (trial for trial in trials if trial.best is not None and not trial.beaten)
    candidates = (trial for trial in left if not is_closed_form(trial))
    return max(candidates, key=merit, default=None)


def best_by_strategy(trials: Sequence[TrialResult]) -> dict[str, TrialResult]:
    """The best trial of each strategy that was tried."""
    found: dict[str, TrialResult] = {}
    for strategy in ("none", "mapped", "joint"):
        best = best_of([t for t in trials if not is_closed_form(t) and _strategy(t) == strategy])
        if best is not None:
            found[strategy] = best
    return found
