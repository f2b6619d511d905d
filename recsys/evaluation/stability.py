"""Stability: whether counts, shares and distributions differ from those of earlier nights.

The tests are plain, and rough where there are few nights: how much nights differ among themselves
is known from them alone, and likes of one user are not independent of each other.

References
----------
.. [1] N. Siddiqi, Credit Risk Scorecards, Wiley 2006: the population stability index; below 0.1
   nothing has changed, above 0.25 much has.
.. [2] B. Yurdakul and J. Naranjo, Statistical properties of the population stability index,
   Journal of Risk Model Validation 14 (2020).
.. [3] F. J. Anscombe, The transformation of Poisson, binomial and negative-binomial data,
   Biometrika 35 (1948).
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recsys.base.arrays import Float64Array

FEWEST_FOR_SPREAD = 3
"""Nights from which on their own spread is taken into account."""


def stability_index(before: Sequence[float], tonight: Sequence[float]) -> float:
    """The population stability index (PSI) [1]_: the sum of (q - p) ln(q / p) over the bins.

    Parameters
    ----------
    before, tonight : sequence of float (n_bins,)
        Counts. Half a count is added to each, so that an empty bin has a finite share.
    """
    return float(stability_of_bins(before, tonight).sum())


def stability_of_bins(before: Sequence[float], tonight: Sequence[float]) -> Float64Array:
    """What each bin adds to the population stability index, float64 (n_bins,)."""
    p, q = (np.asarray(counts, np.float64) + 0.5 for counts in (before, tonight))
    p, q = p / p.sum(), q / q.sum()
    found: Float64Array = (q - p) * np.log(q / p)
    return found


def stability_by_chance(bins: int, before: float, tonight: float, level: float = 0.999) -> float:
    """The index that two samples of one population stay below with a probability of `level`.

    Divided by 1 / before + 1 / tonight, it is distributed as chi-squared with one degree of freedom
    less than there are bins [2]_.

    Parameters
    ----------
    bins : int
    before, tonight : float
        The numbers of independent observations.
    level : float
    """
    from scipy.special import chdtri  # serving needs no SciPy

    if bins < 2:
        return 0.0
    together = 1 / max(before, 1.0) + 1 / max(tonight, 1.0)
    return float(chdtri(bins - 1, 1 - level)) * together


def count_score(tonight: float, before: Sequence[float]) -> float:
    """By how many standard deviations a count differs from the median of earlier ones.

    Square roots of Poisson counts have about one variance [3]_. Counts that vary more than that
    have the spread that they show, where there are at least `FEWEST_FOR_SPREAD` of them.

    Parameters
    ----------
    tonight : float
    before : sequence of float (n,)
        At least one; negative counts are 0.
    """
    root = [2 * np.sqrt(max(count, 0.0) + 0.375) for count in (tonight, *before)]
    return _score(root[0], root[1:], 1.0)


def share_score(tonight: float, before: Sequence[float], observed: float) -> float:
    """By how many standard deviations a share differs from the median of earlier ones.

    As `count_score`, of the arcsine of square roots, whose variance is 1 / n for binomial
    shares [3]_.

    Parameters
    ----------
    tonight : float
    before : sequence of float (n,)
    observed : float
        The number of observations of each night.
    """
    angle = [2 * np.arcsin(np.sqrt(min(max(share, 0.0), 1.0))) for share in (tonight, *before)]
    return _score(angle[0], angle[1:], 1 / np.sqrt(max(observed, 1.0)))


def change_score(tonight: float, before: Sequence[float]) -> float:
    """By how many standard deviations a change, of either sign, differs from earlier ones.

    Parameters
    ----------
    tonight : float
    before : sequence of float (n,)
        At least one. What comes and what goes are counts, so the spread is at least the square root
        of the median.
    """
    return _score(tonight, before, float(np.sqrt(max(1.0, abs(np.median(before))))))


def _score(tonight: float, before: Sequence[float], least: float) -> float:
    """The distance to the median, by the larger of a spread and that of `before`.

    The median is itself estimated of n nights, with a variance of pi / 2n.
    """
    middle, spread = float(np.median(before)), least
    if len(before) >= FEWEST_FOR_SPREAD:
        # The median absolute deviation of normal numbers is 0.6745 standard deviations.
        deviation = float(np.median(np.abs(np.asarray(before) - middle))) / 0.6745
        spread = max(least, deviation)
    return float((tonight - middle) / (spread * np.sqrt(1 + np.pi / (2 * len(before)))))
