"""Recommendation: items for users, known or new, one at a time or many at once."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from itertools import islice

import numpy as np

from recsys.base.arrays import Float32Array, Int64Array, IntArray
from recsys.ranking.factors import Factors
from recsys.ranking.neighbours import blended
from recsys.ranking.topk import top_k
from recsys.recommend.index import Index, search_depth
from recsys.recommend.queries.answers import Answer
from recsys.recommend.queries.filters import Allowed, Filters, allowed_items
from recsys.recommend.queries.reasons import Reasons, reasons_of_many
from recsys.recommend.queries.rows import answers, popularity, rows
from recsys.recommend.queries.ruled import Chosen, choose, rules_of
from recsys.recommend.queries.ruled_blocks import Offered, choose_many
from recsys.recommend.queries.scoring import best, candidates, compressed, inverse_lengths, products
from recsys.recommend.queries.subjects import QueryUser, known_ids
from recsys.recommend.queries.view import BundleView

_SCREENED = 1 / 8
"""Of all items, at most so many are scored after screening; more would be no faster."""
_ROUNDED = 2.0**-19
"""What adding biases and neighbours' weights may round off, as a share of the largest of them."""
FEW = 8
"""Up to so many users, one matrix-vector product each is faster than the kernel for blocks."""


def recommend(
    view: BundleView, user: QueryUser, n: int, filters: Filters, index: Index | None = None
) -> Answer:
    """The n items with the highest scores for a user; of those an index finds, if one is given."""
    allowed = allowed_items(view, filters)
    if index is not None and view.rules is not None:
        return _one(view, user, n, filters, allowed).with_note("exact: there are house rules")
    if index is None or user.vector is None or user.cosine:
        return _one(view, user, n, filters, allowed)
    if filters.include_untrained:
        # The index holds what is recommended by default.
        return _one(view, user, n, filters, allowed).with_note("exact: untrained items asked for")
    depth = search_depth(n, len(user.liked), allowed.mask)
    added = view.neighbour_scores(user.liked, user.trained)
    pool = index.candidates(user.vector, added, depth)
    found = _of_pool(view, user, n, filters, allowed, pool)
    if len(found) < n:
        return _one(view, user, n, filters, allowed).with_note("exact: the index found too few")
    return found.with_note(f"approximate, recall_at_10 {index.recall['recommend']:.2f} as measured")


def _of_pool(
    view: BundleView, user: QueryUser, n: int, filters: Filters, allowed: Allowed, pool: Int64Array
) -> Answer:
    """The best of a few items, scored exactly."""
    assert user.vector is not None
    if allowed.mask is not None:
        pool = pool[allowed.mask[pool]]
    if not filters.include_seen:
        pool = pool[~np.isin(pool, user.liked)]
    pool = pool[~np.isin(pool, user.hidden)]
    scores = _scores_of(view, user, pool, view.neighbour_scores(user.liked, user.trained))
    chosen = best(scores, n)
    reasons = Reasons(view, user).of(pool[chosen])
    found = rows(view, pool[chosen], scores[chosen], reasons)
    return Answer(found, (*user.notes, *allowed.notes))


def _scores_of(
    view: BundleView, user: QueryUser, items: Int64Array, added: Float32Array | None
) -> Float32Array:
    """Scores of some items, the same to the last bit as those among all: float32 (n,).

    Parameters
    ----------
    added : float32 (n_trained,) or None
        What neighbours add to the scores of all items.
    """
    assert user.vector is not None
    scores = products(view.vectors[items], user.vector)
    scores = scores + (view.factors.item_biases[items] + np.float32(user.bias))
    if added is not None:
        inside = items < len(added)
        scores[inside] += added[items[inside]]
    return scores


def recommend_many(
    view: BundleView, users: Sequence[QueryUser], n: int, filters: Filters
) -> list[Answer]:
    """The same for many at once, in blocks of users who are trained, and of those who are not.

    By house rules too, see `recsys.recommend.queries.ruled_blocks`.
    """
    allowed = allowed_items(view, filters)
    if view.rules is not None and len(users) > FEW:
        return _ruled(view, users, n, filters, allowed)
    answers: dict[int, Answer] = {}
    for trained in (True, False):  # their likes count otherwise
        usual = [
            i
            for i, user in enumerate(users)
            if view.rules is None  # a few are asked for alone
            and user.vector is not None
            and not user.cosine
            and user.trained == trained
            and not len(user.hidden)
        ]
        if len(usual) > FEW:
            block = [users[i] for i in usual]
            answers |= zip(usual, _block(view, block, n, filters, allowed), strict=True)
    return [
        answers[i] if i in answers else _one(view, user, n, filters, allowed)
        for i, user in enumerate(users)
    ]


def ruled_lists(
    view: BundleView,
    users: Sequence[QueryUser],
    n: int,
    filters: Filters,
    allowed: Allowed,
    threads: int = 1,
) -> list[Chosen]:
    """The n best items of many users by the rules of the view."""
    rules = rules_of(view)
    assert rules is not None
    trained = len(view.bundle.items) if filters.include_untrained else view.bundle.trained
    offered = Offered(allowed.mask, filters.include_seen, trained)
    found = choose_many(view, rules, users, n, offered, threads)
    return [
        found[place] if place in found else best_items(view, user, n, filters, allowed)
        for place, user in enumerate(users)
    ]


def _ruled(
    view: BundleView, users: Sequence[QueryUser], n: int, filters: Filters, allowed: Allowed
) -> list[Answer]:
    lists = ruled_lists(view, users, n, filters, allowed)
    found = iter(reasons_of_many(view, users, [one.items for one in lists]))
    words: list[str] = []
    for user, one in zip(users, lists, strict=True):
        own = list(islice(found, len(one.items)))
        if user.vector is None:
            own = [popularity(view, item) for item in one.items]
        words += one.with_reasons(own) if any(one.placed) else own
    items = np.concatenate([one.items for one in lists])
    flat = iter(rows(view, items, np.concatenate([one.scores for one in lists]), words))
    return [
        Answer(tuple(islice(flat, len(one.items))), (*user.notes, *allowed.notes))
        for user, one in zip(users, lists, strict=True)
    ]


def best_items(
    view: BundleView,
    user: QueryUser,
    n: int,
    filters: Filters,
    allowed: Allowed,
) -> Chosen:
    """The n best items for a user, as the scores have them, or as house rules do."""
    rules = rules_of(view)
    if rules is None and (found := _screened(view, user, n, filters, allowed)) is not None:
        return found
    everything = filters if rules is None else replace(filters, include_untrained=True)
    scores = _scores(view, user, everything)
    _leave_out(scores, user, filters, allowed)
    if rules is not None:
        trained = len(scores) if filters.include_untrained else view.bundle.trained
        return choose(view, rules, user, n, scores, trained)
    items = best(scores, n)
    return Chosen(items, scores[items])


def _offered(view: BundleView, filters: Filters) -> Factors:
    """The factors of the items that may be in a list: the whole catalogue, or those trained."""
    return view.factors if filters.include_untrained else view.trained


def _leave_out(scores: Float32Array, user: QueryUser, filters: Filters, allowed: Allowed) -> None:
    """Overwrite the scores of what is not to be in the list."""
    if allowed.mask is not None:
        scores[~allowed.mask[: len(scores)]] = -np.inf
    if not filters.include_seen:
        scores[user.liked[user.liked < len(scores)]] = -np.inf
    scores[user.hidden[user.hidden < len(scores)]] = -np.inf


def _screened(
    view: BundleView, user: QueryUser, n: int, filters: Filters, allowed: Allowed
) -> Chosen | None:
    """The n best items, of those whose bounds do not rule them out; None where that is no shorter.

    The n items with the largest bounds are scored first. The least of these scores is at most the
    n-th best of all, so that an item with a lower bound is not among the best.
    """
    factors = _offered(view, filters)
    if user.vector is None or user.cosine or n > _SCREENED * factors.n_items:
        return None
    if (screen := view.bundle.screening.often()) is None:
        return None
    added = view.neighbour_scores(user.liked, user.trained)
    sizes = screen.largest + abs(user.bias)
    if added is not None:
        sizes += max(float(added.max(initial=0)), -float(added.min(initial=0)))
    bounds = screen.bounds(user.vector, factors.n_items, user.bias + sizes * _ROUNDED)
    if bounds is None or not math.isfinite(sizes):
        return None
    if added is not None:
        bounds[: len(added)] += added
    _leave_out(bounds, user, filters, allowed)
    items = np.sort(best(bounds, n))
    scores = _scores_of(view, user, items, added)
    if len(items) == n:
        items = np.flatnonzero(bounds >= scores.min())
        if not n <= len(items) <= _SCREENED * factors.n_items:
            return None
        scores = _scores_of(view, user, items, added)
    chosen = best(scores, n)
    return Chosen(items[chosen], scores[chosen])


def _one(view: BundleView, user: QueryUser, n: int, filters: Filters, allowed: Allowed) -> Answer:
    chosen = best_items(view, user, n, filters, allowed)
    if user.vector is None:
        reasons = [popularity(view, item) for item in chosen.items]
    else:
        reasons = Reasons(view, user).of(chosen.items)
    found = rows(view, chosen.items, chosen.scores, chosen.with_reasons(reasons))
    return Answer(found, (*user.notes, *allowed.notes))


def _scores(view: BundleView, user: QueryUser, filters: Filters) -> Float32Array:
    """Scores of the whole catalogue, or of trained items: float32, an array of our own."""
    factors = _offered(view, filters)
    if user.vector is None:
        return view.likes[: factors.n_items].astype(np.float32)
    scores = products(factors.item_factors, user.vector)
    if not user.cosine:
        scores = scores + (factors.item_biases + np.float32(user.bias))
        if (added := view.neighbour_scores(user.liked, user.trained)) is not None:
            scores[: len(added)] += added
        return scores
    inverse = view.inverse_lengths[: factors.n_items]
    scores *= inverse * inverse_lengths(user.vector[None])[0]
    scores[inverse == 0] = -np.inf
    return scores


def rank(view: BundleView, user: QueryUser, items: Sequence[object]) -> Answer:
    """These items of the catalogue by their scores for a user, whether liked or not."""
    notes = list(user.notes)
    chosen = known_ids(view.bundle.items, items, notes)
    scores = _scores(view, user, Filters(include_untrained=True))[chosen]
    # What has no direction in an answer by likeness comes last, as it does for everybody else.
    scores = np.where(np.isfinite(scores), scores, np.float32(0))
    order = np.argsort(-scores, kind="stable")
    found = chosen[order]
    reasons = [popularity(view, item) for item in found]
    if user.vector is not None:
        reasons = Reasons(view, user).of(found)
    liked = np.isin(found, user.liked)
    reasons = ["liked" if own else reason for own, reason in zip(liked, reasons, strict=True)]
    return Answer(rows(view, found, scores[order], reasons), tuple(notes))


def scores_of_liked(view: BundleView, user: QueryUser) -> tuple[IntArray, Float32Array]:
    """What a user likes, trained or not, and the scores that the model gives it."""
    scores = _scores(view, user, Filters(include_untrained=True))
    return user.liked, scores[user.liked]


def _block(
    view: BundleView, users: Sequence[QueryUser], n: int, filters: Filters, allowed: Allowed
) -> list[Answer]:
    items = _offered(view, filters)
    vectors = np.stack([user.vector for user in users if user.vector is not None])
    biases = np.array([user.bias for user in users], np.float32)
    factors = Factors(vectors, items.item_factors, biases, items.item_biases)
    liked = compressed([user.liked for user in users], items.n_items)
    top = top_k(
        blended(factors, view.neighbours_for(users[0].trained), liked),
        np.arange(len(users)),
        n,
        known=None if filters.include_seen else liked,
        candidates=candidates(allowed.mask, items.n_items),
    )
    notes = [(*user.notes, *allowed.notes) for user in users]
    reasons = reasons_of_many(view, users, [found[found >= 0] for found in top.items])
    return answers(view, top.items, top.scores, reasons, notes)
