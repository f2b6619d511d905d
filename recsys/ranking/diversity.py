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

from recsys.base.arrays import BoolArray, Float32Array, Float64Array, Int64Array, IntArray
from recsys.ranking.topk import TopK


@dataclass(frozen=True)
class Bound:
    """How many of some items a list may have, at most.

    Parameters
    ----------
    mask : bool (n_items,)
    room : int, or int (n_lists,)
        Of every list, or of each; 0 or less for none.
    """

    mask: BoolArray
    room: int | IntArray


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
    listed = unit[top.items] if weight else np.empty(0, np.float32)
    places = rerank_listed(top, listed, weight, n, bounds)
    return np.where(places >= 0, np.take_along_axis(top.items, np.maximum(places, 0), 1), -1)


def rerank_listed(
    top: TopK, listed: Float32Array, weight: float, n: int, bounds: Sequence[Bound] = ()
) -> Int64Array:
    """As `rerank`, with the vectors of the items of each list.

    Parameters
    ----------
    listed : float32 (n_lists, m, d)
        Not looked at without a weight.

    Returns
    -------
    int64 (n_lists, n)
        Places in the lists, padded with -1.
    """
    items, (n_lists, m) = top.items, top.items.shape
    masks = [bound.mask[items] for bound in bounds]
    room = [np.array(np.broadcast_to(bound.room, n_lists)) for bound in bounds]
    if not weight:
        return _in_order(items, n, masks, room)
    value = _scaled(top, 1 - weight)
    worth = value.copy()
    for mask, free in zip(masks, room, strict=True):
        worth[mask & (free <= 0)[:, None]] = -np.inf
    found = np.full((n_lists, n), -1)
    firsts = np.arange(n_lists) * m
    for place in range(min(n, m)):
        best = worth.argmax(axis=1)
        taken = best + firsts
        there = worth.take(taken) > -np.inf
        if not there.any():
            break
        found[there, place] = best[there]
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


def _in_order(
    items: IntArray, n: int, masks: Sequence[BoolArray], room: Sequence[IntArray]
) -> Int64Array:
    """The first n places of each list for whose items bounds have room, padded with -1."""
    n_lists = len(items)
    left = [np.full(n_lists, n), *room]
    found = np.full((n_lists, n), -1)
    everybody = np.arange(n_lists)
    for column, item in enumerate(items.T):
        free = item >= 0
        having = [free, *(mask[:, column] for mask in masks)]
        for mask, rest in zip(having, left, strict=True):
            free = free & ~(mask & (rest <= 0))
        found[everybody[free], n - left[0][free]] = column
        for mask, rest in zip(having, left, strict=True):
            rest -= mask & free
        if not left[0].any():
            break
    return found


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
