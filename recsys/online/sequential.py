"""Sequential tests: changes between two versions that may be looked at every hour.

A p-value or an interval that is computed for one look is wrong after a hundred: sooner or later it
shows a change where there is none. Here they are always valid: the chance that the interval ever
misses the truth, at whichever look, is at most one minus the level.

The test is the mixture sequential probability ratio test with a normal mixture (R. Johari, P.
Koomen, L. Pekelis and D. Walsh, "Peeking at A/B tests", KDD 2017, and "Always valid inference:
continuous monitoring of A/B tests", Operations Research 70, 2022), and the interval is the
confidence sequence that it inverts to, the normal mixture bound of S. Howard, A. Ramdas, J.
McAuliffe and J. Sekhon ("Time-uniform, nonparametric, nonasymptotic confidence sequences", Annals
of Statistics 49, 2021). The variance is estimated, as in I. Waudby-Smith et al., "Time-uniform
central limit theory and asymptotic confidence sequences" (Annals of Statistics 52, 2024), so it is
not to be used for a handful of users.

Users come again, and each clicks more or less than others, so users are the units: the variance is
that of the sums of users (the delta method; A. Deng, U. Knoblich and J. Lu, "Applying the delta
method in metric analytics", KDD 2018). Estimates from more and more observations of the same units
have the increments that the test needs (C. Jennison and B. Turnbull, "Group-sequential analysis
incorporating covariate information", JASA 92, 1997).
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from scipy.special import betaln

from recsys.base.arrays import Float64Array

POWER_DEVIATE = 0.8416212335729143
"""Of the normal distribution: four times in five."""


@dataclass(frozen=True)
class Change:
    """How much more one version has of something than the other, as a share, always valid.

    Parameters
    ----------
    relative : float
        The change: 0.05 if the challenger has 5 % more.
    low, high : float
        The interval at the level, of all looks together.
    p : float
        The p-value, below which a level may be chosen before the comparison begins.
    variance : float
        Of the logarithm of the ratio.
    """

    relative: float
    low: float
    high: float
    p: float
    variance: float

    @property
    def decided(self) -> bool:
        """Whether the interval leaves out "no change"."""
        return self.low > 0 or self.high < 0


def half_width(variance: float, tau: float, alpha: float) -> float:
    """Half of the interval around a normal estimate that is valid at all times.

    Parameters
    ----------
    variance : float
        Of the estimate at this look.
    tau : float
        Standard deviation of the mixture, about the size of effect that is looked for. The interval
        is valid with any; it is narrowest when the standard error is about as large.
    alpha : float
        Chance that the intervals of all looks together miss the truth.
    """
    both = variance + tau**2
    return math.sqrt(
        variance * both / tau**2 * (2 * math.log(1 / alpha) + math.log(both / variance))
    )


def always_valid_p(estimate: float, variance: float, tau: float) -> float:
    """The always-valid p-value that a normal estimate is not of zero."""
    both = variance + tau**2
    exponent = (tau * estimate) ** 2 / (2 * variance * both) - 0.5 * math.log(both / variance)
    return math.exp(min(0.0, -exponent))


def log_ratio(events: Float64Array, exposures: Float64Array) -> tuple[float, float] | None:
    """The logarithm of the challenger's rate by the champion's, and its variance.

    Parameters
    ----------
    events, exposures : float64 (n_users, 2)
        What each user did and could have done, with the champion and with the challenger. Where
        users are split, one of the two columns is zero; where lists are interleaved, neither is,
        and what makes a user click much or little cancels.

    Returns
    -------
    (float, float) or None
        None if one of them has no event, or there is one user.
    """
    n = len(events)
    all_events, all_exposures = events.sum(axis=0), exposures.sum(axis=0)
    if n < 2 or not all_events.all() or not all_exposures.all():
        return None
    rates = all_events / all_exposures
    parts = events / all_events - exposures / all_exposures
    variance = float(((parts[:, 1] - parts[:, 0]) ** 2).sum()) * n / (n - 1)
    return math.log(rates[1] / rates[0]), variance


def change_of(
    events: Float64Array, exposures: Float64Array, effect: float, level: float
) -> Change | None:
    """The relative change of a rate, always valid.

    Parameters
    ----------
    events, exposures : float64 (n_users, 2)
        See `log_ratio`.
    effect : float
        The relative change that is looked for.
    level : float
        Of the interval.

    Returns
    -------
    Change or None
        None where there is too little to compare.

    Examples
    --------
    >>> import numpy as np
    >>> clicks = np.repeat([[2.0, 0.0], [3.0, 0.0], [0.0, 5.0], [0.0, 4.0]], 500, axis=0)
    >>> seen = np.repeat([[10.0, 0.0], [10.0, 0.0], [0.0, 10.0], [0.0, 10.0]], 500, axis=0)
    >>> found = change_of(clicks, seen, effect=0.05, level=0.95)
    >>> round(found.relative, 3), found.low > 0.7, found.decided
    (0.8, True, True)
    """
    found = log_ratio(events, exposures)
    if found is None or found[1] <= 0:
        return None
    estimate, variance = found
    tau = math.log1p(effect)
    half = half_width(variance, tau, 1 - level)
    return Change(
        math.expm1(estimate),
        math.expm1(estimate - half),
        _expm1(estimate + half),
        always_valid_p(estimate, variance, tau),
        variance,
    )


def rate_of(
    events: Float64Array, exposures: Float64Array, effect: float, level: float
) -> tuple[float, float, float] | None:
    """A rate of one version with its always-valid interval; None if nobody could do anything.

    The interval is from 0 to 1 while all users are alike.

    Parameters
    ----------
    events, exposures : float64 (n_users,)
    effect, level : float
        See `change_of`.
    """
    n, did, could = len(events), float(events.sum()), float(exposures.sum())
    if not could:
        return None
    rate = did / could
    variance = float(((events / did - exposures / could) ** 2).sum()) if did and n > 1 else 0.0
    if variance <= 0:
        return rate, 0.0, 1.0  # all alike, which says nothing of how they differ
    half = half_width(variance, math.log1p(effect), 1 - level)
    return rate, rate * math.exp(-half), rate * (1 + _expm1(half))


def days_until(change: float, variance: float, days: float, effect: float, level: float) -> float:
    """Days after which a change shows four times in five, with as many users a day as so far.

    Parameters
    ----------
    change : float
        Relative, as 0.05.
    variance : float
        Of the logarithm of the ratio now; it falls as the days add up.
    days : float
        That the comparison has taken so far.
    effect, level : float
        See `change_of`.

    Returns
    -------
    float
        From the beginning of the comparison.
    """
    wanted, tau, alpha = abs(math.log1p(change)), math.log1p(effect), 1 - level

    def shows(found: float) -> bool:
        noise = POWER_DEVIATE * math.sqrt(found)
        return half_width(found, tau, alpha) + noise <= wanted

    low, high = 1e-15, 1.0
    while high - low > 1e-4 * high and high > 2e-15:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if shows(middle) else (low, middle)
    return days * variance / low


def sample_ratio_p(champion: int, challenger: int, share: float) -> float:
    """The p-value that users were split as they should be, valid however often one looks.

    The Bayes factor of any share against the one that was set, with a uniform prior; its inverse is
    an always-valid p-value (M. Lindon and A. Malek, "Anytime-valid inference for multinomial count
    data", NeurIPS 2022).

    Parameters
    ----------
    champion, challenger : int
        Users of each.
    share : float
        Of the challenger, between 0 and 1.

    Examples
    --------
    >>> sample_ratio_p(5000, 5000, 0.5), sample_ratio_p(5400, 4600, 0.5) < 1e-6
    (1.0, True)
    """
    likelihood = challenger * math.log(share) + champion * math.log1p(-share)
    evidence = float(betaln(1 + challenger, 1 + champion)) - likelihood
    return math.exp(min(0.0, -evidence))


def _expm1(value: float) -> float:
    return math.expm1(min(value, 700.0))
