"""Rows: items found for queries as rows of answers, their ids and names looked up at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recsys.base.arrays import Float32Array, IntArray
from recsys.recommend.queries.answers import Answer, Ranked
from recsys.recommend.queries.view import BundleView


def rows(
    view: BundleView, items: IntArray, scores: Float32Array, reasons: Sequence[str]
) -> tuple[Ranked, ...]:
    """Rows for items of the catalogue."""
    ids, names = view.ids_and_names(items)
    return tuple(map(Ranked, ids, names, scores.tolist(), reasons))


def answers(
    view: BundleView,
    items: IntArray,
    scores: Float32Array,
    reasons: Sequence[str],
    notes: Sequence[tuple[str, ...]],
) -> list[Answer]:
    """Rows of a batch, all ids and names looked up at once; an item of -1 ends a list."""
    counts = (items >= 0).sum(axis=1)
    flat = rows(view, items[items >= 0], scores[items >= 0], reasons)
    ends = np.cumsum(counts)
    return [
        Answer(flat[end - count : end], own)
        for end, count, own in zip(ends, counts, notes, strict=True)
    ]


def popularity(view: BundleView, item: int) -> str:
    """How many users like an item, as the reason of a row."""
    likes = int(view.likes[item])
    return f"{likes:,} like{'' if likes == 1 else 's'}"
