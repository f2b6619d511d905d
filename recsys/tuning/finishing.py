"""Finishing: the best trial of a search, its features mapped and its users blended.

Nothing is trained for it, and each choice is made on the validation holdout; see
docs/experiments/blending.md.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import TypeVar

import numpy as np
import scipy.sparse as sp

from recsys.base.arrays import Float64Array, IntArray
from recsys.models.blending import parameters_of, scaled
from recsys.models.configuration import HybridParameters, parse_configuration
from recsys.models.content import Profiles
from recsys.models.foldin import blend_users
from recsys.models.hybrid import FeaturesBySide, map_features
from recsys.models.item_to_item import binary, truncated
from recsys.models.mapping import choose_mapping
from recsys.ranking.factors import Factors
from recsys.ranking.neighbours import Blended, Neighbours
from recsys.tuning.closed_forms import model_of
from recsys.tuning.problems import Problem
from recsys.tuning.space import Configuration
from recsys.tuning.trials import TrialResult

_Tried = TypeVar("_Tried")
_Value = TypeVar("_Value")

# How strongly features may be blended into trained items. More has hurt warm users.
CONTENT_BLENDINGS = (0.0, 1.0, 2.0)
# Shares of a trained user that may be folded in.
USER_BLENDINGS = (0.0, 0.25, 0.5, 0.75)


def can_map(problem: Problem, cold_items: Sequence[int] | IntArray) -> bool:
    """Whether two trained items have features, one to learn the mapping from and one to choose by.

    Parameters
    ----------
    problem : Problem
    cold_items : int array
        Their features are not used.
    """
    if problem.sides is None or problem.sides.item is None:
        return False
    described = without_items(problem.sides.item.profiles(), cold_items).described
    return int(described[np.unique(problem.train.indices)].sum()) >= 2


def with_mapped_features(
    problem: Problem,
    plain: TrialResult,
    number: int,
    cold_items: Sequence[int] | IntArray,
    threads: int = 1,
) -> TrialResult:
    """A trial without features, with vectors for them by regression and its users blended.

    Parameters
    ----------
    problem : Problem
        With features of items.
    plain : TrialResult
    number : int
        Of the trial returned.
    cold_items : int array
        Their features are not used.
    threads : int
        Measure so many blendings at a time.
    """
    assert problem.sides is not None
    assert problem.sides.item is not None
    own = factors_of(problem, plain)
    profiles = without_items(problem.sides.item.profiles(), cold_items)
    chosen = choose_mapping(profiles, own, problem.train, seed=problem.seed)
    tried = [
        HybridParameters("mapped", chosen.penalty, chosen.bias_gain, content_blending=blending)
        for blending in CONTENT_BLENDINGS
    ]
    blended = [
        map_features(own, problem.train, parameters, problem.sides).factors for parameters in tried
    ]
    values = _side_by_side(problem.precision, blended, threads)
    value, parameters, items = max(
        zip(values, tried, blended, strict=True), key=lambda found: found[0]
    )
    value, parameters = _choose_user_blending(problem, own, items, parameters, value, threads)
    configuration = {
        **plain.configuration,
        "strategy": "mapped",
        "penalty": parameters.penalty,
        "bias_gain": parameters.bias_gain,
        "content_blending": parameters.content_blending,
        "user_blending": parameters.user_blending,
    }
    return _finished(plain, number, configuration, value, ", features mapped")


def with_blended_users(
    problem: Problem, plain: TrialResult, number: int, threads: int = 1
) -> TrialResult:
    """A trial without features, its users blended with their fold-in as far as it pays.

    Parameters
    ----------
    problem : Problem
    plain : TrialResult
        Trained again if its factors were not kept.
    number : int
        Of the trial returned.
    threads : int
        Measure so many blendings at a time.
    """
    own = factors_of(problem, plain)
    value, parameters = _choose_user_blending(
        problem, own, own, HybridParameters(), plain.precision, threads
    )
    configuration = {**plain.configuration, "user_blending": parameters.user_blending}
    how = ", users blended with their fold-in"
    return _finished(plain, number, configuration, value, how)


# Weights of the neighbours beside the factors, both brought to one spread.
NEIGHBOUR_WEIGHTS = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0)
USUAL_WEIGHT = 2.0
# How many weights of a row are tried, from all downwards, until more than this share of the
# precision would be lost.
KEPT = (1600, 800, 400, 200, 100)
KEPT_LOSS = 0.0025


def with_neighbours(
    problem: Problem,
    finished: TrialResult,
    neighbours: TrialResult,
    number: int,
    threads: int = 1,
) -> TrialResult:
    """A finished trial whose scores are blended with those of an item-to-item model.

    Of the weights that are no worse than the best by more than one standard error, paired by user,
    the one nearest to `USUAL_WEIGHT` is taken: a holdout of a few hundred users says too little to
    leave what is good on most data, one of thousands decides (docs/experiments/neighbours.md).

    Parameters
    ----------
    problem : Problem
    finished : TrialResult
        Trained again if its factors were not kept.
    neighbours : TrialResult
        Of an item-to-item model; fitted again if its weights were not kept.
    number : int
        Of the trial returned.
    threads : int
        Measure so many weights at a time.
    """
    factors = _finished_factors(problem, finished)
    likes = binary(problem.train)
    model = model_of(neighbours)
    whole = neighbours.neighbours
    if whole is None:
        whole = model.neighbours(model.aging.applied(likes, problem.times))
    kept, fitted = _least_kept(problem, factors, whole, likes)

    def measured(weight: float) -> Float64Array:
        # Powers of two: the bits are those of a fit with this weight.
        added = replace(fitted, weights=fitted.weights * np.float32(weight))
        return problem.precisions(Blended(factors, added, likes))

    values = _side_by_side(measured, NEIGHBOUR_WEIGHTS, threads)
    usual = NEIGHBOUR_WEIGHTS.index(USUAL_WEIGHT)
    place = nearest_of_good(values, usual, at_least=finished.precision)
    weight, value = NEIGHBOUR_WEIGHTS[place], float(values[place].mean())
    parameters = parameters_of(model, weight)
    parameters["neighbours_kept"] = min(kept, int(parameters["neighbours_kept"]))
    configuration = {**finished.configuration, **parameters}
    how = f" blended with trial {neighbours.number}"
    return _finished(finished, number, configuration, value, how)


def _finished(
    trial: TrialResult, number: int, configuration: Configuration, precision: float, how: str
) -> TrialResult:
    """What became of a trial: one rung at its best epoch, with the precision measured now."""
    assert trial.best is not None
    return TrialResult(
        number,
        configuration,
        (replace(trial.best, precision=precision),),
        "complete",
        f"trial {trial.number}{how}",
        finishes=trial.number,
    )


def _least_kept(
    problem: Problem, factors: Factors, whole: Neighbours, likes: sp.csr_matrix
) -> tuple[int, Neighbours]:
    """As few weights of each row as cost next to no precision, and the neighbours left, scaled."""
    most = int(np.diff(whole.indptr).max(initial=1))
    found, values = [], []
    for kept in (most, *(k for k in KEPT if k < most)):
        fitted = scaled(truncated(whole, kept), factors, likes, 1.0)
        found.append((kept, fitted))
        values.append(problem.precision(Blended(factors, fitted, likes)))
        if values[-1] < (1 - KEPT_LOSS) * values[0]:
            break
    good = [place for place, value in enumerate(values) if value >= (1 - KEPT_LOSS) * values[0]]
    return found[good[-1]]


def nearest_of_good(values: Sequence[Float64Array], usual: int, at_least: float = 0.0) -> int:
    """Of the places within one standard error of the best one, that nearest to a usual one.

    Parameters
    ----------
    values : sequence of float64 (n_users,)
        Of the same users at each place.
    usual : int
        A place. Of two that are equally near, the better one is taken.
    at_least : float
        A mean that the place must reach too, unless not even the best one does.
    """
    means = [float(each.mean()) for each in values]
    best = int(np.argmax(means))
    least = at_least if means[best] >= at_least else 0.0
    good = [
        place
        for place, each in enumerate(values)
        if means[best] - means[place] <= _standard_error(values[best] - each)
        and means[place] >= least
    ]
    return min(good, key=lambda place: (abs(place - usual), -means[place]))


def _standard_error(values: Float64Array) -> float:
    """Of the mean of values; 0 for a single one."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else 0.0


def _finished_factors(problem: Problem, finished: TrialResult) -> Factors:
    """The factors of a finished trial: trained, mapped and blended as its configuration says."""
    own = factors_of(problem, finished)
    parameters = parse_configuration(finished.configuration)[1]
    sides = problem.sides if parameters.strategy == "mapped" else None
    return map_features(own, problem.train, parameters, sides or FeaturesBySide()).factors


def without_items(profiles: Profiles, items: Sequence[int] | IntArray) -> Profiles:
    """The profiles with the rows of some items empty."""
    counts = np.diff(profiles.indptr)
    emptied = np.zeros(profiles.n_items, bool)
    emptied[np.asarray(items, np.int64)] = True
    kept = ~np.repeat(emptied, counts)
    indptr = np.concatenate([[0], np.cumsum(np.where(emptied, 0, counts))]).astype(np.int64)
    return replace(
        profiles, indptr=indptr, indices=profiles.indices[kept], data=profiles.data[kept]
    )


def factors_of(problem: Problem, trial: TrialResult) -> Factors:
    """The factors at a trial's best rung, trained again if they were not kept."""
    if trial.factors is not None:
        return trial.factors
    assert trial.best is not None
    training = problem.training(trial.configuration)
    training.advance(trial.best.epoch)
    return training.factors()


def _choose_user_blending(
    problem: Problem,
    own: Factors,
    blended: Factors,
    parameters: HybridParameters,
    value: float,
    threads: int,
) -> tuple[float, HybridParameters]:
    """The best precision and the parameters that give it, by the share of users folded in.

    `own` are the trained factors; `blended` are those of the parameters without user blending,
    and `value` their precision.
    """

    def measured(share: float) -> tuple[float, HybridParameters]:
        # Item vectors do not depend on users, so they stay as they are.
        users = blend_users(own, problem.train, share).user_factors
        precision = problem.precision(replace(blended, user_factors=users))
        return precision, replace(parameters, user_blending=share)

    found = [(value, parameters), *_side_by_side(measured, USER_BLENDINGS[1:], threads)]
    return max(found, key=lambda pair: pair[0])


def _side_by_side(
    measure: Callable[[_Tried], _Value], tried: Sequence[_Tried], threads: int
) -> list[_Value]:
    """What is measured of each, in their order."""
    with ThreadPoolExecutor(threads) as pool:
        return list(pool.map(measure, tried))
