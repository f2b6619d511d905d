"""Racing: the best candidates of a search on further holdouts, those clearly worse dropped early.

The best of many trials on a few hundred users is best by luck as well. Other likes of the same
users are held out, all candidates left are fitted again without them, and those that are behind
the leader beyond chance are not fitted any more [1]_ [2]_.

References
----------
.. [1] O. Maron and A. Moore, Hoeffding Races, NIPS 1993.
.. [2] M. Birattari et al., A Racing Algorithm for Configuring Metaheuristics, GECCO 2002: F-Race.
   Its variants of irace go by Student's t on paired differences without a correction, as here.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from recsys.base.arrays import Float64Array

LEVEL = 0.95
"""Confidence, one-sided, with which a dropped candidate is behind the leader."""

# The score of every user, of each of some candidates, in one of the further holdouts.
MeasureOn = Callable[[Sequence[int], int], Sequence[Float64Array]]


@dataclass(frozen=True)
class Race:
    """How a race ended.

    Parameters
    ----------
    winner : int
        The place of the candidate with the highest mean of those that were left.
    means : tuple of float
        Over the holdouts that each candidate was measured on, the first one among them.
    holdouts : tuple of int
        How many those are.
    """

    winner: int
    means: tuple[float, ...]
    holdouts: tuple[int, ...]


def race(first: Sequence[float], measure: MeasureOn, further: int, level: float = LEVEL) -> Race:
    """Find the best of some candidates on several holdouts of the same users.

    Parameters
    ----------
    first : sequence of float
        Means on the first holdout, by which they became candidates. They count as much as any
        other holdout in who leads, and not in who is dropped.
    measure : callable
        Called with the places of the candidates that are left and the number of a holdout, from 0.
    further : int
        Holdouts beside the first one, at most.
    level : float
        See `LEVEL`.
    """
    left = list(range(len(first)))
    sums: list[Float64Array] = [np.zeros(0)] * len(first)
    means, holdouts = list(first), [1] * len(first)
    for number in range(further):
        if len(left) == 1:
            break
        for place, values in zip(left, measure(left, number), strict=True):
            sums[place] = values + sums[place] if number else values
            holdouts[place] = number + 2
            means[place] = (first[place] + float(sums[place].mean())) / holdouts[place]
        leader = max(left, key=lambda place: (means[place], -place))
        left = [
            place
            for place in left
            if place == leader or not _behind(sums[leader] - sums[place], level)
        ]
    winner = max(left, key=lambda place: (means[place], -place))
    return Race(winner, tuple(means), tuple(holdouts))


def relative_half_width(values: Float64Array) -> float:
    """Half of the 95 % interval of a mean over users, as a share of it; infinite where it is 0."""
    if len(values) < 2 or values.mean() <= 0:
        return np.inf
    return float(1.96 * values.std(ddof=1) / np.sqrt(len(values)) / values.mean())


def _behind(ahead: Float64Array, level: float) -> bool:
    """Whether paired differences are above 0 beyond chance, by Student's t."""
    from scipy.special import stdtrit  # takes long to import

    if len(ahead) < 2:
        return False
    error = ahead.std(ddof=1) / np.sqrt(len(ahead))
    return bool(ahead.mean() > stdtrit(len(ahead) - 1, level) * error)
