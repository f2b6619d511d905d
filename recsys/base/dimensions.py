"""Dimensions: what a search may vary, and the spaces that are searched by default."""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal

from pydantic import Field, field_validator, model_validator

from recsys.base.durations import AGING, days_of
from recsys.base.fields import Section

# Names of other dimensions, and the values that they must have.
Condition = dict[str, str | float | int | list[str | float | int]]


class Range(Section):
    """A dimension of the search: the numbers from `low` to `high`, or the durations.

    Whole numbers on both ends make it a dimension of whole numbers. Durations such as "30d" and
    "5y" are kept in days, and `unit` says so. `when` names other dimensions and the values they
    must have for this one to matter.
    """

    low: float | int
    high: float | int
    scale: Literal["linear", "log"] = "linear"
    likely: tuple[float | int, float | int] | None = Field(
        None,
        description="Part of the range that the first trials are drawn from; default: all of it.",
    )
    when: Condition | None = None
    unit: Literal["days"] | None = Field(
        None, description="Unit of the numbers where they are a duration."
    )

    @model_validator(mode="before")
    @classmethod
    def _durations_in_days(cls, given: Any) -> Any:
        if not isinstance(given, dict) or not isinstance(given.get("low"), str):
            return given
        ends: dict[str, Any] = {name: _in_days(given.get(name)) for name in ("low", "high")}
        likely = given.get("likely")
        if isinstance(likely, list | tuple):
            ends["likely"] = [_in_days(end) for end in likely]
        return {"scale": "log", **given, **ends, "unit": "days"}

    @model_validator(mode="after")
    def _ordered(self) -> Range:
        if not self.low < self.high:
            alone = " (for one value, write it alone)" if self.low == self.high else ""
            raise ValueError(f"low ({self.low}) must be below high ({self.high}){alone}")
        if self.likely and not self.low <= self.likely[0] < self.likely[1] <= self.high:
            raise ValueError(f"likely {self.likely} must lie within {self.low} and {self.high}")
        if self.scale == "log" and self.low <= 0:
            raise ValueError("a logarithmic range must be positive")
        return self


def _in_days(written: Any) -> float:
    days = days_of(written) if isinstance(written, str) else None
    if days is None:
        raise ValueError(f"low, high and likely of durations such as 30d and 5y, not {written!r}")
    return days


Value = str | bool | int | float


class Choice(Section):
    """A dimension of the search: one of several values, all of them words or all numbers."""

    values: Annotated[list[Value], Field(min_length=2)]
    when: Condition | None = None

    @field_validator("values")
    @classmethod
    def _once_each(cls, values: list[Value]) -> list[Value]:
        if len(set(values)) < len(values):
            raise ValueError("values that differ")
        kinds = {"word" if isinstance(v, str) else "number" for v in values}
        if len(kinds) > 1 or any(isinstance(v, bool) for v in values) > all(
            isinstance(v, bool) for v in values
        ):
            raise ValueError("values of one kind, all words or all numbers")
        return values


Dimension = Range | Choice | bool | int | float | str
Space = dict[str, Dimension]
_ENDS = ("low", "high")


def as_written(space: Any) -> Any:
    """A space before it is validated: ends that are equal are one value, half a range is said.

    Raises
    ------
    ValueError
        If a dimension is no value and has neither both ends nor values; says what to write.
    """
    if not isinstance(space, dict):
        return space
    return {name: _dimension_as_written(name, given) for name, given in space.items()}


def _dimension_as_written(name: Any, given: Any) -> Any:
    if isinstance(given, list):
        if len(given) < 2:
            raise ValueError(f"{name} as one value, or as {{ values = [ … ] }} with several")
        raise ValueError(f"{name} as {{ values = {given} }}, not a list alone")
    if isinstance(given, float) and not math.isfinite(given):
        raise ValueError(f"{name} a finite number, not {given}")
    if not isinstance(given, dict):
        return given
    kind = Choice if "values" in given else Range
    # Pydantic would say of it that it is no boolean, the last thing that a dimension may be.
    unknown = [] if not {*given} & {"values", *_ENDS} else sorted({*given} - {*kind.model_fields})
    if unknown:
        known = ", ".join(kind.model_fields)
        raise ValueError(f"{name} without {', '.join(unknown)}, as it may have {known}")
    if kind is Choice:
        return given
    if any(isinstance(given.get(end), str) for end in _ENDS) and len({*given} & {*_ENDS}) < 2:
        return given  # a duration, of which a range says more
    there = [end for end in _ENDS if end in given]
    if len(there) == 2:
        low, high = (given[end] for end in _ENDS)
        return low if low == high and set(given) <= {*_ENDS, "scale"} else given
    written = ", ".join(f"{end} = {given.get(end, '…')}" for end in _ENDS)
    raise ValueError(f"{name} with both ends, {{ {written} }}, or {{ values = [ … ] }}")


def check_durations(space: Space) -> Space:
    """The space itself, if what goes by the age of interactions is durations in it.

    Raises
    ------
    ValueError
        If a half-life or a window is something else.
    """
    for name in AGING:
        dimension = space.get(name, "none")
        values = dimension.values if isinstance(dimension, Choice) else [dimension]
        for value in values:
            if isinstance(value, Range) and value.unit:
                continue
            if value != "none" and (not isinstance(value, str) or days_of(value) is None):
                shown = f"{value.low:g} to {value.high:g}" if isinstance(value, Range) else value
                raise ValueError(f"{name} of durations such as 90d and 2y, or none, not {shown!r}")
    return space


# The likely parts were chosen from learning curves of citeulike-a and of the bundled sample, so
# results on these two data sets are optimistic.
DEFAULT_SPACE: Space = {
    "no_components": Range(low=16, high=256, scale="log", likely=(48, 192)),
    "learning_rate": Range(low=0.005, high=0.3, scale="log", likely=(0.02, 0.1)),
    "user_alpha": Range(low=1e-7, high=1e-3, scale="log", likely=(1e-7, 3e-4)),
    "item_alpha": Range(low=1e-7, high=1e-3, scale="log", likely=(1e-7, 3e-4)),
    "max_sampled": Range(low=5, high=100, scale="log", likely=(8, 50)),
    "loss": "warp",
    "learning_schedule": "adagrad",
    "initialisation": "spectral",
}

# The founding article's own: one regularisation for both sides, epochs a plain dimension.
ARTICLE_SPACE: Space = {
    "no_components": Range(low=20, high=200),
    "learning_rate": Range(low=1e-4, high=1.0, scale="log"),
    "alpha": Range(low=1e-6, high=1e-1, scale="log"),
    "max_sampled": 10,
    "loss": "warp",
    "learning_schedule": "adagrad",
}

ARTICLE_FEATURE_SPACE: Space = {
    "no_components": Range(low=20, high=200),
    "learning_rate": Range(low=1e-3, high=1.0, scale="log"),
    "item_alpha": Range(low=1e-5, high=1e-3, scale="log"),
    "user_alpha_scale": Range(low=1e-3, high=1.0, scale="log"),
    "max_sampled": 10,
    "loss": "warp",
    "learning_schedule": "adagrad",
}


# How features take part in joint training; all are on the founding article's list of experiments.
# Searched in addition to the dimensions of `search.space`.
JOINT_SPACE: Space = {
    "feature_weight": Range(low=0.1, high=3.0, scale="log"),
    "features_below": Range(low=10, high=1000, scale="log"),
    "min_support": Range(low=1, high=20, scale="log"),
    "normalisation": Choice(values=["l2", "l1"]),
}
