"""Scoring: scores of a whole catalogue for one query, and the best of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recsys.base.arrays import BoolArray, Float32Array, Int64Array, IntArray
from recsys.bundle import Seen
from recsys.ranking.compiled import group_maxima
from recsys.ranking.rows import Rows

_PRODUCT = 8192
"""Numbers of a block of rows that is multiplied at once: so few that BLAS stays in one thread."""

_GROUP = 32  # scores whose maximum is compared
_FEW = 16 * _GROUP  # scores that are compared themselves


def products(matrix: Float32Array, vector: Float32Array) -> Float32Array:
    """The inner product of every row with a vector: float32 (n,).

    Rows are multiplied in blocks of one size, a multiple of what BLAS takes together, so equal rows
    score equally wherever they stand; one matrix-vector product would sum the last rows otherwise.
    Blocks are faster than rows one by one, see docs/experiments/serving.md.
    """
    n, d = matrix.shape
    size = _PRODUCT // max(d, 1) // 16 * 16
    if not size or not matrix.flags.c_contiguous:
        return np.vecdot(matrix, vector)
    found = np.empty(n, np.float32)
    whole = n // size * size
    blocks = matrix[:whole].reshape(-1, size, d)
    np.matmul(blocks, vector, out=found[:whole].reshape(-1, size))
    if whole < n:
        last = np.zeros((size, d), np.float32)
        last[: n - whole] = matrix[whole:]
        found[whole:] = np.matmul(last, vector)[: n - whole]
    return found


def inverse_lengths(vectors: Float32Array) -> Float32Array:
    """One over the length of every row, 0 for a row without a direction: float32 (n,)."""
    lengths = np.sqrt(np.vecdot(vectors, vectors))
    return np.divide(1, lengths, out=np.zeros_like(lengths), where=lengths > 0)


def best(scores: Float32Array, n: int) -> Int64Array:
    """Where the n largest scores are, best first, equal ones by index: int64 (at most n,).

    A score that is not finite is never among them.
    """
    maxima = _maxima(scores)
    if not bool((maxima < np.inf).all()):  # false for a NaN, which a maximum passes on
        scores = np.where(np.isfinite(scores), scores, np.float32(-np.inf))
        maxima = _maxima(scores)
    found = _hopeful(scores, maxima, n)
    if n < len(found):
        bound = np.partition(scores[found], len(found) - n)[len(found) - n]
        found = found[scores[found] >= bound]
    found = found[scores[found] > -np.inf]
    order = np.argsort(-scores[found], kind="stable")
    return found[order[:n]].astype(np.int64)


def _maxima(scores: Float32Array) -> Float32Array:
    """The maxima of groups of neighbouring scores, and what is left behind them."""
    if len(scores) < _FEW:
        return scores
    groups = len(scores) // _GROUP
    whole = scores[: groups * _GROUP]
    found = np.empty(groups, np.float32)
    if not group_maxima(whole[None], _GROUP, found[None]):
        found = whole.reshape(groups, _GROUP).max(axis=1)
    return np.concatenate([found, scores[len(whole) :]])


def _hopeful(scores: Float32Array, maxima: Float32Array, n: int) -> Int64Array:
    """Where the n largest scores may be, ascending: where at least n groups have no larger one.

    The n-th largest of the groups' maxima is at most the n-th largest score.
    """
    if n >= len(maxima):
        return np.arange(len(scores))
    return np.flatnonzero(scores >= np.partition(maxima, len(maxima) - n)[len(maxima) - n])


def candidates(mask: BoolArray | None, n: int) -> Int64Array | None:
    """What a mask lets pass; None if that is everything, which then needs no copy."""
    return None if mask is None or mask[:n].all() else np.flatnonzero(mask[:n])


def compressed(items: Sequence[IntArray], n_items: int) -> Rows:
    """Lists of items as compressed rows; items from `n_items` on are not ranked anyway."""
    kept = [part[part < n_items] for part in items]
    indptr = np.concatenate([[0], np.cumsum([len(part) for part in kept])])
    return Seen(indptr, np.concatenate([*kept, np.empty(0, np.int32)]).astype(np.int32))
