"""Diversity: lists ranked again so that their items differ, and how much the items of lists differ.

References
----------
Carbonell and Goldstein, The Use of MMR, Diversity-Based Reranking for Reordering Documents and
Producing Summaries, SIGIR 1998.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from recsys.base.arrays import BoolArray, Float32Array, Float64Array, IntArray
from recsys.ranking.topk import TopK


@dataclass(frozen=True)
class Bound:
    """How many of some items a list may have, at most.

    Parameters
    ----------
    mask : bool (n_items,)
    room : int
        0 or less for none.
    """

    mask: BoolArray
    room: int


def rerank(
    top: TopK, unit: Float32Array, weight: float, n: int, bounds: Sequence[Bound] = ()
) -> IntArray:
    """The n items of each list with maximal marginal relevance.

    One after the other, the item is taken whose `(1 - weight) * score - weight * likeness` is
    highest: the score scaled to between 0 and 1 within the list, the likeness its largest cosine
    to an item taken before, 0 at least. What a bound has no room for is passed over.

    Parameters
    ----------
    top : TopK
        Lists that are longer than n, (n_lists, m), best first, padded with -1.
    unit : float32 (n_items, d)
        Of all items, see `directions`; not looked at without a weight.
    weight : float
        Between 0 and 1; 0 leaves the order as it is.
    n : int
    bounds : sequence of Bound
        They hold for every list.

    Returns
    -------
    int (n_lists, n)
        Item indices, padded with -1.
    """
    items, (n_lists, m) = top.items, top.items.shape
    if not weight:
        return np.array([_in_order(row, n, bounds) for row in items], items.dtype).reshape(-1, n)
    value, listed = _scaled(top, 1 - weight), unit[items]
    masks = [bound.mask[items] for bound in bounds]
    room = [np.full(n_lists, bound.room) for bound in bounds]
    worth = value.copy()
    for bound, mask in zip(bounds, masks, strict=True):
        if bound.room <= 0:
            worth[mask] = -np.inf
    found = np.full((n_lists, n), -1, items.dtype)
    firsts = np.arange(n_lists) * m
    for place in range(min(n, m)):
        taken = worth.argmax(axis=1) + firsts
        there = worth.take(taken) > -np.inf
        if not there.any():
            break
        found[there, place] = items.take(taken[there])
        # The worth of an item falls with its largest likeness to one taken before, from 0 on.
        alike = np.vecdot(listed, listed.reshape(-1, listed.shape[2])[taken][:, None])
        np.minimum(worth, value - np.float32(weight) * alike, out=worth)
        worth.reshape(-1)[taken] = -np.inf
        for mask, free in zip(masks, room, strict=True):
            one_more = mask.take(taken) & there
            free -= one_more
            for row in np.flatnonzero(one_more & (free == 0)):
                worth[row, mask[row]] = -np.inf
    return found


def _in_order(items: IntArray, n: int, bounds: Sequence[Bound]) -> list[int]:
    """The first n items of a list for which bounds have room, padded with -1."""
    room = [bound.room for bound in bounds]
    masks = [bound.mask[items].tolist() for bound in bounds]
    found: list[int] = []
    for place, item in enumerate(items.tolist()):
        if item < 0 or len(found) == n:
            break
        having = [kind for kind, mask in enumerate(masks) if mask[place]]
        if all(room[kind] > 0 for kind in having):
            found.append(item)
            for kind in having:
                room[kind] -= 1
    return found + [-1] * (n - len(found))


def _scaled(top: TopK, most: float) -> Float32Array:
    """Scores between 0 and `most` within each list; -inf where there is no item."""
    real = top.items >= 0
    low = top.scores.min(axis=1, where=real, initial=np.inf, keepdims=True)
    high = top.scores.max(axis=1, where=real, initial=-np.inf, keepdims=True)
    with np.errstate(invalid="ignore"):
        scaled = np.float32(most) * (top.scores - low) / np.where(high > low, high - low, 1)
    return np.where(real, scaled, np.float32(-np.inf))


def intra_list_diversity(lists: IntArray, unit: Float32Array) -> Float64Array:
    """One minus the mean cosine of two items of each list: float64 (n_lists,).

    Parameters
    ----------
    lists : int (n_lists, n)
        Item indices, padded with -1. A list of fewer than two items has diversity 0.
    unit : float32 (n_items, d)
        Of all items, see `directions`.
    """
    real = lists >= 0
    listed = unit[lists] * real[:, :, None]
    count = real.sum(axis=1)
    # The squared length of a sum of unit vectors has each pair twice, and each item once.
    together = np.vecdot(listed, listed).sum(axis=1)
    total = listed.sum(axis=1, dtype=np.float64)
    pairs = (np.vecdot(total, total) - together) / np.maximum(1, count * (count - 1))
    found: Float64Array = np.where(count > 1, 1 - pairs, 0.0)
    return found


def directions(vectors: Float32Array) -> Float32Array:
    """Vectors of length one, zero where there is no direction."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Float32Array = np.divide(vectors, lengths, out=np.zeros_like(vectors), where=lengths > 0)
    return found
