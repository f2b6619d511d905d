"""The k-core: users and items with too few interactions removed until none is left."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.base.arrays import BoolArray, Int32Array
from recsys.base.errors import InputError
from recsys.data.interactions import Interactions


@dataclass(frozen=True)
class Pass:
    """What one pass removed, and what is left after it."""

    users_removed: int
    items_removed: int
    interactions_removed: int
    users: int
    items: int
    interactions: int


@dataclass(frozen=True)
class Core:
    """The interactions of the core, re-indexed, and the passes that led to it.

    Parameters
    ----------
    interactions : Interactions
    users, items : int32
        Indices of the core's users and items in the original interactions.
    ledger : tuple of Pass
        One entry per pass; the last one removed nothing.
    """

    interactions: Interactions
    users: Int32Array
    items: Int32Array
    ledger: tuple[Pass, ...]


def density(users: int, items: int, interactions: int) -> float:
    """Percentage of the matrix that is filled, as in the founding article; 0 if it is empty."""
    return 100.0 * interactions / (users * items) if users and items else 0.0


def kcore(interactions: Interactions, user_min: int, item_min: int) -> Core:
    """Keep users with at least `user_min` and items with at least `item_min` interactions.

    Each pass removes items, then users, with too few; passes are repeated until one removes
    nothing. The result is the largest such part and does not depend on the order of removals.

    Raises
    ------
    InputError
        If nothing is left.
    """
    user, item = interactions.user, interactions.item
    kept = np.ones(len(user), dtype=bool)
    ledger: list[Pass] = []
    left = (len(interactions.users), len(interactions.items), len(interactions))
    while True:
        kept = _one_pass(user, item, kept, user_min, item_min)
        now = (_distinct(user[kept]), _distinct(item[kept]), int(kept.sum()))
        ledger.append(Pass(left[0] - now[0], left[1] - now[1], left[2] - now[2], *now))
        if now[2] == left[2]:
            break
        left = now
    if not left[2]:
        busiest, liked = (int(np.bincount(side).max()) for side in (user, item))
        raise nothing_left(len(interactions), busiest, liked, user_min, item_min)
    return _restrict(interactions, kept, tuple(ledger))


def core_of(
    user: Int32Array, item: Int32Array, rows: BoolArray, user_min: int, item_min: int
) -> BoolArray:
    """Which of some interactions are their core; none may be.

    The core of a part is within the core of the whole, so that of what was known at a time is
    found in the core of today.

    Parameters
    ----------
    user, item : int32 (n,)
    rows : bool (n,)
        Those there are.
    user_min, item_min : int

    Returns
    -------
    bool (n,)
    """
    kept, left = rows, -1
    while left != int(kept.sum()):
        left = int(kept.sum())
        kept = _one_pass(user, item, kept, user_min, item_min)
    return kept


def _one_pass(
    user: Int32Array, item: Int32Array, kept: BoolArray, user_min: int, item_min: int
) -> BoolArray:
    """What is left of interactions without the items, then the users, that have too few."""
    for side, minimum in ((item, item_min), (user, user_min)):
        counts = np.bincount(side[kept], minlength=1)
        kept = kept & (counts >= minimum)[np.minimum(side, len(counts) - 1)] & (side < len(counts))
    return kept


def _distinct(indices: Int32Array) -> int:
    """Number of distinct indices; counting is faster than sorting."""
    return int(np.count_nonzero(np.bincount(indices, minlength=1)))


def _renumbered(indices: Int32Array) -> tuple[Int32Array, Int32Array]:
    """The distinct indices, ascending, and the position of each index among them."""
    occurring = np.flatnonzero(np.bincount(indices)).astype(np.int32)
    place = np.zeros(occurring[-1] + 1, dtype=np.int32)
    place[occurring] = np.arange(len(occurring), dtype=np.int32)
    return occurring, place[indices]


def _restrict(interactions: Interactions, kept: BoolArray, ledger: tuple[Pass, ...]) -> Core:
    # Indices keep their order, so the pairs stay sorted.
    users, user = _renumbered(interactions.user[kept])
    items, item = _renumbered(interactions.item[kept])
    weight, timestamp = interactions.weight, interactions.timestamp
    core = Interactions(
        user,
        item,
        None if weight is None else weight[kept],
        None if timestamp is None else timestamp[kept],
        interactions.users.select(users),
        interactions.items.select(items),
    )
    return Core(core, users, items, ledger)


def nothing_left(
    interactions: int, busiest: int, liked: int, user_min: int, item_min: int
) -> InputError:
    """The error of interactions without a core.

    Parameters
    ----------
    interactions : int
    busiest, liked : int
        Interactions of the busiest user and of the most liked item.
    user_min, item_min : int
    """
    return InputError(
        f"no interaction of {interactions:,} is left after dropping users with fewer than "
        f"{user_min} and items with fewer than {item_min} (the busiest user has {busiest:,}, the "
        f"most liked item {liked:,})",
        "a core with users and items in it",
        "lower threshold.user_min or threshold.item_min, or bring more data",
    )
