"""Ages: how long ago interactions were, and what they count for it in training."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from recsys.base.arrays import Float32Array, Float64Array, Int64Array, IntArray
from recsys.base.durations import AGING, days_of
from recsys.base.errors import ConfigError, InputError
from recsys.data.weights import halved_with_age

if TYPE_CHECKING:  # what reads configurations alone, as serving does, needs no SciPy
    import scipy.sparse as sp

ALL = "none"
"""The half-life, or the window, that leaves all interactions as they are."""


@dataclass(frozen=True)
class InteractionTimes:
    """When interactions were.

    Parameters
    ----------
    pairs : int64 (n,)
        user * n_items + item of each, ascending.
    days : float64 (n,)
        When each of them was, in days since 1970.
    n_items : int
    """

    pairs: Int64Array
    days: Float64Array
    n_items: int

    @staticmethod
    def of_matrix(interactions: sp.csr_matrix, days: Float64Array) -> InteractionTimes:
        """The times of a matrix's entries, in their order: by user, then item."""
        return InteractionTimes(_pairs(interactions), days, interactions.shape[1])

    def joined(self, other: InteractionTimes) -> InteractionTimes:
        """These and other interactions of the same users and items, none of them in both."""
        pairs = np.concatenate([self.pairs, other.pairs])
        order = np.argsort(pairs, kind="stable")
        days = np.concatenate([self.days, other.days])
        return InteractionTimes(pairs[order], days[order], self.n_items)

    def restricted(self, users: IntArray, items: IntArray) -> InteractionTimes:
        """The times of some rows and columns of the matrix, int ascending, under their new places.

        Interactions of other users or items are left out.
        """
        user, item = np.divmod(self.pairs, self.n_items)
        kept = np.isin(user, users) & np.isin(item, items)
        row, column = np.searchsorted(users, user[kept]), np.searchsorted(items, item[kept])
        pairs: Int64Array = row * np.int64(len(items)) + column
        return InteractionTimes(pairs, self.days[kept], len(items))

    def ages(self, interactions: sp.csr_matrix) -> Float64Array:
        """Days from each entry of a matrix to the latest of them: float64 (nnz,).

        Raises
        ------
        InputError
            If an entry is none of these interactions.
        """
        asked = _pairs(interactions)
        place = np.searchsorted(self.pairs, asked)
        place[place == len(self.pairs)] = 0
        if len(asked) and not (len(self.pairs) and bool((self.pairs[place] == asked).all())):
            raise InputError(
                "interactions of which nobody knows when they were",
                "a time for each that is trained",
                "leave half_life and window out, or give all times",
            )
        when = self.days[place]
        return when.max(initial=-np.inf) - when


def _pairs(interactions: sp.csr_matrix) -> Int64Array:
    n_users, n_items = interactions.shape
    users = np.repeat(np.arange(n_users, dtype=np.int64), np.diff(interactions.indptr))
    found: Int64Array = users * n_items + interactions.indices
    return found


@dataclass(frozen=True)
class Aging:
    """How the age of interactions counts in training: counted back from the latest of them.

    Parameters
    ----------
    half_life : str
        The duration in which a weight is halved, as "90d"; it falls to a thousandth at most.
        "none" for weights that stay.
    window : str
        Interactions that are older, as "2y", are left out of what is fitted; "none" for all.

    Raises
    ------
    ConfigError
        If one of them is no duration.
    """

    half_life: str = ALL
    window: str = ALL

    def __post_init__(self) -> None:
        for name in AGING:
            value = getattr(self, name)
            if value != ALL and (not isinstance(value, str) or days_of(value) is None):
                raise ConfigError(
                    f"{name} {value!r}",
                    f'a duration such as "90d", "12h", "8w" or "2y", or "{ALL}"',
                    "change it in search.space, or in the model's configuration",
                )

    @property
    def asked(self) -> bool:
        """Whether age counts at all."""
        return (self.half_life, self.window) != (ALL, ALL)

    def factors(self, age: Float64Array) -> Float32Array:
        """What interactions of these ages, in days, count: float32 (n,), 0 outside the window."""
        found = np.ones(len(age), np.float32)
        if (half_life := days_of(self.half_life)) is not None:
            found = halved_with_age(None, age, half_life)
        if (window := days_of(self.window)) is not None:
            found[age > window] = 0
        return found

    def applied(self, interactions: sp.csr_matrix, times: InteractionTimes | None) -> sp.csr_matrix:
        """The interactions that are fitted, with their weights for it.

        Parameters
        ----------
        interactions : csr_matrix float32 (n_users, n_items)
        times : InteractionTimes or None

        Returns
        -------
        csr_matrix float32 (n_users, n_items)
            The same object where age does not count.

        Raises
        ------
        InputError
            If age counts and nobody knows when they were.
        """
        if not self.asked:
            return interactions
        if times is None:
            raise without_times()
        found = interactions.copy()
        found.data = found.data * self.factors(times.ages(interactions))
        found.eliminate_zeros()
        return found


def searched_ages(space: Mapping[str, Any]) -> dict[str, Any]:
    """The dimensions of a search space that go by age, fixed ones among them."""
    return {name: space[name] for name in AGING if name in space}


def without_times() -> InputError:
    """The error of a half-life or a window where it is not known when interactions were."""
    return InputError(
        "a half_life or a window, and nobody knows when the interactions were",
        "dates, or seconds since 1970",
        "name their column (data.timestamp_column, in Python timestamp), or leave half_life and "
        "window out",
    )
