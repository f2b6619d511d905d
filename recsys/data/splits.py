"""Holdouts: interactions withheld from training, for validation and test."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from recsys.base.arrays import BoolArray, Float64Array, Int32Array, Int64Array
from recsys.base.durations import DAY
from recsys.base.errors import InputError
from recsys.data.ages import InteractionTimes
from recsys.data.interactions import Interactions, csr_from_pairs
from recsys.data.windows import units_in_a_second

# With fewer held-out users the standard error of the mean precision would exceed the mean.
FEWEST_USERS = 10


@dataclass(frozen=True)
class TimeParts:
    """What a split by time has beside its holdouts; matrices of the shape of its parts.

    Parameters
    ----------
    before_test : csr_matrix float32
        The core of all that is before the test, of users without held-out interactions too.
    of_new_users, from_new_users : csr_matrix float32
        Of users whom `before_test` does not have: what is known of them, and what is to be found.
        Items are those of `before_test`.
    new_items : csr_matrix float32
        Interactions of its users with items that it does not have, during the test.
    before_test_days : float64 (nnz,) or None
        When the interactions of `before_test` were, see `Split`.
    """

    before_test: sp.csr_matrix
    of_new_users: sp.csr_matrix
    from_new_users: sp.csr_matrix
    new_items: sp.csr_matrix
    before_test_days: Float64Array | None = None


@dataclass(frozen=True)
class Split:
    """Disjoint parts of one interaction matrix, all of its shape (n_users, n_items).

    Parameters
    ----------
    train, validation, test : csr_matrix float32
        No (user, item) pair is in two of them. Drawn by user, their sum is the whole, and the users
        of `validation` and `test` are disjoint. `test` is empty where one holdout was asked for.
    cold_items : int32
        Items with features; a separate fit withholds all of their interactions.
    tied : int or None
        Users of whose last interactions chance decided, as several have the same time; None where
        nothing was held out by time.
    hidden : csr_matrix float32 or None
        Ones for pairs that are never recommended: disliked, or liked before the window of time.
    time : TimeParts or None
        Where the parts are those before and after points in time.
    train_days, validation_days : float64 (nnz,) or None
        When the interactions of `train` and `validation` were, in days since 1970, in the order
        of their entries; None where that is not known.
    """

    train: sp.csr_matrix
    validation: sp.csr_matrix
    test: sp.csr_matrix
    cold_items: Int32Array
    tied: int | None = None
    hidden: sp.csr_matrix | None = None
    time: TimeParts | None = None
    train_days: Float64Array | None = None
    validation_days: Float64Array | None = None

    def times(self) -> InteractionTimes | None:
        """When the interactions of `train` were, all that a search may know."""
        return _times(self.train, self.train_days)

    def final_times(self) -> InteractionTimes | None:
        """When the interactions were that the final measurement trains on, see `final`."""
        if self.test.nnz == 0:
            return self.times()
        if self.time is not None:
            return _times(self.time.before_test, self.time.before_test_days)
        train, validation = self.times(), _times(self.validation, self.validation_days)
        return None if train is None or validation is None else train.joined(validation)

    def refit_train(self) -> sp.csr_matrix:
        """What is known before the test: by default, train and validation together."""
        if self.time is not None and self.test.nnz:
            return self.time.before_test
        return (self.train + self.validation).tocsr()

    def final(self) -> tuple[sp.csr_matrix, sp.csr_matrix]:
        """The matrices for training and for testing of the final measurement.

        Train and validation for training, test for testing. If there is only one holdout, train
        and validation, although the search has seen the latter.
        """
        if self.test.nnz == 0:
            return self.train, self.validation
        return self.refit_train(), self.test


def _times(matrix: sp.csr_matrix, days: Float64Array | None) -> InteractionTimes | None:
    return None if days is None else InteractionTimes.of_matrix(matrix, days)


def not_ranked(
    known: sp.csr_matrix, heldout: sp.csr_matrix, hidden: sp.csr_matrix | None
) -> sp.csr_matrix:
    """What lists are measured without, as people get them: what is known, and what is hidden.

    What is held out is to be found, even if it was hidden for what was said of it before.

    Parameters
    ----------
    known, heldout, hidden : csr_matrix float32 (n_users, n_items)
        `hidden` is None if nothing is.
    """
    if hidden is None:
        return known
    found = hidden - hidden.multiply(heldout.astype(bool))
    found.eliminate_zeros()
    return (known + found).tocsr()


def split(
    interactions: Interactions,
    *,
    n: int = 5,
    share: float = 0.2,
    by_time: bool = False,
    one_holdout: bool = False,
    with_features: BoolArray | None = None,
    cold_share: float = 0.1,
    seed: int = 0,
) -> Split:
    """Hold out `n` interactions of each user in a share of the users.

    As in the founding article, `share` refers to all users, and held-out users are drawn from
    those with at least 2n interactions, so that they keep at least n. If there are too few of them
    for both holdouts, each gets half.

    Parameters
    ----------
    interactions : Interactions
    n : int
        Interactions held out of each chosen user.
    share : float
        Share of all users that goes to validation, and again to test.
    by_time : bool
        Hold out the last n interactions by timestamp instead of n at random; of several with one
        time, those that the seed chooses.
    one_holdout : bool
        Validation only, as the founding article does.
    with_features : bool (n_items,) or None
        Items that have features; cold items are drawn from them.
    cold_share : float
        Share of these items that become cold items.
    seed : int

    Raises
    ------
    InputError
        If too few users are eligible, or there is no timestamp to go by.
    """
    require_timestamp(by_time, interactions.timestamp is not None)
    generator = np.random.default_rng(seed)
    holdouts = 1 if one_holdout else 2
    counts = np.bincount(interactions.user, minlength=len(interactions.users))
    chosen = choose_users(counts, n, share, holdouts, generator)
    luck = chance_in_time(seed) if by_time else generator
    chance = luck.random(len(interactions))
    held = [held_out(interactions, users, by_time, chance, n) for users in chosen]
    tied = count_tied(interactions, chosen, held) if by_time else None
    if one_holdout:
        held.append(np.zeros(len(interactions), dtype=bool))
    train = ~np.logical_or.reduce(held)
    days = days_of(interactions)
    return Split(
        train=_part(interactions, train),
        validation=_part(interactions, held[0]),
        test=_part(interactions, held[1]),
        cold_items=choose_cold(len(interactions.items), with_features, cold_share, generator),
        tied=tied,
        train_days=None if days is None else days[train],
        validation_days=None if days is None else days[held[0]],
    )


def days_of(interactions: Interactions) -> Float64Array | None:
    """When interactions were, in days since 1970: float64 (n,); None where that is not known.

    Numbers of an unknown unit, such as numbers of weeks, put interactions in an order and tell no
    age.
    """
    if interactions.timestamp is None or not len(interactions):
        return None
    try:
        units = units_in_a_second(interactions.timestamp, "the time")
    except InputError:
        return None
    return interactions.timestamp / (units * DAY)


def times_of(interactions: Interactions) -> InteractionTimes | None:
    """When interactions were, for what is trained on them; None where that is not known."""
    days = days_of(interactions)
    return None if days is None else InteractionTimes.of_matrix(interactions.matrix(), days)


def require_timestamp(by_time: bool, known: bool) -> None:
    """Refuse to hold out the last interactions of users where nobody knows which they are.

    Raises
    ------
    InputError
        If it is asked for by time and timestamps are not known.
    """
    if by_time and not known:
        raise InputError(
            "the interactions have no timestamp",
            "one, to hold out the last interactions",
            "name the column in data.timestamp_column or set split.method to 'random'",
        )


def choose_users(
    counts: Int64Array, n: int, share: float, holdouts: int, generator: np.random.Generator
) -> list[Int32Array]:
    """Draw the users of whom interactions are held out: int32, ascending, one array a holdout.

    Parameters
    ----------
    counts : int64 (n_users,)
        Interactions of each user.
    n, share
        See `split`.
    holdouts : int
    generator : numpy.random.Generator

    Raises
    ------
    InputError
        If too few users are eligible.
    """
    eligible = np.flatnonzero(counts >= 2 * n).astype(np.int32)
    wanted = int(share * len(counts))
    size = min(wanted, len(eligible) // holdouts)
    if size < min(FEWEST_USERS, max(wanted, 1)):
        raise InputError(
            f"{len(eligible):,} of {len(counts):,} users have the {2 * n} "
            f"interactions needed to hold out {n}",
            f"at least {holdouts * FEWEST_USERS} such users",
            "lower split.n, raise threshold.user_min no higher than 2n, or bring more data",
        )
    drawn = generator.permutation(eligible)
    return [np.sort(drawn[i * size : (i + 1) * size]) for i in range(holdouts)]


def chance_in_time(seed: int) -> np.random.Generator:
    """Draws a number for each interaction, which breaks ties in time.

    Drawn aside, so that the cold items do not depend on whether there is a time.
    """
    return np.random.default_rng((seed, 1))


def held_out(
    interactions: Interactions, users: Int32Array, by_time: bool, chance: Float64Array, n: int
) -> BoolArray:
    """Marks n rows of each of the users, the latest or those of least chance: bool (n,)."""
    chosen = np.zeros(len(interactions.users), dtype=bool)
    chosen[users] = True
    rows = np.flatnonzero(chosen[interactions.user])
    user = interactions.user[rows]
    first = np.zeros(len(rows))
    if by_time:
        assert interactions.timestamp is not None
        first = -interactions.timestamp[rows].astype(np.float64)
    rows = rows[np.lexsort((chance[rows], first, user))]
    # Sorted by user: a row's position is its distance from the first row of its user.
    place = np.arange(len(rows)) - np.searchsorted(user, user)
    held = np.zeros(len(interactions), dtype=bool)
    held[rows[place < n]] = True
    return held


def count_tied(interactions: Interactions, chosen: list[Int32Array], held: list[BoolArray]) -> int:
    """Number of users with an interaction in training that is as late as one held out."""
    assert interactions.timestamp is not None
    user, time = interactions.user, interactions.timestamp
    out = np.logical_or.reduce(held)
    earliest = np.full(len(interactions.users), np.iinfo(np.int64).max)
    np.minimum.at(earliest, user[out], time[out])
    at_once = ~out & (time == earliest[user])
    return len(np.intersect1d(user[at_once], np.concatenate(chosen)))


def _part(interactions: Interactions, rows: BoolArray) -> sp.csr_matrix:
    weight = interactions.weight
    return csr_from_pairs(
        interactions.user[rows],
        interactions.item[rows],
        None if weight is None else weight[rows],
        (len(interactions.users), len(interactions.items)),
    )


def choose_cold(
    n_items: int,
    with_features: BoolArray | None,
    share: float,
    generator: np.random.Generator,
) -> Int32Array:
    """Draw a share of the first items that have features, bool (n,): int32, ascending."""
    if with_features is None:
        return np.empty(0, dtype=np.int32)
    known = np.flatnonzero(with_features[:n_items])
    size = int(share * len(known))
    return np.sort(generator.choice(known, size=size, replace=False)).astype(np.int32)
