"""Similarity: items like an item, by cosine, biases left out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recsys.base.arrays import Float32Array, Int64Array, IntArray
from recsys.base.errors import InputError
from recsys.ranking.factors import Factors
from recsys.ranking.rows import flatten
from recsys.ranking.topk import top_k
from recsys.recommend.index import Index, search_depth
from recsys.recommend.queries.answers import Answer
from recsys.recommend.queries.filters import Allowed, Filters, allowed_items
from recsys.recommend.queries.rows import answers, rows
from recsys.recommend.queries.scoring import best, candidates, compressed, inverse_lengths, products
from recsys.recommend.queries.subjects import QueryItem
from recsys.recommend.queries.view import BundleView

_COMMON = 3  # common features in a reason, at most


def similar_items(
    view: BundleView, query_item: QueryItem, n: int, filters: Filters, index: Index | None = None
) -> Answer:
    """The n items whose vectors have the highest cosine to the query_item's.

    Raises
    ------
    InputError
        If the query_item has no direction.
    """
    _require_direction(query_item)
    allowed = allowed_items(view, filters)
    notes = (*query_item.notes, *allowed.notes)
    if index is not None:
        pool = index.for_item(query_item.vector, search_depth(n, 1, allowed.mask))
        items, scores = _of_pool(view, query_item, n, filters, allowed, pool)
        if len(items) == n:
            note = f"approximate, recall_at_10 {index.recall['similar']:.2f} as measured"
            return _answer(view, query_item, items, scores, (*notes, note))
        notes = (*notes, "exact: the index found too few")
    scores = _cosines(view, query_item.vector, filters, allowed)
    if query_item.index is not None and query_item.index < len(scores):
        scores[query_item.index] = -np.inf
    items = best(scores, n)
    return _answer(view, query_item, items, scores[items], notes)


def _of_pool(
    view: BundleView,
    query_item: QueryItem,
    n: int,
    filters: Filters,
    allowed: Allowed,
    pool: Int64Array,
) -> tuple[Int64Array, Float32Array]:
    """The best of a few items, by exact cosines."""
    fitting = (pool != query_item.index) & (pool < _within(view, filters))
    fitting &= view.inverse_lengths[pool] > 0
    if allowed.mask is not None:
        fitting &= allowed.mask[pool]
    pool = pool[fitting]
    scores = products(view.vectors[pool], query_item.vector)
    scores *= view.inverse_lengths[pool] * inverse_lengths(query_item.vector[None])[0]
    chosen = best(scores, n)
    return pool[chosen], scores[chosen]


def _answer(
    view: BundleView,
    query_item: QueryItem,
    items: Int64Array,
    scores: Float32Array,
    notes: tuple[str, ...],
) -> Answer:
    reasons = common(view, [query_item.features], [items])
    return Answer(rows(view, items, scores, reasons), notes)


def similar_items_many(
    view: BundleView, query_items: Sequence[QueryItem], n: int, filters: Filters
) -> list[Answer]:
    """The same for many at once, in blocks."""
    for query_item in query_items:
        _require_direction(query_item)
    allowed = allowed_items(view, filters)
    within = _within(view, filters)
    directions = view.vectors[:within] * view.inverse_lengths[:within, None]
    vectors = np.stack([query_item.vector for query_item in query_items])
    vectors *= inverse_lengths(vectors)[:, None]
    nothing = np.zeros(len(query_items), np.float32), np.zeros(within, np.float32)
    itself = [np.array([] if s.index is None else [s.index], np.int32) for s in query_items]
    mask = view.inverse_lengths[:within] > 0
    if allowed.mask is not None:
        mask &= allowed.mask[:within]
    top = top_k(
        Factors(vectors, directions, *nothing),
        np.arange(len(query_items)),
        n,
        known=compressed(itself, within),
        candidates=candidates(mask, within),
    )
    features = [query_item.features for query_item in query_items]
    reasons = common(view, features, [found[found >= 0] for found in top.items])
    notes = [(*query_item.notes, *allowed.notes) for query_item in query_items]
    return answers(view, top.items, top.scores, reasons, notes)


def common(view: BundleView, features: Sequence[IntArray], items: Sequence[IntArray]) -> list[str]:
    """Which features items have in common with what was asked for: the rarest, as lookup.

    Parameters
    ----------
    features : sequence of int arrays
        Of each query_item.
    items : sequence of int arrays
        Those found for each.

    Returns
    -------
    list of str
        One for each item, query_item after query_item.
    """
    side, lookup = view.bundle.item_features, view.item_lookup
    found = np.concatenate(items)
    reasons = [""] * len(found)
    if side is None or lookup is None:
        return reasons
    width = side.profiles.n_features
    places = np.arange(len(items))
    subject_of = np.repeat(places, [len(part) for part in items])
    owner_of = np.repeat(places, [len(part) for part in features])
    wanted = owner_of * width + np.concatenate(features)
    entries, pairs = flatten(side.profiles, found)
    there = side.profiles.indices[entries]
    shared = np.isin(subject_of[pairs] * width + there, wanted)
    pairs, there = pairs[shared], there[shared]
    order = np.lexsort((there, -side.profiles.idf[there], pairs))
    pairs, there = pairs[order], there[order]
    few = np.arange(len(pairs)) - np.searchsorted(pairs, pairs) < _COMMON
    for pair, name in zip(pairs[few].tolist(), lookup.names(there[few]), strict=True):
        reasons[pair] += f", {name}" if reasons[pair] else f"both {name}"
    return reasons


def _cosines(
    view: BundleView, vector: Float32Array, filters: Filters, allowed: Allowed
) -> Float32Array:
    """Cosines of the catalogue, -inf for what has no direction or may not be answered."""
    within = _within(view, filters)
    inverse = view.inverse_lengths[:within]
    scores = products(view.vectors[:within], vector)
    scores *= inverse * inverse_lengths(vector[None])[0]
    scores[inverse == 0] = -np.inf
    if allowed.mask is not None:
        scores[~allowed.mask[:within]] = -np.inf
    return scores


def _within(view: BundleView, filters: Filters) -> int:
    return view.bundle.trained if filters.include_untrained is False else len(view.vectors)


def _require_direction(query_item: QueryItem) -> None:
    if not query_item.vector.any():
        raise InputError(
            f"{query_item.title!r}, which has neither likes nor known features",
            "an item that something is known of",
            "ask for another one, or give features",
        )
