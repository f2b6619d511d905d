"""People: items for users, known or new, one at a time or many at once."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recsys.base.arrays import BoolArray, Float32Array, Int64Array, IntArray
from recsys.bundle import Seen
from recsys.ranking.factors import Factors
from recsys.ranking.topk import Rows, top_k
from recsys.recommend.index import Index
from recsys.recommend.queries.answers import Answer, Ranked
from recsys.recommend.queries.filters import Allowed, Filters, allowed_items
from recsys.recommend.queries.newcomers import Taste
from recsys.recommend.queries.selection import best, inverse_lengths, products
from recsys.recommend.queries.source import Source

_MOST = 4096  # items that an index is asked for, at most

FEW = 8
"""Up to so many users, one matrix-vector product each is faster than the kernel for blocks."""


def recommend(
    source: Source, taste: Taste, n: int, filters: Filters, index: Index | None = None
) -> Answer:
    """The n best items for somebody; of those an index finds, if one is given."""
    allowed = allowed_items(source, filters)
    if index is None or taste.vector is None or taste.cosine:
        return _one(source, taste, n, filters, allowed)
    if filters.include_untrained:
        # The index holds what is recommended by default.
        return told(_one(source, taste, n, filters, allowed), "exact: untrained items asked for")
    pool = index.for_user(taste.vector, wanted(n, len(taste.liked), allowed))
    found = _of_pool(source, taste, n, filters, allowed, pool)
    if len(found) < n:
        return told(_one(source, taste, n, filters, allowed), "exact: the index found too few")
    return told(found, f"approximate, recall_at_10 {index.recall['recommend']:.2f} as measured")


def wanted(n: int, dropped: int, allowed: Allowed) -> int:
    """How many to ask an index for, so that enough are left of them after the filters."""
    share = 1.0 if allowed.mask is None else float(allowed.mask.mean())
    return min(_MOST, int((n + dropped) / max(share, 1 / 16)) + n)


def told(found: Answer, note: str) -> Answer:
    return Answer(found.rows, (*found.notes, note))


def _of_pool(
    source: Source, taste: Taste, n: int, filters: Filters, allowed: Allowed, pool: Int64Array
) -> Answer:
    """The best of a few items, scored exactly."""
    assert taste.vector is not None
    if allowed.mask is not None:
        pool = pool[allowed.mask[pool]]
    if not filters.include_seen:
        pool = pool[~np.isin(pool, taste.liked)]
    scores = products(source.vectors[pool], taste.vector)
    scores = scores + (source.factors.item_biases[pool] + np.float32(taste.bias))
    chosen = best(scores, n)
    reasons = Reasons(source, taste).of(pool[chosen])
    found = rows(source, pool[chosen], scores[chosen], reasons)
    return Answer(found, (*taste.notes, *allowed.notes))


def recommend_many(
    source: Source, tastes: Sequence[Taste], n: int, filters: Filters
) -> list[Answer]:
    """The same for many at once, in blocks."""
    allowed = allowed_items(source, filters)
    usual = [i for i, taste in enumerate(tastes) if taste.vector is not None and not taste.cosine]
    answers: dict[int, Answer] = {}
    if len(usual) > FEW:
        block = [tastes[i] for i in usual]
        answers = dict(zip(usual, _block(source, block, n, filters, allowed), strict=True))
    return [
        answers[i] if i in answers else _one(source, taste, n, filters, allowed)
        for i, taste in enumerate(tastes)
    ]


def _one(source: Source, taste: Taste, n: int, filters: Filters, allowed: Allowed) -> Answer:
    scores = _scores(source, taste, filters)
    if allowed.mask is not None:
        scores[~allowed.mask[: len(scores)]] = -np.inf
    if not filters.include_seen:
        scores[taste.liked[taste.liked < len(scores)]] = -np.inf
    items = best(scores, n)
    reasons = [popularity(source, item) for item in items]
    if taste.vector is not None:
        reasons = Reasons(source, taste).of(items)
    return Answer(rows(source, items, scores[items], reasons), (*taste.notes, *allowed.notes))


def _scores(source: Source, taste: Taste, filters: Filters) -> Float32Array:
    """Scores of the whole catalogue, or of trained items: float32, an array of our own."""
    if taste.vector is None:
        return source.likes.astype(np.float32)
    factors = source.factors if filters.include_untrained else source.trained
    scores = products(factors.item_factors, taste.vector)
    if not taste.cosine:
        return scores + (factors.item_biases + np.float32(taste.bias))
    inverse = source.inverse_lengths[: factors.n_items]
    scores *= inverse * inverse_lengths(taste.vector[None])[0]
    scores[inverse == 0] = -np.inf
    return scores


def _block(
    source: Source, tastes: Sequence[Taste], n: int, filters: Filters, allowed: Allowed
) -> list[Answer]:
    items = source.factors if filters.include_untrained else source.trained
    vectors = np.stack([taste.vector for taste in tastes if taste.vector is not None])
    biases = np.array([taste.bias for taste in tastes], np.float32)
    factors = Factors(vectors, items.item_factors, biases, items.item_biases)
    top = top_k(
        factors,
        np.arange(len(tastes)),
        n,
        known=None if filters.include_seen else lists([t.liked for t in tastes], items.n_items),
        candidates=candidates(allowed.mask, items.n_items),
    )
    notes = [(*taste.notes, *allowed.notes) for taste in tastes]
    reasons = [
        reason
        for taste, found in zip(tastes, top.items, strict=True)
        for reason in Reasons(source, taste).of(found[found >= 0])
    ]
    return answers(source, top.items, top.scores, reasons, notes)


def candidates(mask: BoolArray | None, n: int) -> Int64Array | None:
    """What a mask lets pass; None if that is everything, which then needs no copy."""
    return None if mask is None or mask[:n].all() else np.flatnonzero(mask[:n])


def lists(items: Sequence[IntArray], n_items: int) -> Rows:
    """Lists of items as compressed rows; items from `n_items` on are not ranked anyway."""
    kept = [part[part < n_items] for part in items]
    indptr = np.concatenate([[0], np.cumsum([len(part) for part in kept])])
    return Seen(indptr, np.concatenate([*kept, np.empty(0, np.int32)]).astype(np.int32))


def answers(
    source: Source,
    items: IntArray,
    scores: Float32Array,
    reasons: Sequence[str],
    notes: Sequence[tuple[str, ...]],
) -> list[Answer]:
    """Rows of a batch, all ids and names looked up at once; an item of -1 ends a list."""
    counts = (items >= 0).sum(axis=1)
    flat = rows(source, items[items >= 0], scores[items >= 0], reasons)
    ends = np.cumsum(counts)
    return [
        Answer(flat[end - count : end], said)
        for end, count, said in zip(ends, counts, notes, strict=True)
    ]


def rows(
    source: Source, items: IntArray, scores: Float32Array, reasons: Sequence[str]
) -> tuple[Ranked, ...]:
    """Rows for items of the catalogue."""
    ids, names = source.ids_and_names(items)
    return tuple(map(Ranked, ids, names, scores.tolist(), reasons))


def popularity(source: Source, item: int) -> str:
    likes = int(source.likes[item])
    return f"{likes:,} like{'' if likes == 1 else 's'}"


class Reasons:
    """Why items are recommended: the liked item, or tag, or feature of the user's own, that is
    nearest; nothing where none is on the same side."""

    def __init__(self, source: Source, taste: Taste) -> None:
        self._source, self._taste = source, taste
        vectors = [source.vectors[taste.liked]]
        inverse = [source.inverse_lengths[taste.liked]]
        self._tags = source.bundle.item_features if len(taste.tags) else None
        if self._tags is not None:
            vectors.append(self._tags.mapping.feature_factors[taste.tags])
            inverse.append(source.inverse_feature_lengths[taste.tags])
        own = source.bundle.user_features
        if own is not None and len(taste.features) and not len(taste.liked):
            vectors.append(own.mapping.feature_factors[taste.features])
            inverse.append(inverse_lengths(vectors[-1]))
        self._vectors = np.concatenate(vectors) if len(vectors) > 1 else vectors[0]
        self._inverse = np.concatenate(inverse) if len(inverse) > 1 else inverse[0]

    def of(self, items: IntArray) -> list[str]:
        if not len(self._vectors) or not len(items):
            return [""] * len(items)
        alike = (self._source.vectors[items] @ self._vectors.T) * self._inverse
        # An item that is liked, shown because likes were asked for, is no reason for itself.
        alike[:, : len(self._taste.liked)][items[:, None] == self._taste.liked] = -np.inf
        nearest = alike.argmax(axis=1)
        real = alike[np.arange(len(items)), nearest] > 0
        words = self._words(nearest[real])
        found = iter(words)
        return [next(found) if there else "" for there in real]

    def _words(self, places: Int64Array) -> list[str]:
        liked, tags = self._taste.liked, self._taste.tags
        if not len(tags) and not len(self._taste.features):
            return [f"like {name}" for name in self._source.names(liked[places])]
        return [self._word(place) for place in places]

    def _word(self, place: int) -> str:
        liked, tags = self._taste.liked, self._taste.tags
        if place < len(liked):
            return f"like {self._source.names(liked[place : place + 1])[0]}"
        place -= len(liked)
        n_tags = len(tags) if self._tags is not None else 0
        if place < n_tags:
            assert self._source.words is not None
            return f"suits {self._source.words.names(tags[place : place + 1])[0]}"
        assert self._source.user_words is not None
        feature = self._taste.features[place - n_tags]
        return f"suits {self._source.user_words.names([feature])[0]}"
