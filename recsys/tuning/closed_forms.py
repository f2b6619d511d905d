"""Closed forms: item-to-item models tuned before anything is trained, a floor for the study."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

from recsys.base.dimensions import Range, Space
from recsys.base.errors import InputError
from recsys.models.ease import MOST_EXACT
from recsys.models.item_to_item import ItemToItemModel
from recsys.models.model import model_from_dict
from recsys.models.popularity import Popularity
from recsys.tuning.aging import age_grid, with_aging, without_aging
from recsys.tuning.problems import Problem
from recsys.tuning.recorders import Recorder, emit_trial
from recsys.tuning.space import Configuration, SearchSpace
from recsys.tuning.trials import Rung, TrialResult, is_closed_form

SPACES: dict[str, dict[str, Range]] = {
    "ease": {
        "regularization": Range(low=1.0, high=1000.0, scale="log"),
        "dropout": Range(low=0.0, high=0.8),
    },
    "itemknn": {
        "shrinkage": Range(low=0.5, high=500.0, scale="log"),
        "kept": Range(low=20, high=500, scale="log"),
    },
    "rp3beta": {
        "alpha": Range(low=0.3, high=1.5),
        "beta": Range(low=0.0, high=0.9),
        "kept": Range(low=20, high=500, scale="log"),
    },
}
"""What is searched of each model. What is kept of a row of EASE is a matter of memory alone."""

NEAREST = 100
"""On catalogues that EASE solves in parts, how many others an item is regressed on, at most."""

_BYTES = 8  # of a weight and its column

# What is tried first: the models' defaults, then what was best on data unlike those.
FIRST: dict[str, tuple[Configuration, ...]] = {
    "ease": (
        {"regularization": 20.0, "dropout": 0.33},
        {"regularization": 100.0, "dropout": 0.33},
        {"regularization": 200.0, "dropout": 0.0},
    ),
    "itemknn": ({"shrinkage": 10.0, "kept": 100},),
    "rp3beta": (
        {"alpha": 0.8, "beta": 0.3, "kept": 200},
        {"alpha": 0.6, "beta": 0.4, "kept": 500},
    ),
}

QUICK_EASE = 6_000
"""Items up to which a fit of EASE takes seconds."""

# A fit of EASE takes the cube of the items, past MOST_EXACT minutes: this share of the trials up to
# so many items, one beyond.
EASE_TRIALS = ((QUICK_EASE, 1.0), (12_000, 0.5), (MOST_EXACT, 0.3), (100_000, 0.2))


def affordable_trials(model: str, n_items: int, trials: int) -> int:
    """How many trials a model gets on a catalogue of this size.

    It goes by the number of items and not by the clock, so that a study repeats.

    Parameters
    ----------
    model : str
        As in `SPACES`.
    n_items : int
    trials : int
        Asked for.
    """
    if model != "ease":
        return trials
    for limit, share in EASE_TRIALS:
        if n_items <= limit:
            return min(trials, max(1, round(share * trials)))
    return min(trials, 1)


def tuned_in_order(n_items: int) -> list[str]:
    """The models in the order in which a study tunes them on a catalogue of this size.

    The others take seconds where EASE takes a minute or more, and the better of them, RP3beta, is
    a floor until then. Where EASE is quick it comes first, for it is the best of them
    (docs/experiments/neighbours.md).
    """
    return list(SPACES) if n_items <= QUICK_EASE else list(SPACES)[::-1]


def kept_within(size: int, n_items: int) -> int:
    """How many weights of each row fit into so many bytes; at least one."""
    return max(1, min(n_items, size // (_BYTES * max(1, n_items))))


def tune_closed_forms(
    problem: Problem,
    trials: int,
    size: int,
    recorder: Recorder,
    seed: int,
    ages: Space | None = None,
) -> list[TrialResult]:
    """Tune every item-to-item model on the validation holdout.

    Where age counts, popularity is tuned by it as well: it is what a winner has to be above.

    Parameters
    ----------
    problem : Problem
    trials : int
        Of each model, at most.
    size : int
        Bytes that the weights of a model may take.
    recorder : Recorder
        Knows what an earlier process measured in the same study; that is not measured again.
    seed : int
    ages : Space or None
        How the age of interactions may count, see `recsys.data.ages.searched_ages`.

    Returns
    -------
    list of TrialResult
        Numbered from 0; each has one rung, or none if it could not be solved.
    """
    found: list[TrialResult] = []
    for model in tuned_in_order(problem.train.shape[1]):
        for_model = affordable_trials(model, problem.train.shape[1], trials)
        found += _tune(problem, model, for_model, size, recorder, seed, found, ages or {})
    for configuration in age_grid(ages or {})[:trials]:
        popular = {"model": Popularity.name, **configuration}
        found.append(_measured(problem, len(found), popular, recorder))
        emit_trial(found[-1], max(trial.precision for trial in found))
    return found


def _tune(
    problem: Problem,
    model: str,
    trials: int,
    size: int,
    recorder: Recorder,
    seed: int,
    before: Sequence[TrialResult],
    ages: Space,
) -> list[TrialResult]:
    from skopt import Optimizer  # takes long to import

    space = SearchSpace.of({**SPACES[model], **ages})
    first = [{**without_aging(space), **known} for known in FIRST[model]]
    first += [{**first[0], **aging} for aging in with_aging(space)]
    most = kept_within(size, problem.train.shape[1])
    # Sampling the acquisition is as good for so few trials, and fitting these models takes less
    # time than the searches for its optimum that are the default.
    optimizer = Optimizer(
        space.dimensions(),
        base_estimator="GP",
        random_state=seed,
        n_initial_points=len(first),
        acq_func="EI",
        acq_optimizer="sampling",
    )
    found: list[TrialResult] = []
    for place in range(trials):
        point = space.point(first[place]) if place < len(first) else optimizer.ask()
        configuration = {"model": model, "kept": most, **space.configuration(point)}
        configuration["kept"] = min(most, configuration["kept"])
        if model == "ease" and problem.train.shape[1] > MOST_EXACT:
            configuration["nearest"] = min(most, NEAREST)
        trial = _measured(problem, len(before) + place, configuration, recorder)
        optimizer.tell(point, -trial.precision, fit=place + 1 < trials)
        found.append(trial)
        best = max(entry.precision for entry in (*before, *found))
        emit_trial(trial, best)
    return found


def _measured(
    problem: Problem, number: int, configuration: dict[str, Any], recorder: Recorder
) -> TrialResult:
    """The trial of one model, taken over if it was measured before."""
    recorded = recorder.recall(number, configuration)
    if recorded.curve:
        return _complete(number, configuration, recorded.curve)
    recorder.started(TrialResult(number, configuration))
    start = time.thread_time()
    try:
        model = model_from_dict(configuration)
        scorer = model.fit(problem.train, seed=problem.seed, times=problem.times)
    except InputError as fault:
        # Weakly regularised, a large Gram matrix is singular in float32: one trial less.
        failed = TrialResult(number, configuration, (), "diverged", fault.found)
        recorder.measured(failed, ())
        return failed
    precision = problem.precision(scorer)
    rung = Rung(1, precision, time.thread_time() - start)
    trial = _complete(number, configuration, (rung,))
    recorder.measured(trial, (rung,))
    return trial


def _complete(number: int, configuration: dict[str, Any], curve: tuple[Rung, ...]) -> TrialResult:
    return TrialResult(number, configuration, curve, "complete", "in closed form")


def model_of(trial: TrialResult) -> ItemToItemModel:
    """The model of such a trial."""
    model = model_from_dict(trial.configuration)
    assert isinstance(model, ItemToItemModel)
    return model


def best_closed_forms(trials: Sequence[TrialResult]) -> dict[str, TrialResult]:
    """The best trial of each item-to-item model, by the model's name."""
    found: dict[str, TrialResult] = {}
    for trial in filter(is_closed_form, trials):
        name = str(trial.configuration["model"])
        if trial.beaten:
            continue
        if trial.curve and (name not in found or trial.precision > found[name].precision):
            found[name] = trial
    return found
