"""Closed forms: item-to-item models tuned before anything is trained, a floor for the study."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from typing import Any, TypeAlias

from recsys.base.dimensions import Range, Space
from recsys.base.errors import InputError
from recsys.models.ease import MOST_EXACT
from recsys.models.item_to_item import ItemToItemModel, NeighbourScorer
from recsys.models.model import model_from_dict
from recsys.models.popularity import Popularity
from recsys.ranking.neighbours import Neighbours
from recsys.tuning.aging import age_grid, with_aging, without_aging
from recsys.tuning.problems import Problem
from recsys.tuning.recorders import Recorder, emit_trial
from recsys.tuning.space import Configuration, SearchSpace
from recsys.tuning.trials import Rung, TrialResult, is_closed_form, order_of_merit

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

BLENDABLE = ("ease", "rp3beta")
"""Those that the winner may be blended with."""

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
    threads: int = 1,
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
    threads : int
        Fit configurations that do not depend on each other, where EASE is quick and takes little
        memory. What is found is the same on any number.

    Returns
    -------
    list of TrialResult
        Numbered from 0; each has one rung, or none if it could not be solved. The best one of
        those to blend with has its weights.
    """
    n_items = problem.train.shape[1]
    searches, number = [], 0
    for model in tuned_in_order(n_items):
        count = affordable_trials(model, n_items, trials)
        searches.append(_Search(problem, model, number, count, size, seed, ages or {}))
        number += count
    found: list[TrialResult] = []
    with ThreadPoolExecutor(threads) as pool:
        fits = _Fits(problem, recorder, pool)
        if n_items <= QUICK_EASE:
            for search in searches:
                for place, configuration in enumerate(search.first):
                    fits.begin(search.number + place, configuration)
        for search in searches:
            for trial in search.trials(fits):
                _add(found, trial)
        for configuration in age_grid(ages or {})[:trials]:
            popular = {"model": Popularity.name, **configuration}
            _add(found, fits.measured(len(found), popular))
    return found


def _add(found: list[TrialResult], trial: TrialResult) -> None:
    """Add a trial and show it; of all that may be blended with, the best keeps its weights."""
    found.append(trial)
    with_weights = [trial for trial in found if trial.neighbours is not None]
    best = max(with_weights, key=order_of_merit, default=None)
    for place, each in enumerate(found):
        if each.neighbours is not None and each is not best:
            found[place] = replace(each, neighbours=None)
    emit_trial(trial, max(each.precision for each in found))


class _Search:
    """The trials of one model: some that are known before any is measured, then a surrogate's."""

    def __init__(
        self,
        problem: Problem,
        model: str,
        number: int,
        count: int,
        size: int,
        seed: int,
        ages: Space,
    ) -> None:
        self.number, self._count, self._seed = number, count, seed
        n_items = problem.train.shape[1]
        self._model, self._most = model, kept_within(size, n_items)
        self._in_parts = model == "ease" and n_items > MOST_EXACT
        self._space = SearchSpace.of({**SPACES[model], **ages})
        known = [{**without_aging(self._space), **each} for each in FIRST[model]]
        known += [{**known[0], **aging} for aging in with_aging(self._space)]
        self._points = [self._space.point(each) for each in known]
        self.first = [self._configuration(point) for point in self._points[:count]]

    def trials(self, fits: _Fits) -> Iterator[TrialResult]:
        """One after the other, numbered from `number`."""
        from skopt import Optimizer  # takes long to import

        # Sampling the acquisition is as good for so few trials, and fitting these models takes less
        # time than the searches for its optimum that are the default.
        optimizer = Optimizer(
            self._space.dimensions(),
            base_estimator="GP",
            random_state=self._seed,
            n_initial_points=len(self._points),
            acq_func="EI",
            acq_optimizer="sampling",
        )
        for place in range(self._count):
            known = place < len(self.first)
            point = self._points[place] if known else optimizer.ask()
            trial = fits.measured(self.number + place, self._configuration(point))
            optimizer.tell(point, -trial.precision, fit=place + 1 < self._count)
            yield trial

    def _configuration(self, point: list[Any]) -> Configuration:
        found = {"model": self._model, "kept": self._most, **self._space.configuration(point)}
        found["kept"] = min(self._most, found["kept"])
        if self._in_parts:
            found["nearest"] = min(self._most, NEAREST)
        return found


# The precision, the CPU seconds, and the weights of what the winner may be blended with; or why
# there are none.
_Fit: TypeAlias = tuple[float, float, Neighbours | None] | InputError


class _Fits:
    """Fits of configurations, in a pool; what was measured before is taken over."""

    def __init__(self, problem: Problem, recorder: Recorder, pool: ThreadPoolExecutor) -> None:
        self._problem, self._recorder, self._pool = problem, recorder, pool
        self._begun: dict[int, Future[_Fit]] = {}

    def begin(self, number: int, configuration: Configuration) -> None:
        """Fit a configuration whose result is not asked for yet."""
        if not self._recorder.recall(number, configuration).curve:
            self._begun[number] = self._pool.submit(_fit, self._problem, configuration)

    def measured(self, number: int, configuration: Configuration) -> TrialResult:
        """The trial of a configuration, with its weights where it may be blended with."""
        recorded = self._recorder.recall(number, configuration)
        if recorded.curve:
            return _complete(number, configuration, recorded.curve)
        self._recorder.started(TrialResult(number, configuration))
        begun = self._begun.pop(number, None)
        begun = begun or self._pool.submit(_fit, self._problem, configuration)
        found = begun.result()
        if isinstance(found, InputError):
            # Weakly regularised, a large Gram matrix is singular in float32: one trial less.
            failed = TrialResult(number, configuration, (), "diverged", found.found)
            self._recorder.measured(failed, ())
            return failed
        precision, seconds, neighbours = found
        trial = _complete(number, configuration, (Rung(1, precision, seconds),))
        self._recorder.measured(trial, trial.curve)
        return replace(trial, neighbours=neighbours)


def _fit(problem: Problem, configuration: Configuration) -> _Fit:
    start = time.thread_time()
    try:
        model = model_from_dict(configuration)
        scorer = model.fit(problem.train, seed=problem.seed, times=problem.times)
    except InputError as fault:
        return fault
    precision = problem.precision(scorer)
    neighbours = None
    if isinstance(scorer, NeighbourScorer) and configuration["model"] in BLENDABLE:
        neighbours = scorer.neighbours
    return precision, time.thread_time() - start, neighbours


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
