"""Audience: the users who are most likely to like an item, of the catalogue or new."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from recsys.base.arrays import BoolArray, Float32Array, Int64Array, IntArray
from recsys.bundle import Seen
from recsys.models.untrained import BY_POPULARITY
from recsys.ranking.factors import Factors
from recsys.ranking.neighbours import blended_audience
from recsys.ranking.rows import entries_of, flatten, owners_of
from recsys.ranking.topk import TopK, top_k
from recsys.recommend.queries.answers import Answer, Ranked
from recsys.recommend.queries.filters import Allowed, Filters, allowed_users
from recsys.recommend.queries.fresh_users import fresh_users
from recsys.recommend.queries.recommendation import FEW
from recsys.recommend.queries.scoring import best, candidates, products
from recsys.recommend.queries.subjects import QueryItem
from recsys.recommend.queries.view import BundleView

_OTHERS = 2**14  # users that were not trained, whose vectors are made at a time


def audience(view: BundleView, query_item: QueryItem, n: int, filters: Filters) -> Answer:
    """The n users with the highest score for an item, without those who like it already.

    Users of whom nothing is known that says something are nobody's audience. Filters count for
    users: must and must_not are features of theirs.
    """
    return _one(view, query_item, n, filters, allowed_users(view, filters))


def audience_many(
    view: BundleView, query_items: Sequence[QueryItem], n: int, filters: Filters
) -> list[Answer]:
    """The same for many items of the catalogue at once, in blocks."""
    allowed = allowed_users(view, filters)
    if len(query_items) <= FEW or fresh_users(view):
        return [_one(view, query_item, n, filters, allowed) for query_item in query_items]
    asked = [query_item.index for query_item in query_items]
    items, places = np.unique(np.array(asked, np.int64), return_inverse=True)
    top = _top_users(view, items, n, filters, allowed)
    users = [row[row >= 0] for row in top.items[places]]
    scores = [row[: len(found)] for row, found in zip(top.scores[places], users, strict=True)]
    return _answers(view, query_items, users, scores, allowed)


@dataclass(frozen=True)
class _Block:
    """Users who are ranked together: from which on, their vectors, and who may be found."""

    start: int
    vectors: Float32Array
    biases: Float32Array
    mask: BoolArray | None = None

    @property
    def stop(self) -> int:
        return self.start + len(self.vectors)


def _blocks(view: BundleView) -> Iterator[_Block]:
    """The users that were trained; then the others, so many at a time as fit into memory."""
    bundle, factors = view.bundle, view.factors
    yield _Block(0, factors.user_factors, factors.user_biases)
    for start in range(factors.n_users, len(bundle.users), _OTHERS):
        made = bundle.untrained.vectors(np.arange(start, min(start + _OTHERS, len(bundle.users))))
        yield _Block(start, made.vectors, made.biases, made.basis != BY_POPULARITY)


def _top_users(
    view: BundleView, items: Int64Array, n: int, filters: Filters, allowed: Allowed
) -> TopK:
    """The best users for each of some items, ascending, of the catalogue."""
    passed = np.ones(len(view.bundle.users), bool) if allowed.mask is None else allowed.mask.copy()
    passed[view.forgotten_users()] = False
    places, left_out = _left_out(view, items, filters)
    seen, item_biases = view.bundle.seen, view.factors.item_biases[items]
    tops = []
    for block in _blocks(view):
        users = slice(block.start, block.stop)
        inside = (left_out >= users.start) & (left_out < users.stop)
        bounds = np.searchsorted(places[inside], np.arange(len(items) + 1))
        mask = passed[users] if block.mask is None else passed[users] & block.mask
        factors = Factors(view.vectors[items], block.vectors, item_biases, block.biases)
        if block.start in (0, view.factors.n_users):  # the first of those who were trained, or not
            neighbours = view.neighbours_for(block.start == 0)
            speaking = None if neighbours is None else neighbours.of_columns(items)
        likes = Seen(seen.indptr[users.start : users.stop + 1], seen.indices)
        top = top_k(
            blended_audience(factors, speaking, likes),
            np.arange(len(items)),
            n,
            known=Seen(bounds, (left_out[inside] - block.start).astype(np.int32)),
            candidates=candidates(mask, len(mask)),
        )
        tops.append(TopK(np.where(top.items >= 0, top.items + block.start, -1), top.scores))
    found = np.concatenate([top.items for top in tops], axis=1)
    scores = np.concatenate([top.scores for top in tops], axis=1)
    order = np.argsort(-scores, axis=1, kind="stable")[:, :n]
    return TopK(np.take_along_axis(found, order, 1), np.take_along_axis(scores, order, 1))


def _left_out(view: BundleView, items: Int64Array, filters: Filters) -> tuple[IntArray, IntArray]:
    """Places among items, ascending, and users whom they are not to be answered for."""
    rows = [] if filters.include_seen else [view.bundle.seen]
    if view.bundle.hidden is not None:
        rows.append(view.bundle.hidden)
    wanted = np.zeros(len(view.bundle.items), bool)
    wanted[items] = True
    entries = [entries_of(one.indices, wanted) for one in rows]
    pairs = list(zip(rows, entries, strict=True))
    nothing = np.empty(0, np.int64)
    places = np.concatenate([nothing, *(np.searchsorted(items, r.indices[e]) for r, e in pairs)])
    users = np.concatenate([nothing, *(owners_of(r, e) for r, e in pairs)])
    order = np.argsort(places, kind="stable")
    return places[order], users[order]


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
    near = _nearest(view, query_items, users, fresh)
    names = iter(view.names(near[near >= 0]))
    reasons = [f"likes {next(names)}" if there else "" for there in (near >= 0).tolist()]
    made = tuple(map(Ranked, ids, ids, np.concatenate(scores).tolist(), reasons))
    ends = np.cumsum([len(part) for part in users]).tolist()
    return [
        Answer(made[end - len(part) : end], (*query_item.notes, *allowed.notes))
        for query_item, part, end in zip(query_items, users, ends, strict=True)
    ]


def _nearest(
    view: BundleView,
    query_items: Sequence[QueryItem],
    users: Sequence[IntArray],
    fresh: _Fresh | None,
) -> Int64Array:
    """What each user likes that is nearest to their item; -1 where nothing is on its side."""
    together = np.concatenate(users)
    if fresh is None or not fresh.likes:
        entries, owners = flatten(view.bundle.seen, together)
        liked = view.bundle.seen.indices[entries]
    else:
        seen = view.bundle.seen
        parts = [fresh.likes[u] if u in fresh.likes else seen.of(u) for u in together.tolist()]
        owners = np.repeat(np.arange(len(parts)), [len(part) for part in parts])
        liked = np.concatenate([*parts, np.empty(0, np.int32)]).astype(np.int32)
    cosines = np.empty(len(liked), np.float32)
    ends = np.searchsorted(owners, np.cumsum([len(part) for part in users])).tolist()
    itself = np.empty(len(liked), np.int64)
    most = max(np.diff([0, *ends]), default=0)
    gathered = np.empty((most, view.vectors.shape[1]), np.float32)
    for query_item, start, end in zip(query_items, [0, *ends], ends, strict=False):
        part = slice(start, end)
        vectors = gathered[: end - start]
        view.vectors.take(liked[part], axis=0, out=vectors, mode="clip")
        np.matmul(vectors, query_item.vector, out=cosines[part])
        itself[part] = -1 if query_item.index is None else query_item.index
    cosines *= view.inverse_lengths[liked]
    cosines[liked == itself] = 0
    counts = np.bincount(owners, minlength=len(together))
    highest = np.zeros(len(together), np.float32)
    with_likes = np.flatnonzero(counts)
    if len(with_likes):
        firsts = (np.cumsum(counts) - counts)[with_likes]
        highest[with_likes] = np.maximum.reduceat(cosines, firsts)
    best_likes = np.flatnonzero((cosines > 0) & (cosines == highest[owners]))
    found = np.full(len(together), -1)
    found[owners[best_likes]] = liked[best_likes]  # of equal ones the last stays
    return found
