"""Non-inferiority: whether a model loses less than a margin against another, on the same users.

References
----------
.. [1] G. Piaggio et al., Reporting of noninferiority and equivalence randomized trials: extension
   of the CONSORT 2010 statement, JAMA 308 (2012): the lower end of the interval and the margin.
.. [2] H. S. Bloom, Minimum detectable effects, Evaluation Review 19 (1995).
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.base.arrays import Float64Array

POWER = 0.8
"""Probability with which a loss of the detectable size is noticed."""


@dataclass(frozen=True)
class PairedDifference:
    """The mean of one model minus that of another, over the same users, with Student's t interval.

    Parameters
    ----------
    mean : float
    low, high : float
        One-sided bounds of `level` each; infinite for a single user.
    other : float
        The other model's mean.
    users : int
    level : float
    detectable : float
        The minimum detectable loss [2]_: a true difference of minus so much has a `high` below 0
        with a probability of `POWER`.
    """

    mean: float
    low: float
    high: float
    other: float
    users: int
    level: float
    detectable: float

    def margin(self, loss: float) -> float:
        """A relative loss in the metric's own units, by the other model's mean."""
        return loss * abs(self.other)

    def non_inferior(self, loss: float) -> bool:
        """Whether less than this share of the other model's mean is lost [1]_."""
        return self.low > -self.margin(loss) or self.low >= 0

    def undecided(self, loss: float) -> bool:
        """Whether these users are too few to tell: neither the loss nor its absence is shown.

        The interval reaches down so far that a challenger which measures just as the other model
        would not pass, and up so far that the loss may be smaller than the margin.
        """
        margin = self.margin(loss)
        wide = self.mean - self.low >= margin
        return not self.non_inferior(loss) and wide and self.high >= -margin

    def users_needed(self, loss: float) -> int | None:
        """About how many such users make the lower end reach the margin for an equal model.

        None where that cannot be said: for a single user, or a mean of 0.
        """
        margin = self.margin(loss)
        if not margin or not np.isfinite(self.low):
            return None
        return int(np.ceil(self.users * ((self.mean - self.low) / margin) ** 2))


def paired_difference(own: Float64Array, other: Float64Array, level: float) -> PairedDifference:
    """Compare two models on the same users.

    Differences between users cancel out. Student's t rather than the bootstrap: it holds its level
    with few users as well, and at levels far in the tail.

    Parameters
    ----------
    own, other : float64 (n,)
        A metric of the same users, n at least 1.
    level : float
        Confidence of each end, one-sided, between 0.5 and 1.

    Raises
    ------
    ValueError
        If the two differ in length, there are no users, or the level is out of range.
    """
    from scipy.special import ndtri

    if len(own) != len(other):
        raise ValueError(f"paired values differ in length: {len(own)} and {len(other)}")
    if not len(own) or not 0.5 < level < 1:
        raise ValueError("an interval needs at least one user and a level between 0.5 and 1")
    difference = np.asarray(own, np.float64) - np.asarray(other, np.float64)
    users, mean = len(difference), float(difference.mean())
    error, reach = standard_error(difference), reach_of(difference, level)
    detectable = reach + float(ndtri(POWER)) * error
    compared = float(np.mean(other))
    return PairedDifference(mean, mean - reach, mean + reach, compared, users, level, detectable)


def standard_error(values: Float64Array) -> float:
    """Of a mean over users: float64 (n,); infinite for a single one."""
    return float(values.std(ddof=1) / np.sqrt(len(values))) if len(values) > 1 else float("inf")


def reach_of(values: Float64Array, level: float) -> float:
    """How far each end of Student's t interval is from the mean.

    Parameters
    ----------
    values : float64 (n,)
    level : float
        Confidence of one end.
    """
    from scipy.special import stdtrit

    if len(values) < 2:
        return float("inf")
    return float(stdtrit(len(values) - 1, level)) * standard_error(values)


def level_of_each(level: float, comparisons: int) -> float:
    """The level of each of several comparisons, so that all of them hold at once (Bonferroni).

    Parameters
    ----------
    level : float
        Of all together.
    comparisons : int
    """
    return 1 - (1 - level) / comparisons
