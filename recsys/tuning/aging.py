"""Where the search of a half-life and a window begins: once with each, otherwise without."""

from __future__ import annotations

from itertools import product

from recsys.base.dimensions import Choice, Dimension, Range, Space
from recsys.base.durations import AGING, days_of
from recsys.tuning.space import Configuration, SearchSpace, middle_of, typed


def without_aging(space: SearchSpace) -> Configuration:
    """For each such dimension that is searched, the value that changes least."""
    return {name: _durations(dimension)[0] for name, dimension in _searched(space).items()}


def with_aging(space: SearchSpace) -> list[Configuration]:
    """For each such dimension that is searched, a middling duration of it, and no other."""
    found: list[Configuration] = []
    for name, dimension in _searched(space).items():
        middling = [each for each in _durations(dimension) if days_of(each) is not None]
        found.append({**without_aging(space), name: middling[len(middling) // 2]})
    return found


def age_grid(ages: Space) -> list[Configuration]:
    """Every combination of durations: of choices all, of ranges the ends and the middle."""
    if not ages:
        return []
    return [
        dict(zip(ages, values, strict=True)) for values in product(*map(_durations, ages.values()))
    ]


def _searched(space: SearchSpace) -> dict[str, Range | Choice]:
    return {name: space.searched[name] for name in AGING if name in space.searched}


def _durations(dimension: Dimension) -> list[str]:
    """Values of a dimension, the longest first; none at all is the longest."""
    if isinstance(dimension, Choice):
        return sorted(
            map(str, dimension.values), key=lambda value: -(days_of(value) or float("inf"))
        )
    if isinstance(dimension, Range):
        ends = dimension.high, middle_of(dimension), dimension.low
        return [typed(dimension, days) for days in ends]
    return [str(dimension)]
