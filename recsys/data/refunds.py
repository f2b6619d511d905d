"""Refunds: purchases that were cancelled, found by user, item and time."""

from __future__ import annotations

import numpy as np

from recsys.base.arrays import BoolArray, Float64Array, Int64Array


def cancelled(
    key: Int64Array, timestamp: Int64Array | None, purchase: BoolArray, refund: BoolArray
) -> BoolArray:
    """The purchases that a refund cancels: each the latest one before it that is left.

    Parameters
    ----------
    key : int64 (n,)
        The pair of user and item of each row.
    timestamp : int64 (n,) or None
        None: every purchase comes before every refund.
    purchase, refund : bool (n,)

    Returns
    -------
    bool (n,)
        A refund without a purchase before it cancels nothing.
    """
    found = np.zeros(len(key), dtype=bool)
    rows = np.flatnonzero((purchase | refund) & np.isin(key, key[refund]))
    if not len(rows):
        return found
    step = np.where(refund[rows], -1, 1)
    # At one moment the purchase comes first.
    rows = rows[_in_time(key[rows], timestamp, rows, step)]
    step = np.where(refund[rows], -1, 1)
    first, pair = _groups(key[rows])
    total = np.cumsum(step)
    total = total - (total[first] - step[first])[pair]
    # The lowest sum so far of each pair: those of one pair are kept below those of the one before.
    apart = pair * (len(rows) + 1)
    lowest = np.minimum.accumulate(np.minimum(total, 0) - apart) + apart
    # Purchases and refunds are like brackets; those that belong together are on one level.
    level = total - lowest + (step < 0)
    order = np.lexsort((np.arange(len(rows)), level, pair))
    pair, level, step, rows = (part[order] for part in (pair, level, step, rows))
    together = (pair[1:] == pair[:-1]) & (level[1:] == level[:-1])
    found[rows[:-1][together & (step[:-1] > 0) & (step[1:] < 0)]] = True
    return found


def remaining_shares(
    key: Int64Array, timestamp: Int64Array | None, amount: Float64Array
) -> tuple[Int64Array, Float64Array]:
    """What is left of each pair with negative amounts, as a share of what was bought.

    Parameters
    ----------
    key : int64 (n,)
    timestamp : int64 (n,) or None
    amount : float64 (n,)
        Negative for what was given back, which is never more than was bought before.

    Returns
    -------
    key : int64 (m,)
        Ascending; pairs without a negative amount are not among them.
    share : float64 (m,)
    """
    rows = np.flatnonzero(np.isin(key, key[amount < 0]))
    if not len(rows):
        return key[:0], amount[:0]
    rows = rows[_in_time(key[rows], timestamp, rows, amount[rows])]
    own, moved = key[rows], amount[rows]
    first, pair = _groups(own)
    bought = np.add.reduceat(np.maximum(moved, 0), first)
    total = np.cumsum(moved)
    total = total - (total[first] - moved[first])[pair]
    last = np.append(first[1:], len(rows)) - 1
    left = total[last] - np.minimum(np.minimum.reduceat(total, first), 0)
    share = np.divide(left, bought, out=np.zeros_like(left), where=bought > 0)
    return own[first], np.where(share < 1e-9, 0.0, np.minimum(share, 1.0))


def _in_time(
    key: Int64Array, timestamp: Int64Array | None, rows: Int64Array, amount: np.ndarray
) -> Int64Array:
    """The order of rows by pair and time, what was bought before what was given back."""
    when = np.zeros(len(rows)) if timestamp is None else timestamp[rows]
    return np.lexsort((-amount, when, key))


def _groups(key: Int64Array) -> tuple[Int64Array, Int64Array]:
    """Where each pair begins, and which pair each row is of."""
    starts = np.diff(key, prepend=-1) != 0
    return np.flatnonzero(starts), np.cumsum(starts) - 1
