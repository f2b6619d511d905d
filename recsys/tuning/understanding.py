"""Understanding: which dimensions of a search space matter, and whether a study has seen enough.

Forests are fitted to bootstraps of the trials. What a dimension explains of their variance is its
importance [1]_, their mean along it its partial dependence [2]_, and how both differ from bootstrap
to bootstrap says how far they can be trusted.

References
----------
.. [1] F. Hutter, H. Hoos and K. Leyton-Brown, An Efficient Approach for Assessing Hyperparameter
   Importance, ICML 2014 (functional ANOVA).
.. [2] J. Friedman, Greedy function approximation: a gradient boosting machine, Annals of
   Statistics, 2001.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from threadpoolctl import threadpool_limits

from recsys.base.arrays import BoolArray, Float64Array
from recsys.base.dimensions import Range
from recsys.base.errors import ConfigError
from recsys.models.configuration import parse_configuration
from recsys.tuning.space import SearchSpace, middle_of, typed

if TYPE_CHECKING:
    from sklearn.tree import ExtraTreeRegressor
    from skopt.space import Space as Box

FEWEST = 8
"""Trials without which nothing is fitted."""
TRIALS_A_DIMENSION = 3
"""Trials for each dimension that a study should have."""
EXPLAINED = 0.2
"""Out-of-bag R² below which the dimensions explain too little."""
GAIN = 0.005
"""What a further trial may be expected to add (relative), as in `stopping.Converged`."""
EDGE = 0.05
"""Share of a range, on its scale, that is its edge."""
MATTERS = 0.05
"""Share of the variance that a dimension surely explains, for its edge to be spoken of."""
LEVEL = 0.9
"""Of the intervals, and the share of the bootstraps in which an edge has to be best."""

_BOOTSTRAPS, _TREES, _GRID, _OTHERS = 30, 8, 12, 100
_DRAWS, _STEPS = 1000, 200

# A point of the space and what was, or is to be, expected of it.
Observation: TypeAlias = tuple[list[Any], float]


@dataclass(frozen=True)
class Effect:
    """What one dimension does to precision, all others taken as they come.

    Parameters
    ----------
    name : str
    importance, low, high : float
        Share of the forests' variance over the space that it explains by itself, and the interval.
        What all effects leave of 1 is due to several dimensions together.
    values : tuple of float or str
        Where the dependence was computed, as configurations have them.
    mean, lower, upper : tuple of float
        Partial dependence: the precision to expect there, and its band.
    """

    name: str
    importance: float
    low: float
    high: float
    values: tuple[float | str, ...]
    mean: tuple[float, ...]
    lower: tuple[float, ...]
    upper: tuple[float, ...]


@dataclass(frozen=True)
class Understanding:
    """What a study knows of its search space at its end.

    Parameters
    ----------
    trials : int
    explained : float or None
        Out-of-bag R² of the forests; None where there are too few trials to fit any.
    gain : float or None
        Expected improvement of one more trial where that is largest, as a share of the best.
    effects : tuple of Effect
        The most important dimension first.
    doubts : tuple of str
        Why the space is not understood; empty if it is.
    """

    trials: int
    explained: float | None = None
    gain: float | None = None
    effects: tuple[Effect, ...] = ()
    doubts: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Ready for JSON, with the verdict."""
        return {**asdict(self), "verdict": self.verdict}

    @classmethod
    def from_dict(cls, values: Mapping[str, Any]) -> Understanding:
        """What `as_dict` returned."""
        effects = (
            Effect(**{name: _frozen(value) for name, value in effect.items()})
            for effect in values["effects"]
        )
        return cls(
            values["trials"],
            values["explained"],
            values["gain"],
            tuple(effects),
            tuple(values["doubts"]),
        )

    @property
    def verdict(self) -> str:
        """One line: what matters, or why that cannot be said."""
        if self.doubts:
            return f"the search ended before its space is understood: {'; '.join(self.doubts)}"
        shown = ", ".join(
            f"{effect.name} {effect.importance:.0%} ({effect.low:.0%}..{effect.high:.0%})"
            for effect in self.effects[:3]
        )
        return (
            f"the search space is understood: {shown} of the variance; "
            f"one more trial is expected to gain {self.gain:.1%} at most"
        )


def understand(space: SearchSpace, observations: Sequence[Observation], seed: int) -> Understanding:
    """What the trials of a study say of its search space.

    Parameters
    ----------
    space : SearchSpace
    observations : sequence of (point, float)
        All trials and the precision to expect of them.
    seed : int
        Of the bootstraps and the draws.
    """
    wanted = max(FEWEST, TRIALS_A_DIMENSION * len(space.searched))
    few = f"{len(observations)} trials say little of {len(space.searched)} dimensions; "
    doubts = [f"{few}make {wanted} or more"] if len(observations) < wanted else []
    if len(observations) < FEWEST:
        return Understanding(len(observations), doubts=tuple(doubts))
    from skopt.space import Space  # takes long to import

    box = Space(space.dimensions())
    box.set_transformer("normalize")
    points = np.asarray(box.transform([point for point, _ in observations]), float)
    values = np.array([value for _, value in observations])
    with threadpool_limits(1):
        forests = _Forests.fitted(points, values, seed)
        explained = forests.explained(points, values)
        dependences = [forests.along(grid, place) for place, grid in enumerate(_grids(box))]
        gain = _expected_gain(box, points, values, seed)
    effects = [
        _effect(name, box, place, *found)
        for place, (name, found) in enumerate(zip(space.searched, dependences, strict=True))
    ]
    best = points[int(np.argmax(values))]
    if explained < EXPLAINED:
        doubts.append(f"its dimensions hardly explain precision (out-of-bag R² {explained:.2f})")
    else:
        for place, (effect, found) in enumerate(zip(effects, dependences, strict=True)):
            if effect.low >= MATTERS:
                doubts += _edges(space, effect, float(best[place]), found[1])
    if gain > GAIN:
        doubts.append(f"one more trial is expected to gain {gain:.1%}, so make more trials")
    ordered = sorted(effects, key=lambda effect: (-effect.importance, effect.name))
    return Understanding(len(observations), explained, gain, tuple(ordered), tuple(doubts))


@dataclass(frozen=True)
class _Forests:
    """Extremely randomised trees, those of each bootstrap of the trials together a forest.

    `unseen` are the trials that each has not seen, `others` places that dependence is the mean of.
    """

    trees: tuple[tuple[ExtraTreeRegressor, ...], ...]
    unseen: tuple[BoolArray, ...]
    others: Float64Array

    @classmethod
    def fitted(cls, points: Float64Array, values: Float64Array, seed: int) -> _Forests:
        from scipy.stats.qmc import Halton  # takes long to import
        from sklearn.tree import ExtraTreeRegressor  # takes long to import

        generator = np.random.default_rng([seed, 21])
        trees, unseen = [], []
        for _ in range(_BOOTSTRAPS):
            rows = generator.integers(len(points), size=len(points))
            grown = [
                ExtraTreeRegressor(min_samples_leaf=2, max_features=1.0, random_state=int(state))
                for state in generator.integers(2**31, size=_TREES)
            ]
            trees.append(tuple(tree.fit(points[rows], values[rows]) for tree in grown))
            unseen.append(~np.isin(np.arange(len(points)), rows))
        others = Halton(points.shape[1], scramble=True, seed=seed).random(_OTHERS)
        return cls(tuple(trees), tuple(unseen), others)

    def predictions(self, points: Float64Array) -> Iterator[Float64Array]:
        """What each forest says of some points."""
        asked = points.astype(np.float32)  # as trees are grown, and need not check
        for trees in self.trees:
            yield np.mean([tree.predict(asked, check_input=False) for tree in trees], axis=0)

    def explained(self, points: Float64Array, values: Float64Array) -> float:
        """R² of what forests say of the trials that they have not seen; 0 if all are equal."""
        total, count = np.zeros(len(points)), np.zeros(len(points))
        for found, unseen in zip(self.predictions(points), self.unseen, strict=True):
            total += np.where(unseen, found, 0.0)
            count += unseen
        known = count > 0
        spread = float(((values[known] - values[known].mean()) ** 2).sum())
        missed = float(((values[known] - total[known] / count[known]) ** 2).sum())
        return 1.0 - missed / spread if spread > 0 else 0.0

    def along(self, grid: Float64Array, place: int) -> tuple[Float64Array, Float64Array]:
        """Importance (bootstraps,) and partial dependence (bootstraps, grid) of a dimension."""
        asked = np.tile(self.others, (len(grid), 1))
        asked[:, place] = np.repeat(grid, len(self.others))
        importance, dependence = [], []
        for flat in self.predictions(asked):
            found = flat.reshape(len(grid), -1)
            means = found.mean(axis=1)
            whole = float(found.var())
            importance.append(float(means.var()) / whole if whole > 0 else 0.0)
            dependence.append(means)
        return np.array(importance), np.array(dependence)


def _grids(box: Box) -> Iterator[Float64Array]:
    """Places along each dimension, from 0 to 1: evenly spaced, or those of its choices."""
    for dimension in box.dimensions:
        categories = getattr(dimension, "categories", None)
        if categories is None:
            yield np.linspace(0.0, 1.0, _GRID)
        else:
            yield np.asarray(dimension.transform(list(categories)), float)


def _effect(
    name: str, box: Box, place: int, importance: Float64Array, dependence: Float64Array
) -> Effect:
    ends = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
    low, high = np.quantile(importance, ends)
    lower, upper = np.quantile(dependence, ends, axis=0)
    grid = list(_grids(box))[place]
    values = box.dimensions[place].inverse_transform(grid)
    return Effect(
        name,
        float(importance.mean()),
        float(low),
        float(high),
        tuple(value if isinstance(value, str) else float(value) for value in values),
        tuple(dependence.mean(axis=0).tolist()),
        tuple(lower.tolist()),
        tuple(upper.tolist()),
    )


def _edges(space: SearchSpace, effect: Effect, best: float, dependence: Float64Array) -> list[str]:
    """Where the best trial lies at an end of a range and precision rises up to it, if so."""
    dimension = space.searched[effect.name]
    if not isinstance(dimension, Range):
        return []
    # Trees are flat beyond the outermost trials: what is level with the highest counts as such.
    height = np.ptp(dependence, axis=1, keepdims=True)
    highest = dependence >= dependence.max(axis=1, keepdims=True) - 0.02 * height
    for end, place, near in (("low", 0, best <= EDGE), ("high", -1, best >= 1 - EDGE)):
        if near and highest[:, place].mean() >= LEVEL and _can_be_wider(space, effect.name, end):
            bound, way = (dimension.low, "lower") if end == "low" else (dimension.high, "raise")
            return [
                f"the best trial is at the {end} end of {effect.name} ({bound:g}): "
                f"{way} its {end} in search.space"
            ]
    return []


def _can_be_wider(space: SearchSpace, name: str, end: str) -> bool:
    """Whether a model could be trained with a value a little beyond an end of a range."""
    dimension = space.searched[name]
    assert isinstance(dimension, Range)
    if dimension.scale == "log":
        wider = dimension.low / 2 if end == "low" else dimension.high * 2
    else:
        further = (dimension.high - dimension.low) / 10
        wider = dimension.low - further if end == "low" else dimension.high + further
    point = [middle_of(each) for each in space.searched.values()]
    try:
        parse_configuration({**space.configuration(point), name: typed(dimension, wider)})
    except ConfigError:
        return False
    # Whole numbers end at the smallest that can be told apart.
    return bool(typed(dimension, wider) != typed(dimension, getattr(dimension, end)))


def _expected_gain(box: Box, points: Float64Array, values: Float64Array, seed: int) -> float:
    """The largest expected improvement over the space, as a share of the best to expect.

    By the Gaussian process that the search asks, among draws of the whole space and steps from the
    best trial. What is to be improved upon is the best of what the process expects of the trials,
    since the highest measurement is high by chance as well.
    """
    from scipy.stats import norm  # takes long to import
    from scipy.stats.qmc import Halton  # takes long to import
    from skopt.utils import cook_estimator  # takes long to import

    unit = float(values.std())
    if unit == 0 or values.max() <= 0:
        return 0.0
    process = cook_estimator("GP", space=box, random_state=seed)
    with warnings.catch_warnings():
        # A length scale at its bound belongs to a dimension that says nothing.
        warnings.simplefilter("ignore")
        process.fit(points, values / unit)
    generator = np.random.default_rng([seed, 22])
    steps = points[int(np.argmax(values))] + generator.normal(
        0, generator.choice((0.02, 0.1), (_STEPS, 1)), (_STEPS, points.shape[1])
    )
    drawn = Halton(points.shape[1], scramble=True, seed=seed).random(_DRAWS)
    asked = np.concatenate([drawn, np.clip(steps, 0.0, 1.0)])
    mean, deviation = process.predict(asked, return_std=True)
    best = float(process.predict(points).max())
    ahead = mean - best
    deviation = np.maximum(deviation, 1e-12)
    improvement = ahead * norm.cdf(ahead / deviation) + deviation * norm.pdf(ahead / deviation)
    return float(max(0.0, improvement.max()) / best) if best > 0 else 0.0


def _frozen(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value
