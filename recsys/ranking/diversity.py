"""Diversity: lists ranked again so that their items differ, and how much the items of lists differ.

References
----------
Carbonell and Goldstein, The Use of MMR, Diversity-Based Reranking for Reordering Documents and
Producing Summaries, SIGIR 1998.
"""

from __future__ import annotations

import numpy as np

from recsys.base.arrays import Float32Array, Float64Array, IntArray
from recsys.ranking.topk import TopK


def rerank(top: TopK, unit: Float32Array, weight: float, n: int) -> IntArray:
    """The n items of each list with maximal marginal relevance.

    One after the other, the item is taken whose `(1 - weight) * score - weight * likeness` is
    highest: the score scaled to between 0 and 1 within the list, the likeness its largest cosine
    to an item taken before, 0 at least.

    Parameters
    ----------
    top : TopK
        Lists that are longer than n, (n_lists, m), padded with -1.
    unit : float32 (n_items, d)
        Of all items, see `directions`.
    weight : float
        Between 0 and 1; 0 leaves the order as it is.
    n : int

    Returns
    -------
    int (n_lists, n)
        Item indices, padded with -1.
    """
    items, real = top.items, top.items >= 0
    scores = np.where(real, top.scores, np.nan)
    with np.errstate(invalid="ignore"):
        low = np.where(real, scores, np.inf).min(axis=1, initial=np.inf)[:, None]
        high = np.where(real, scores, -np.inf).max(axis=1, initial=-np.inf)[:, None]
        value = (1 - weight) * (scores - low) / np.where(high > low, high - low, 1)
    listed = unit[items]
    alike = np.zeros(items.shape, np.float32)
    left, rows = real.copy(), np.arange(len(items))
    found = np.full((len(items), n), -1, items.dtype)
    for place in range(min(n, items.shape[1])):
        taken = np.where(left, value - weight * alike, -np.inf).argmax(axis=1)
        there = left[rows, taken]
        found[there, place] = items[rows, taken][there]
        left[rows, taken] = False
        np.maximum(alike, np.vecdot(listed, listed[rows, taken][:, None]), out=alike)
    return found


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
