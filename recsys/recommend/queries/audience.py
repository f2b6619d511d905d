"""Audience: the users who are most likely to like an item, of the catalogue or new."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recsys.base.arrays import BoolArray, Float32Array, Int64Array, IntArray
from recsys.models.untrained import BY_POPULARITY
from recsys.ranking.factors import Factors
from recsys.ranking.rows import flatten
from recsys.ranking.topk import top_k
from recsys.recommend.queries.answers import Answer, Ranked
from recsys.recommend.queries.filters import Allowed, Filters, allowed_users
from recsys.recommend.queries.fresh_users import fresh_users
from recsys.recommend.queries.recommendation import FEW
from recsys.recommend.queries.scoring import best, candidates, compressed, products
from recsys.recommend.queries.subjects import QueryItem
from recsys.recommend.queries.view import BundleView


def audience(view: BundleView, query_item: QueryItem, n: int, filters: Filters) -> Answer:
    """The n users with the highest score for an item, without those who like it already.

    Users of whom nothing is known that says something are nobody's audience. Filters count for
    users: must and must_not are features of theirs.
    """
    return _one(view, query_item, n, filters, allowed_users(view, filters))


def audience_many(
    view: BundleView, query_items: Sequence[QueryItem], n: int, filters: Filters
) -> list[Answer]:
    """The same for many items at once, in blocks."""
    allowed = allowed_users(view, filters)
    everyone_trained = view.factors.n_users == len(view.bundle.users) and view.fresh is None
    plain = everyone_trained and view.bundle.neighbours is None and view.bundle.hidden is None
    if len(query_items) <= FEW or not plain:
        return [_one(view, query_item, n, filters, allowed) for query_item in query_items]
    factors = view.factors
    turned = Factors(
        np.stack([query_item.vector for query_item in query_items]),
        factors.user_factors,
        np.array([query_item.bias for query_item in query_items], np.float32),
        factors.user_biases,
    )
    likers = [
        query_item.likers if query_item.index is None else view.likers.of(query_item.index)
        for query_item in query_items
    ]
    top = top_k(
        turned,
        np.arange(len(query_items)),
        n,
        known=None if filters.include_seen else compressed(likers, factors.n_users),
        candidates=candidates(allowed.mask, factors.n_users),
    )
    users = [found[found >= 0] for found in top.items]
    scores = [row[: len(found)] for row, found in zip(top.scores, users, strict=True)]
    return _answers(view, query_items, users, scores, allowed)


def _one(
    view: BundleView, query_item: QueryItem, n: int, filters: Filters, allowed: Allowed
) -> Answer:
    scores = _scores(view, query_item)
    if query_item.index is not None:
        view.add_neighbour_scores_of_users(query_item.index, scores)
    likers = query_item.likers if query_item.index is None else view.likers_of(query_item.index)
    fresh = _Fresh(view, query_item)
    scores = fresh.rescored(scores)
    if allowed.mask is not None:
        passed = fresh.allowed(filters)
        scores[~np.concatenate([allowed.mask, passed])] = -np.inf
    scores[view.forgotten_users()] = -np.inf
    likers, hidden = fresh.as_said_last(likers)
    scores[hidden] = -np.inf
    if not filters.include_seen:
        scores[likers] = -np.inf
    users = best(scores, n)
    return _answers(view, [query_item], [users], [scores[users]], allowed, fresh)[0]


class _Fresh:
    """Who said something since the model was trained, scored for an item with that.

    Those whom the model does not know stand behind all others.
    """

    def __init__(self, view: BundleView, query_item: QueryItem) -> None:
        self._view, self._item = view, query_item
        self._known = fresh_users(view)
        users, n_users = view.bundle.users, len(view.bundle.users)
        self.unknown = [user for user in self._known if user not in users]
        self._places = {user: n_users + place for place, user in enumerate(self.unknown)}
        self._places |= {
            user: users.index(user) for user in self._known if user not in self._places
        }
        self.likes = {place: self._known[user].liked for user, place in self._places.items()}

    def rescored(self, scores: Float32Array) -> Float32Array:
        """The scores with those of these users: float32 (n_users + those not known,)."""
        found = np.concatenate([scores, np.full(len(self.unknown), -np.inf, np.float32)])
        weights: dict[bool, Float32Array] = {}
        for user, place in self._places.items():
            asked = self._known[user]
            if asked.vector is None or asked.cosine:
                found[place] = -np.inf
                continue
            score = products(asked.vector[None], self._item.vector)[0]
            score += np.float32(asked.bias) + np.float32(self._item.bias)
            if self._item.index is not None:
                if asked.trained not in weights:
                    column = self._view.neighbour_weights_of(self._item.index, asked.trained)
                    weights[asked.trained] = column
                score += weights[asked.trained][asked.liked].sum()
            found[place] = score
        return found

    def allowed(self, filters: Filters) -> BoolArray:
        """Which of those not known the filters let pass: they have no features."""
        only = None if filters.only is None else {str(user) for user in filters.only}
        without = {str(user) for user in filters.exclude}
        passed = [
            not filters.must and user not in without and (only is None or user in only)
            for user in self.unknown
        ]
        return np.array(passed, bool)

    def as_said_last(self, likers: IntArray) -> tuple[IntArray, IntArray]:
        """Who likes the item, and who wants to see it no more, after what was said lately."""
        said: dict[str, list[int]] = {"liked": [], "removed": [], "hidden": []}
        hidden = np.empty(0, np.int64)
        if self._item.index is not None:
            if (rows := self._view.bundle.hidden) is not None:
                entries = np.flatnonzero(rows.indices == self._item.index)
                hidden = np.searchsorted(rows.indptr, entries, side="right") - 1
            for entry in self._view.fresh_of_item(self._item.index):
                if entry.user in self._places:
                    said[entry.state].append(self._places[entry.user])
        kept = likers[~np.isin(likers, said["removed"])]
        liked = np.append(kept, np.array(said["liked"], np.int64))
        hidden = hidden[~np.isin(hidden, said["removed"])]
        return liked, np.append(hidden, np.array(said["hidden"], np.int64))


def _scores(view: BundleView, query_item: QueryItem) -> Float32Array:
    """What the vectors of all users give an item, -inf for those without: float32 (n_users,)."""
    factors, untrained = view.factors, view.bundle.untrained
    scores = products(factors.user_factors, query_item.vector)
    scores += factors.user_biases + np.float32(query_item.bias)
    others = np.arange(factors.n_users, len(view.bundle.users))
    if not len(others):
        return scores
    more = untrained.scores_of_item(others, query_item.vector, query_item.bias)
    more[view.untrained_basis == BY_POPULARITY] = -np.inf
    return np.concatenate([scores, more])


def _answers(
    view: BundleView,
    query_items: Sequence[QueryItem],
    users: Sequence[IntArray],
    scores: Sequence[Float32Array],
    allowed: Allowed,
    fresh: _Fresh | None = None,
) -> list[Answer]:
    """Rows of all answers, ids and names looked up at once."""
    together = np.concatenate(users)
    known = together < len(view.bundle.users)
    names_of_known = iter(view.bundle.users.take(together[known]))
    unknown = [] if fresh is None else fresh.unknown
    ids = [
        next(names_of_known) if there else unknown[user - len(view.bundle.users)]
        for user, there in zip(together.tolist(), known.tolist(), strict=True)
    ]
    near = np.concatenate(
        [_nearest(view, *pair, fresh) for pair in zip(query_items, users, strict=True)]
    )
    names = iter(view.names(near[near >= 0]))
    reasons = [f"likes {next(names)}" if there else "" for there in (near >= 0).tolist()]
    made = tuple(map(Ranked, ids, ids, np.concatenate(scores).tolist(), reasons))
    ends = np.cumsum([len(part) for part in users]).tolist()
    return [
        Answer(made[end - len(part) : end], (*query_item.notes, *allowed.notes))
        for query_item, part, end in zip(query_items, users, ends, strict=True)
    ]


def _nearest(
    view: BundleView, query_item: QueryItem, users: IntArray, fresh: _Fresh | None
) -> Int64Array:
    """What each user likes that is nearest to the item; -1 where nothing is on its side."""
    if fresh is None or not fresh.likes:
        entries, owners = flatten(view.bundle.seen, users)
        liked = view.bundle.seen.indices[entries]
    else:
        seen = view.bundle.seen
        parts = [
            fresh.likes[user] if user in fresh.likes else seen.of(user) for user in users.tolist()
        ]
        owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        liked = np.concatenate([*parts, np.empty(0, np.int32)]).astype(np.int32)
    cosines = (view.vectors[liked] @ query_item.vector) * view.inverse_lengths[liked]
    cosines[liked == query_item.index] = 0
    order = np.argsort(cosines, kind="stable")
    order = order[cosines[order] > 0]
    found = np.full(len(users), -1)
    found[owners[order]] = liked[order]  # the nearest of each user comes last and stays
    return found
