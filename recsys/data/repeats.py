"""Repeats: pairs of user and item that occur several times, made one."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from recsys.base.arrays import Float32Array, Float64Array, Int32Array, Int64Array
from recsys.base.errors import InputError

Repeats: TypeAlias = Literal["sum", "last", "max", "count"]
Combined: TypeAlias = tuple[Int32Array, Int32Array, Float32Array | None, Int64Array | None]


def combine(
    key: Int64Array,
    n_items: int,
    weight: Float64Array | None,
    timestamp: Int64Array | None,
    repeats: Repeats,
) -> Combined:
    """Each pair once, whatever the order of the rows.

    Parameters
    ----------
    key : int64 (n,)
        user * n_items + item; changed here.
    n_items : int
    weight : float64 (n,) or None
    timestamp : int64 (n,) or None
    repeats : {"sum", "last", "max", "count"}
        What a pair weighs; its time is the latest.

    Returns
    -------
    user, item : int32 (m,)
        Sorted.
    weight : float32 (m,) or None
    timestamp : int64 (m,) or None
    """
    if weight is None and timestamp is None and repeats != "count":
        # Sorting values alone is several times faster than `np.unique` or sorting with positions.
        key.sort()
        key = key[np.flatnonzero(np.diff(key, prepend=-1))]
        user, item = (part.astype(np.int32) for part in np.divmod(key, n_items))
        return user, item, None, None
    if repeats == "last" and weight is not None and timestamp is None:
        raise InputError(
            'data.repeats is "last", and the interactions have no timestamp',
            "one, to know which weight is the last",
            "name the column in data.timestamp_column",
        )
    # Sorted by weight as well, for sums of floating-point numbers depend on their order.
    by_time = repeats == "last" and timestamp is not None
    order = np.lexsort(
        [part for part in (weight, timestamp if by_time else None, key) if part is not None]
    )
    key = key[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    if timestamp is not None:
        timestamp = np.maximum.reduceat(timestamp[order], first)
    if repeats == "count":
        weight = np.diff(np.append(first, len(key))).astype(np.float64)
    elif weight is not None:
        weight = weight[order]
        if repeats == "sum":
            weight = np.add.reduceat(weight, first)
        else:
            # Of the largest, and of the latest, it is the last one of each pair.
            weight = weight[np.append(first[1:], len(weight)) - 1]
    user, item = (part.astype(np.int32) for part in np.divmod(key[first], n_items))
    return user, item, None if weight is None else _as_float32(weight), timestamp


def _as_float32(weight: Float64Array) -> Float32Array:
    return np.minimum(weight, np.finfo(np.float32).max).astype(np.float32)
