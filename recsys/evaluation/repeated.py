"""Repeated holdouts: further users tested, until the interval is as narrow as it has to be.

A fifth of a few hundred users says little. The configuration that was chosen is fitted again
without some likes of other users, and so on; the figures of all users together have a narrower
interval [1]_.

References
----------
.. [1] R. Kohavi, A study of cross-validation and bootstrap for accuracy estimation and model
   selection, IJCAI 1995.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from recsys.base.arrays import Int32Array, IntArray
from recsys.data.interactions import Interactions
from recsys.data.splits import held_out
from recsys.evaluation.backtests import CHOICE, FoldScores, clustered_interval

# Fits on what is known, and measures on what is held out.
MeasureFold = Callable[[sp.csr_matrix, sp.csr_matrix], FoldScores]


@dataclass(frozen=True)
class RepeatedScores:
    """What was measured, the first fold being the test holdout itself.

    Parameters
    ----------
    folds : tuple of FoldScores
    half_width : float
        Of the 95 % interval of the choice, as a share of its mean.
    ended : str
        Why no further fold was made.
    """

    folds: tuple[FoldScores, ...]
    half_width: float
    ended: str


def repeat_holdouts(
    first: FoldScores,
    measure: MeasureFold,
    interactions: Interactions,
    searched: IntArray,
    *,
    half_width: float,
    rounds: int,
    most_folds: int,
    n: int,
    by_time: bool,
    seed: int,
    samples: int,
) -> RepeatedScores:
    """Test further users until the interval is narrow enough, or there is nobody left.

    Users whose likes chose the configuration are never tested. When all others were, each further
    round holds out other likes of them, but for the last ones by time, which are always the same.

    Parameters
    ----------
    first : FoldScores
        Of the test holdout.
    measure : callable
        Fits what was chosen on one matrix, and measures it on another.
    interactions : Interactions
        All of the core.
    searched : int array
        Users of the validation holdout.
    half_width : float
        Of the 95 % interval, as a share of the mean; narrower is enough.
    rounds : int
        How often a user is tested, at most.
    most_folds : int
        The first among them.
    n : int
        Interactions held out of a user, who has at least 2n.
    by_time : bool
        Whether the last n are held out.
    seed, samples : int
        Of the draws, and of the bootstrap.
    """
    folds = [first]
    groups = _groups(interactions, first.users, searched, n, 1 if by_time else rounds, seed)
    while True:
        width = relative_half_width(folds, seed, samples)
        if width <= half_width:
            return RepeatedScores(tuple(folds), width, "the interval is narrow enough")
        if len(folds) >= most_folds:
            return RepeatedScores(tuple(folds), width, f"{most_folds} folds were made")
        users = next(groups, None)
        if users is None:
            return RepeatedScores(tuple(folds), width, "every eligible user was tested")
        chance = np.random.default_rng([seed, 12, len(folds)]).random(len(interactions))
        held = held_out(interactions, users, by_time, chance, n)
        folds.append(measure(interactions.where(~held).matrix(), interactions.where(held).matrix()))


def relative_half_width(folds: list[FoldScores], seed: int, samples: int) -> float:
    """Half of the choice's 95 % interval as a share of its mean; infinite where that is 0."""
    values = np.concatenate([fold.of(CHOICE) for fold in folds])
    users = np.concatenate([fold.users for fold in folds])
    found = clustered_interval(values, users, seed, samples)
    assert found.low is not None
    assert found.high is not None
    return (found.high - found.low) / 2 / found.mean if found.mean else np.inf


def half_width_of_these(folds: Sequence[FoldScores]) -> float | None:
    """Half of the 95 % interval of the choice's mean with the tested users as they are, relative.

    The interval over users says what users like these would have; how much they differ stays in
    it, however often they are tested. For these users themselves only chance in which likes were
    held out is left, and what is fitted without them: the variance of a user from fold to fold,
    which falls with each further round. Users are taken as one stratum each [1]_.

    Parameters
    ----------
    folds : sequence of FoldScores

    Returns
    -------
    float or None
        As a share of the mean; None where nobody was tested twice, or the mean is 0.

    References
    ----------
    .. [1] W. Cochran, Sampling Techniques, 3rd edition, 1977, section 5.
    """
    values = np.concatenate([fold.of(CHOICE) for fold in folds])
    _, owner, counts = np.unique(
        np.concatenate([fold.users for fold in folds]), return_inverse=True, return_counts=True
    )
    means = np.bincount(owner, values) / counts
    freedom = len(values) - len(counts)
    if not freedom or means.mean() == 0:
        return None
    within = float(((values - means[owner]) ** 2).sum()) / freedom
    error = np.sqrt(within * (1 / counts).sum()) / len(counts)
    return float(1.96 * error / means.mean())


def _groups(
    interactions: Interactions,
    tested: IntArray,
    searched: IntArray,
    n: int,
    rounds: int,
    seed: int,
) -> Iterator[Int32Array]:
    """Users of each further fold, as many as in the first; of a last one, those that are left."""
    counts = np.bincount(interactions.user, minlength=len(interactions.users))
    eligible = np.setdiff1d(np.flatnonzero(counts >= 2 * n), searched).astype(np.int32)
    left = np.setdiff1d(eligible, tested)
    for turn in range(rounds):
        drawn = np.random.default_rng([seed, 11, turn]).permutation(left)
        for start in range(0, len(drawn), len(tested)):
            yield np.sort(drawn[start : start + len(tested)])
        left = eligible
