"""Split by time: nothing from after a cut is learned from, whoever it is of.

Holding out the last interactions of each user teaches a model what others did later: what became
popular, and what was liked together. Here one point in time divides all interactions, as one night
divides what is known from what comes [1]_.

References
----------
.. [1] Z. Meng, R. McCreadie, C. Macdonald and I. Ounis, Exploring data splitting strategies for the
   evaluation of recommendation models, RecSys 2020.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime

import numpy as np
import scipy.sparse as sp

from recsys.base.arrays import BoolArray, Float64Array, Int64Array
from recsys.base.durations import seconds_of, share_of
from recsys.base.errors import InputError, RecsysError
from recsys.data.dates import parse_dates
from recsys.data.interactions import Interactions
from recsys.data.kcore import core_of
from recsys.data.splits import (
    FEWEST_USERS,
    Split,
    TimeParts,
    choose_cold,
    days_of,
    require_timestamp,
)
from recsys.data.windows import units_in_a_second

_SHARES_ONLY = "write split.validation and split.test as shares, such as 10%"


class LeakError(RecsysError):
    """A split would learn from what comes after its cut."""

    exit_code = 1


@dataclass(frozen=True)
class Cuts:
    """The first moments of the holdouts, in the unit of the timestamps.

    Parameters
    ----------
    validation : int
    test : int or None
        None where there is one holdout.
    end : int or None
        The first moment that is not part of the last holdout; None: it goes to the end.
    """

    validation: int
    test: int | None
    end: int | None = None


@dataclass(frozen=True)
class Newcomers:
    """Whom and what a cut leaves out of the figures of trained users and items.

    Parameters
    ----------
    users, users_left_out : int
        Users who were not trained, measured by some of their interactions; and users with too few
        interactions in the test to be measured, trained or not.
    items : int
        Items with interactions in the test that were not trained.
    item_likes : int
        Interactions of trained users with them, which no list of trained items can have.
    """

    users: int
    users_left_out: int
    items: int
    item_likes: int


@dataclass(frozen=True)
class TimeSplit:
    """A split by time, where it was cut, and whom the cut leaves out."""

    parts: Split
    cuts: Cuts
    newcomers: Newcomers


def find_cuts(
    timestamp: Int64Array, validation: str, test: str, timezone: str, *, one_holdout: bool = False
) -> Cuts:
    """Where the holdouts begin.

    Parameters
    ----------
    timestamp : int64 (n,)
    validation, test : str
        The last part of what is before the test, and of everything: a share of all interactions
        ("10%"), a duration ("7d"), or a date, from which on they are held out.
    timezone : str
        Of dates.
    one_holdout : bool
        Whether the last part is validation, and there is no test.

    Raises
    ------
    InputError
        If timestamps have no unit and a duration or a date is asked for, or a part is empty.
    """
    order = np.sort(timestamp)
    last = _first_of_last(order, int(order[-1]) + 1, len(order), test, timezone)
    if one_holdout:
        cuts = Cuts(last, None)
    else:
        before = order[order < last]
        if not len(before):
            raise _empty("before the test", order, (last,))
        cuts = Cuts(_first_of_last(before, last, len(order), validation, timezone), last)
    _require_parts(order, cuts)
    return cuts


def _first_of_last(order: Int64Array, end: int, n_all: int, written: str, timezone: str) -> int:
    """The first moment of the last part of sorted timestamps; of equal ones, all are in it.

    Durations are counted back from `end`, the first moment after them.
    """
    share = share_of(written)
    if share is not None:
        return int(order[max(0, len(order) - max(1, round(share * n_all)))])
    units = units_in_a_second(order, "the time of the interactions", _SHARES_ONLY)
    back = seconds_of(written)
    if back is not None:
        return int(np.ceil(end - back * units))
    return int(np.ceil(parse_dates([written], "ymd", timezone, "split.test")[0] * units))


def _require_parts(order: Int64Array, cuts: Cuts) -> None:
    bounds = [cut for cut in (cuts.validation, cuts.test, cuts.end) if cut is not None]
    places = [0, *np.searchsorted(order, bounds), len(order)]
    names = ["train", "validation", "test"][: len(places) - 1]
    for name, first, last in zip(names, places, places[1:], strict=False):
        if last <= first:
            raise _empty(name, order, bounds)


def _empty(part: str, order: Int64Array, cuts: tuple[int, ...] | list[int]) -> InputError:
    return InputError(
        f"nothing is {part if part.startswith('before') else 'in ' + part}: the interactions go "
        f"from {shown(int(order[0]))} to {shown(int(order[-1]))}, the cuts are "
        f"{', '.join(map(shown, cuts))}",
        "interactions in every part",
        "change split.validation or split.test",
    )


def shown(moment: int) -> str:
    """A timestamp for people: date and time where it has a unit, else the number."""
    try:
        seconds = moment / units_in_a_second(np.array([moment]), "")
        return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}".removesuffix(" 00:00")
    except (InputError, ValueError, OverflowError, OSError):
        return str(moment)


def split_by_time(
    interactions: Interactions,
    cuts: Cuts,
    *,
    user_min: int = 1,
    item_min: int = 1,
    n: int = 5,
    fewest: int = 1,
    with_features: BoolArray | None = None,
    cold_share: float = 0.1,
    seed: int = 0,
) -> TimeSplit:
    """Divide all interactions at points in time.

    Train is the core of what is before the validation; what is known before the test is the core of
    all that is before it, so whether a user or an item is trained does not depend on what comes.
    Held out are all interactions of trained users with trained items in each holdout. Trained users
    with fewer than `fewest` of these are left out. Users who were not trained are known by what
    they liked before and by the first half, at most n, of their interactions in the test; the
    others are to be found.

    Parameters
    ----------
    interactions : Interactions
    cuts : Cuts
    user_min, item_min : int
        Of the cores.
    n : int
        By how many interactions of the test a new user is known, at most.
    fewest : int
        Fewest held-out interactions of a user who is measured.
    with_features : bool (n_items,) or None
        Items that have features; cold items are drawn from those that are trained.
    cold_share : float
        Share of these items that become cold items.
    seed : int
        Breaks ties in time, and draws the cold items.

    Raises
    ------
    InputError
        If no core is left before a cut, or fewer than ten users can be measured.
    LeakError
        If train had something from after its cut.
    """
    require_timestamp(True, interactions.timestamp is not None)
    time = interactions.timestamp
    assert time is not None
    inside = np.ones(len(time), bool) if cuts.end is None else time < cuts.end
    minimums = user_min, item_min
    train = _core(interactions, time < cuts.validation, minimums, "validation")
    first = inside if cuts.test is None else time < cuts.test
    held = _measured(interactions, train, first & (time >= cuts.validation), fewest, "validation")
    validation = _part(interactions, held)
    before, tested, test = train, held, _part(interactions, np.zeros(len(time), bool))
    window = inside & (time >= cuts.validation)
    if cuts.test is not None:
        before = _core(interactions, time < cuts.test, minimums, "test")
        window = inside & (time >= cuts.test)
        tested = _measured(interactions, before, window, fewest, "test")
        test = _part(interactions, tested)
    refuse_leaks(time, cuts.validation, train, "train")
    refuse_leaks(time, cuts.validation if cuts.test is None else cuts.test, before, "refit")
    time_parts, newcomers = _newcomers(interactions, before, window, tested, n, fewest, seed)
    known = np.zeros(len(interactions.items), bool)
    known[interactions.item[train]] = True
    described = None if with_features is None else with_features[: len(known)] & known
    generator = np.random.default_rng(seed)
    cold = choose_cold(len(interactions.items), described, cold_share, generator)
    days = days_of(interactions)
    parts = Split(_part(interactions, train), validation, test, cold, time=time_parts)
    if days is not None:
        time_parts = replace(time_parts, before_test_days=days[before])
        parts = replace(parts, time=time_parts, train_days=days[train], validation_days=days[held])
    return TimeSplit(parts, cuts, newcomers)


def refuse_leaks(time: Int64Array, cut: int, learned: BoolArray, name: str) -> None:
    """Make sure that nothing from after a cut is among what is learned from.

    Parameters
    ----------
    time : int64 (n,)
    cut : int
        The first moment that is not to be seen.
    learned : bool (n,)
        The interactions that are.
    name : str
        What they are, for the message.

    Raises
    ------
    LeakError
        If there is one.
    """
    late = learned & (time >= cut)
    if late.any():
        raise LeakError(
            f"{int(late.sum()):,} interactions of {name} are from {shown(int(time[late].min()))} "
            f"or later, and the cut is at {shown(cut)}",
            f"a {name} that ends before the cut",
            "report it with the configuration: this is a fault of the split",
        )


def _core(
    interactions: Interactions, before: BoolArray, minimums: tuple[int, int], until: str
) -> BoolArray:
    """Which interactions are the core of those before a cut: bool (n,)."""
    kept = core_of(interactions.user, interactions.item, before, *minimums)
    if not kept.any():
        raise InputError(
            f"before the {until}, {int(before.sum()):,} interactions have no core of users with "
            f"{minimums[0]} and items with {minimums[1]}",
            "users and items to learn from",
            f"cut later (split.{until}), or lower threshold.user_min or threshold.item_min",
        )
    return kept


def _measured(
    interactions: Interactions, known: BoolArray, window: BoolArray, fewest: int, name: str
) -> BoolArray:
    """What known users have with known items in a window, of those who have enough: bool (n,)."""
    users, items = _marked(interactions, known)
    rows = window & users[interactions.user] & items[interactions.item]
    counts = np.bincount(interactions.user[rows], minlength=len(users))
    enough = counts >= fewest
    if (found := int(enough.sum())) < FEWEST_USERS:
        raise InputError(
            f"in the {name}, {found} trained users have {fewest} or more interactions with "
            "trained items",
            f"at least {FEWEST_USERS} such users",
            f"make split.{name} longer, lower split.fewest, or bring more data",
        )
    return rows & enough[interactions.user]


def _marked(interactions: Interactions, rows: BoolArray) -> tuple[BoolArray, BoolArray]:
    """Which users and which items are in some of the interactions."""
    users = np.zeros(len(interactions.users), bool)
    items = np.zeros(len(interactions.items), bool)
    users[interactions.user[rows]] = True
    items[interactions.item[rows]] = True
    return users, items


def _newcomers(
    interactions: Interactions,
    before: BoolArray,
    window: BoolArray,
    tested: BoolArray,
    n: int,
    fewest: int,
    seed: int,
) -> tuple[TimeParts, Newcomers]:
    """What is known of new users, what is to be found, and what is liked of new items."""
    users, items = _marked(interactions, before)
    user, item = interactions.user, interactions.item
    trained_items = items[item]
    new = ~users[user] & trained_items
    place, count = _places_in_time(interactions, window & new, seed)
    given = window & new & (place < np.minimum(n, count // 2))
    found = window & new & ~given
    left = np.bincount(user[found], minlength=len(users))
    has_given = np.bincount(user[given], minlength=len(users)) > 0
    measured = has_given & (left >= fewest)
    assert interactions.timestamp is not None
    earlier = new & (interactions.timestamp < interactions.timestamp[window].min())
    of_new_items = window & users[user] & ~trained_items
    parts = TimeParts(
        _part(interactions, before),
        _part(interactions, (given | earlier) & measured[user]),
        _part(interactions, found & measured[user]),
        _part(interactions, of_new_items),
    )
    active, new_items = _marked(interactions, window)
    warm = _marked(interactions, tested)[0]
    return parts, Newcomers(
        int(measured.sum()),
        int((active & ~warm & ~measured).sum()),
        int((new_items & ~items).sum()),
        int(of_new_items.sum()),
    )


def _places_in_time(
    interactions: Interactions, rows: BoolArray, seed: int
) -> tuple[Int64Array, Int64Array]:
    """Each row's place among its user's in order of time, and how many the user has: int64 (n,).

    Rows that are not asked for have the place 0 of 0. Of equal times the seed decides.
    """
    assert interactions.timestamp is not None
    chance: Float64Array = np.random.default_rng((seed, 1)).random(len(rows))
    chosen = np.flatnonzero(rows)
    user = interactions.user[chosen]
    order = np.lexsort((chance[chosen], interactions.timestamp[chosen], user))
    chosen, user = chosen[order], user[order]
    place, count = np.zeros(len(rows), np.int64), np.zeros(len(rows), np.int64)
    place[chosen] = np.arange(len(chosen)) - np.searchsorted(user, user)
    count[chosen] = np.bincount(user, minlength=1)[user] if len(user) else 0
    return place, count


def _part(interactions: Interactions, rows: BoolArray) -> sp.csr_matrix:
    return interactions.where(rows).matrix()
