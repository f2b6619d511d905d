"""The search space: validated data turned into scikit-optimize dimensions and back."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

from recsys.base.dimensions import Choice, Range, Space
from recsys.base.durations import as_days, days_of
from recsys.base.errors import ConfigError
from recsys.models.configuration import parse_configuration

if TYPE_CHECKING:
    from skopt.space import Dimension

Configuration = dict[str, Any]
_FEW = 4096  # configurations, of which none is to be trained twice


@dataclass(frozen=True)
class SearchSpace:
    """The dimensions to search and the values that stay fixed.

    Parameters
    ----------
    searched : dict of str to Range or Choice
        In alphabetical order, so that the order in a configuration file changes nothing.
    fixed : dict of str to value
    """

    searched: dict[str, Range | Choice]
    fixed: Configuration

    @classmethod
    def of(cls, space: Space) -> SearchSpace:
        """Split a space into what is searched and what is fixed, whatever the names are of."""
        searched = {
            name: dimension
            for name, dimension in sorted(space.items())
            if isinstance(dimension, Range | Choice)
        }
        return cls(searched, {name: v for name, v in space.items() if name not in searched})

    @classmethod
    def from_config(cls, space: Space) -> SearchSpace:
        """Split a configured space into what is searched and what is fixed.

        Raises
        ------
        ConfigError
            If nothing is searched, a name is not a hyper-parameter, a value cannot be trained with,
            or a condition names no dimension.
        """
        made = cls.of(space)
        if not made.searched:
            raise ConfigError(
                "search.space has fixed values only",
                "at least one range or choice",
                "give one of its names a low and a high",
            )
        if "user_alpha_scale" in space and not {"alpha", "item_alpha"} & set(space):
            raise ConfigError(
                "search.space has user_alpha_scale without what it scales",
                "item_alpha beside it",
                "add item_alpha, or search user_alpha itself",
            )
        made._require_sound()
        return made

    def _require_sound(self) -> None:
        """Raise unless every end of a range and every choice can be trained with."""
        parse_configuration(self.configuration(self.middle()))
        for place, (name, dimension) in enumerate(self.searched.items()):
            if strange := set(dimension.when or {}) - {*self.searched, *self.fixed}:
                raise ConfigError(
                    f"search.space.{name} has a condition on {min(strange)}",
                    "the name of another dimension",
                    "rename it in `when`",
                )
            for value in _extremes(dimension):
                point = self.middle()
                point[place] = value
                # As if its condition were met, as the value would not be looked at otherwise.
                parse_configuration({**self.configuration(point), name: typed(dimension, value)})

    def dimensions(self) -> list[Dimension]:
        """The searched dimensions as scikit-optimize has them."""
        return [_dimension(name, dimension) for name, dimension in self.searched.items()]

    def likely(self) -> list[Dimension]:
        """The part of each dimension from which the first trials are drawn."""
        return [
            _dimension(name, dimension, dimension.likely if isinstance(dimension, Range) else None)
            for name, dimension in self.searched.items()
        ]

    def configuration(self, point: Sequence[Any]) -> Configuration:
        """Hyper-parameters of a point; dimensions whose condition is not met are left out."""
        values = dict(self.fixed)
        for (name, dimension), value in zip(self.searched.items(), point, strict=True):
            values[name] = typed(dimension, value)
        inactive = [
            name
            for name, dimension in self.searched.items()
            if not _met(dimension.when or {}, values)
        ]
        return {name: value for name, value in values.items() if name not in inactive}

    def point(self, configuration: Mapping[str, Any]) -> list[Any]:
        """The point nearest to a configuration; dimensions that it lacks are at their middle."""
        middle = dict(zip(self.searched, self.middle(), strict=True))
        return [
            _inside(dimension, configuration.get(name, middle[name]))
            for name, dimension in self.searched.items()
        ]

    @cached_property
    def every(self) -> list[Configuration] | None:
        """Every configuration once; None where there are more than 4096, or a range of reals."""
        values: list[Sequence[Any]] = []
        for dimension in self.searched.values():
            if isinstance(dimension, Choice):
                values.append(dimension.values)
            elif _whole(dimension) and not dimension.unit and dimension.high - dimension.low < _FEW:
                values.append(range(int(dimension.low), int(dimension.high) + 1))
            else:
                return None
        if math.prod(map(len, values)) > _FEW:
            return None
        found: list[Configuration] = []
        for point in itertools.product(*values):
            if (made := self.configuration(point)) not in found:
                found.append(made)
        return found

    def middle(self) -> list[Any]:
        """The centre of every range, on its scale; the first value of every choice."""
        return [middle_of(dimension) for dimension in self.searched.values()]


def _dimension(
    name: str, dimension: Range | Choice, bounds: tuple[float | int, float | int] | None = None
) -> Dimension:
    import skopt.space as sk  # takes long to import

    if isinstance(dimension, Choice):
        return sk.Categorical(dimension.values, name=name)
    prior = "log-uniform" if dimension.scale == "log" else "uniform"
    kind = sk.Integer if _whole(dimension) else sk.Real
    # Normalised, so that every dimension weighs the same in a surrogate's distances.
    low, high = bounds or (dimension.low, dimension.high)
    return kind(low, high, prior=prior, transform="normalize", name=name)


def _whole(dimension: Range) -> bool:
    return isinstance(dimension.low, int) and isinstance(dimension.high, int)


def typed(dimension: Range | Choice, value: Any) -> Any:
    """A value of a point as a configuration has it."""
    if isinstance(dimension, Choice):
        # scikit-optimize hands numbers out as NumPy's.
        return next(one for one in dimension.values if one == value)
    return as_days(value) if dimension.unit else _number(dimension, value)


def _number(dimension: Range, value: Any) -> float | int:
    return int(value) if _whole(dimension) else float(value)


def _met(condition: Mapping[str, Any], values: Mapping[str, Any]) -> bool:
    return all(
        values.get(name) in (wanted if isinstance(wanted, list) else [wanted])
        for name, wanted in condition.items()
    )


def _inside(dimension: Range | Choice, value: Any) -> Any:
    if isinstance(dimension, Choice):
        return value if value in dimension.values else dimension.values[0]
    if dimension.unit and isinstance(value, str):
        # What is no duration is none at all, which the longest one comes nearest to.
        value = days_of(value) or dimension.high
    return _number(dimension, min(max(value, dimension.low), dimension.high))


def _extremes(dimension: Range | Choice) -> Sequence[Any]:
    if isinstance(dimension, Choice):
        return dimension.values
    return dimension.low, dimension.high


def middle_of(dimension: Range | Choice) -> Any:
    """The centre of a range, on its scale; the first value of a choice."""
    if isinstance(dimension, Choice):
        return dimension.values[0]
    if dimension.scale == "log":
        return _number(dimension, (dimension.low * dimension.high) ** 0.5)
    return _number(dimension, (dimension.low + dimension.high) / 2)
