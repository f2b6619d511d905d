"""The founding article's protocol: forest_minimize, each trial trained once and measured once.

The first search has no features. The second has, and starts from the best of the first, as the
article meant it to. LightFM trains, not the kernel.

References
----------
E. Rosenthal, Learning to Rank Sketchfab Models with LightFM, 2016.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from recsys.base.config import Article
from recsys.base.events import SearchStarted, emit
from recsys.tuning.configured import article_space
from recsys.tuning.problems import Problem
from recsys.tuning.recorders import Recorder, emit_trial
from recsys.tuning.segments import Segment, Trainer
from recsys.tuning.space import Configuration, SearchSpace
from recsys.tuning.trials import Study, TrialResult


def article_study(
    problem: Problem,
    options: Article,
    seed: int,
    recorder: Recorder,
) -> Study:
    """Run both searches of the article as one study, its trials numbered through.

    Parameters
    ----------
    problem : Problem
        With `masked=False`, as the article measures. Without features of items there is no second
        search.
    options : Article
    seed : int
    recorder : Recorder
    """
    recorder.begin()
    has_features = problem.sides is not None and problem.sides.item is not None
    with_features = has_features and options.feature_calls > 0
    total = options.calls + (options.feature_calls if with_features else 0)
    emit(SearchStarted(total))
    trials: list[TrialResult] = []
    plain = article_space(options, features=False)
    _search(problem, plain, options.max_epochs, options.calls, seed, recorder, trials, None)
    if with_features:
        best = max(trials, key=lambda trial: trial.precision)
        space = article_space(options, features=True)
        first = [*space.point(_as_feature_start(best.configuration)), _epochs(best)]
        calls = options.feature_calls
        _search(problem, space, options.max_epochs, calls, seed, recorder, trials, first)
    study = Study(tuple(trials), f"{total} trials are made, as in the founding article")
    recorder.end(study)
    return study


def _as_feature_start(best: Configuration) -> Configuration:
    """The first search's optimum in the second's space: users and items regularised equally."""
    start = dict(best)
    start["item_alpha"] = start.pop("alpha", 1e-5)
    return {**start, "user_alpha_scale": 1.0}


def _epochs(trial: TrialResult) -> int:
    return trial.best.epoch if trial.best else 1


def _search(
    problem: Problem,
    space: SearchSpace,
    max_epochs: int,
    calls: int,
    seed: int,
    recorder: Recorder,
    trials: list[TrialResult],
    first: Sequence[Any] | None,
) -> None:
    """Run one forest_minimize and append its trials to `trials`."""
    from skopt import forest_minimize  # takes long to import
    from skopt.space import Integer

    trainer = Trainer(problem)

    def objective(point: Sequence[Any]) -> float:
        """Train one trial; forest_minimize is given the negative of its precision."""
        configuration = space.configuration(point[:-1])
        number, epochs = len(trials), int(point[-1])
        trial = TrialResult(number, configuration)
        recorded = recorder.recall(number, configuration)
        recorder.started(trial)
        segment = Segment(trial, (epochs,), (), epochs, recorded.curve, recorded.diverged)
        result = trainer.run(segment)
        trials.append(result)
        recorder.measured(result, result.curve)
        emit_trial(result, max(trial.precision for trial in trials))
        # A diverged trial has precision 0; the article's code could read it as 1.
        return -result.precision

    dimensions = [*space.dimensions(), Integer(1, max_epochs, name="epochs")]
    start = None if first is None else [list(first)]
    initial = min(10, max(calls - (0 if start is None else 1), 0))
    forest_minimize(
        objective,
        dimensions,
        n_calls=calls,
        n_initial_points=initial,
        x0=start,
        random_state=seed,
    )
