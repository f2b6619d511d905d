"""Ruled lists of many users: what may come into a list is ranked for all of them at once.

A list by house rules is made of few items: the best by score, the best of those that are boosted or
buried by as much, the best new or rare ones, and pins. These pools are taken from the scores of a
block of users while they are in memory; only the rest is done for each user alone. Lists are those
of `recsys.recommend.queries.ruled.choose`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recsys.base.arrays import BoolArray, Float32Array, Int64Array, IntArray
from recsys.ranking.diversity import Bound, rerank_listed
from recsys.ranking.factors import Factors
from recsys.ranking.neighbours import blended
from recsys.ranking.scorer import Scorer
from recsys.ranking.topk import Block, TopK, order_keys, score_blocks
from recsys.recommend.queries.ruled import Chosen, CompiledRules, Holding, shown_to
from recsys.recommend.queries.scoring import compressed
from recsys.recommend.queries.subjects import QueryUser
from recsys.recommend.queries.view import BundleView

_BLOCK_BYTES = 2**25
"""Of scores that stay in the cache, or near it, while pools are taken from them."""
_TOGETHER = 16
"""Lists whose vectors fit the processor's cache while they are made diverse."""


@dataclass(frozen=True)
class Offered:
    """What lists may be made of.

    Parameters
    ----------
    allowed : bool (n_items,) or None
        None for everything.
    include_seen : bool
        Whether what a user likes is among it.
    trained : int
        The first items, which are recommended; the others only as new ones.
    """

    allowed: BoolArray | None
    include_seen: bool
    trained: int


def choose_many(
    view: BundleView,
    compiled: CompiledRules,
    users: Sequence[QueryUser],
    n: int,
    offered: Offered,
    threads: int = 1,
) -> dict[int, Chosen]:
    """The n items of the lists of many users, by their places.

    Those that are missing have to be chosen alone: their scores are no product of vectors, or the
    bounds of tags leave too little of what was ranked.
    """
    groups: dict[tuple[int, bool], list[int]] = {}
    holdings: dict[int, Holding] = {}
    for place, user in enumerate(users):
        if user.vector is not None and not user.cosine:
            holding = compiled.for_user(view, user)
            holdings[id(holding)] = holding
            groups.setdefault((id(holding), user.trained), []).append(place)
    found: dict[int, Chosen] = {}
    for (number, _), places in groups.items():
        alike = [users[place] for place in places]
        shown = shown_to(view, compiled.rules, alike)
        together = _Together(view, holdings[number], alike, n, offered, shown, threads)
        for place, chosen in zip(places, together.chosen(), strict=True):
            if chosen is not None:
                found[place] = chosen
    return found


@dataclass
class _Pool:
    """Items that may come into lists, and their scores, as they are found: (n_users, m) each."""

    items: list[Int64Array]
    scores: list[Float32Array]

    @staticmethod
    def empty(n_users: int) -> _Pool:
        nothing = np.empty((n_users, 0), np.float32)
        return _Pool([nothing.astype(np.int64)], [nothing])

    def column(self, n_users: int, depth: int) -> tuple[Int64Array, Float32Array]:
        """Room for so many more of each user."""
        self.items.append(np.full((n_users, depth), -1))
        self.scores.append(np.full((n_users, depth), -np.inf, np.float32))
        return self.items[-1], self.scores[-1]


@dataclass(frozen=True)
class _Ranked:
    """The items of a pool, best first as rules have them: (n_users, m) each, padded with -1."""

    items: Int64Array
    scores: Float32Array
    moved: Float32Array


@dataclass(frozen=True)
class _Best:
    """What lists are made of before new, rare and pinned items.

    Parameters
    ----------
    items : int64 (n_users, n)
        Padded with -1.
    scores : float32 (n_users, n)
    late : bool (n_users, n)
        Whether an item is not among the best by score alone.
    complete : bool (n_users,)
        Whether there was enough to choose from.
    """

    items: Int64Array
    scores: Float32Array
    late: BoolArray
    complete: BoolArray


class _Together:
    """The lists of users for whom the same rules hold."""

    def __init__(
        self,
        view: BundleView,
        holding: Holding,
        users: Sequence[QueryUser],
        n: int,
        offered: Offered,
        shown: Sequence[IntArray],
        threads: int,
    ) -> None:
        self._view, self._holding, self._users, self._n = view, holding, users, n
        self._trained, self._threads = offered.trained, threads
        n_items = len(view.bundle.items)
        self._open = np.ones(n_items, bool) if offered.allowed is None else offered.allowed.copy()
        if holding.excluded is not None:
            self._open &= ~holding.excluded
        self._left_out = [
            _together(user.liked[:0] if offered.include_seen else user.liked, user.hidden, more)
            for user, more in zip(users, shown, strict=True)
        ]
        self._depth = holding.depth(n)
        self._spread = np.zeros(len(users), np.float32)
        self._lowest = np.float32(0)
        self._main = _Pool.empty(len(users))
        self._special = [_Pool.empty(len(users)) for _ in holding.at_least]
        self._pins = np.full((len(users), len(holding.pins)), -np.inf, np.float32)
        self._rank()

    @cached_property
    def _offsets(self) -> Float32Array:
        """By how many standard deviations each item is moved: float32 (n_items,)."""
        found = np.zeros(len(self._open), np.float32)
        for rule in self._holding.moved:
            found[rule.mask] += np.float32(rule.amount)
        return found

    def _rank(self) -> None:
        """Fill the pools."""
        view, holding, users = self._view, self._holding, self._users
        vectors = np.array([user.vector for user in users], np.float32)
        biases = np.array([user.bias for user in users], np.float32)
        liked = compressed([user.liked for user in users], len(self._open))
        neighbours = view.neighbours_for(users[0].trained)
        trained, is_open = self._trained, self._open[: self._trained]
        ranked = Factors(
            vectors,
            view.factors.item_factors[:trained],
            biases,
            np.where(is_open, view.factors.item_biases[:trained], np.float32(-np.inf)),
        )
        candidates = np.flatnonzero(is_open) if 2 * is_open.sum() < trained else None
        self._sweep(blended(ranked, neighbours, liked), candidates, is_main=True)
        wanted = np.zeros(len(self._open), bool)
        wanted[[item for _, item in holding.pins]] = True
        for rule in holding.at_least:
            wanted |= rule.mask
        wanted[:trained] = False
        others = np.flatnonzero(self._open & wanted)
        if len(others):
            factors = Factors(vectors, view.factors.item_factors, biases, view.factors.item_biases)
            # To items that were not trained, neighbours add nothing.
            self._sweep(factors, others, is_main=False)

    def _sweep(self, scorer: Scorer, ranked: Int64Array | None, is_main: bool) -> None:
        """Score candidates for all users, and keep what pools are made of."""
        n_users, holding = len(self._users), self._holding
        candidates = np.arange(scorer.n_items) if ranked is None else ranked
        offsets = self._offsets[candidates]
        keeps: list[tuple[Int64Array | None, Int64Array, Float32Array]] = []
        if is_main:
            kept = self._main.column(n_users, self._depth)
            keeps += [(None, *kept)]
            # What is moved least is among the best by score alone; others are looked for besides.
            distinct = np.unique(offsets)
            self._lowest = distinct[0] if len(distinct) else self._lowest
            for offset in distinct[1:]:
                kept = self._main.column(n_users, self._depth)
                keeps += [(np.flatnonzero(offsets == offset), *kept)]
        for rule, pool in zip(holding.at_least, self._special, strict=True):
            depth = int(rule.amount) + 2 * self._n
            for offset in np.unique(offsets[rule.mask[candidates]]):
                chosen = np.flatnonzero(rule.mask[candidates] & (offsets == offset))
                keeps += [(chosen, *pool.column(n_users, depth))]
        pinned = np.array([item for _, item in holding.pins], np.int64)
        pins = [
            (number, place)
            for number, place in enumerate(np.searchsorted(candidates, pinned).tolist())
            if place < len(candidates) and candidates[place] == pinned[number]
        ]

        def visit(block: Block) -> None:
            for chosen, items, scores in keeps:
                part = block if chosen is None else block.part(chosen)
                positions, values = part.largest(items.shape[1])
                there = candidates if chosen is None else candidates[chosen]
                real = values > -np.inf
                found = there[np.minimum(positions, max(0, len(there) - 1))] if len(there) else -1
                items[block.rows, : real.shape[1]] = np.where(real, found, -1)
                scores[block.rows, : real.shape[1]] = values
            for number, place in pins:
                self._pins[block.rows, number] = block.scores[place, : len(block.rows)]
            if is_main and holding.moved:
                self._spread[block.rows] = block.spread()

        score_blocks(
            scorer, np.arange(n_users), visit, depth=self._depth, candidates=ranked,
            known=compressed(self._left_out, scorer.n_items), threads=self._threads,
            block_bytes=_BLOCK_BYTES * self._threads,
        )  # fmt: skip

    def _ranked(self, pool: _Pool, is_main: bool) -> _Ranked:
        items, scores = np.concatenate(pool.items, axis=1), np.concatenate(pool.scores, axis=1)
        moved = scores
        if self._holding.moved:
            offsets = self._offsets[items]
            if is_main:  # items that are moved more were found twice
                first = slice(0, self._depth)
                lowest = offsets[:, first] <= self._lowest
                items[:, first] = np.where(lowest, items[:, first], -1)
            moved = scores + offsets * self._spread[:, None]
        elif len(pool.items) <= 2:  # one sweep, which is in order
            return _Ranked(items, scores, moved)
        moved = np.where(items >= 0, moved, np.float32(-np.inf))
        order = order_keys(moved, np.maximum(items, 0)).argsort(axis=1)[:, ::-1]
        items, scores = np.take_along_axis(items, order, 1), np.take_along_axis(scores, order, 1)
        return _Ranked(items, scores, np.take_along_axis(moved, order, 1))

    def chosen(self) -> Iterator[Chosen | None]:
        """The lists, in the order of the users; None for one that has to be chosen alone."""
        holding, n = self._holding, self._n
        pins = [self._pinned(row) for row in self._pins.tolist()]
        best = self._picked(self._ranked(self._main, is_main=True), pins)
        if not (holding.moved or holding.bounded or holding.at_least or holding.pins):
            counts = (best.items >= 0).sum(axis=1).tolist()
            for items, scores, count in zip(best.items, best.scores, counts, strict=True):
                yield Chosen(items[:count], scores[:count], ("",) * count)
            return
        special = [self._ranked(pool, is_main=False) for pool in self._special]
        rows = [one.items.tolist() for one in special]
        chosen = best.items.tolist(), best.scores.tolist(), best.late.tolist()
        for place, (own, items, values, late) in enumerate(zip(pins, *chosen, strict=True)):
            if not best.complete[place]:
                yield None
                continue
            count = items.index(-1) if items[-1] < 0 else n
            scores = dict(zip(items, values, strict=True))
            late_ones = [item for item, is_late in zip(items, late, strict=True) if is_late]

            def more(number: int, count: int, here: Sequence[int], place: int = place) -> list[int]:
                row = rows[number][place]
                return [item for item in row if item >= 0 and item not in here][:count]

            found, said = holding.finished(n, own, items[:count], late_ones, more)
            if len(found) > count or found != items[:count]:
                for one, row in zip(special, rows, strict=True):
                    scores |= zip(row[place], one.scores[place].tolist(), strict=True)
                pinned = zip(holding.pins, self._pins[place].tolist(), strict=True)
                scores |= {item: score for (_, item), score in pinned if score > -np.inf}
            of_found = np.array([scores[item] for item in found], np.float32)
            yield Chosen(np.array(found, np.int64), of_found, said)

    def _pinned(self, scores: list[float]) -> dict[int, int]:
        if not scores:
            return {}
        pinned = zip(self._holding.pins, scores, strict=True)
        there = {item for (_, item), score in pinned if score > -np.inf}
        return self._holding.pinned(self._n, lambda item: item in there)

    def _picked(self, main: _Ranked, pins: Sequence[dict[int, int]]) -> _Best:
        """The best of each pool for the room beside the pins."""
        holding, n, n_users = self._holding, self._n, len(self._users)
        room = np.array([n - len(own) for own in pins])
        depths = np.array([holding.depth(one) for one in range(n + 1)])[room]
        if not holding.bounded:
            depths = np.full(n_users, n)
        width = min(main.items.shape[1], self._depth)
        items = np.where(np.arange(width) < depths[:, None], main.items[:, :width], -1)
        scores, moved = main.scores[:, :width], main.moved[:, :width]
        if any(pins):
            for place, own in enumerate(pins):
                for item in own.values():
                    items[place, items[place] == item] = -1
            # What is taken out leaves no gap.
            order = np.argsort(items < 0, axis=1, kind="stable")
            items, scores, moved = (
                np.take_along_axis(one, order, 1) for one in (items, scores, moved)
            )
        complete = np.ones(n_users, bool)
        if holding.bounded:
            places = self._reranked(TopK(items.astype(np.int32), moved), pins)
            places = np.where(np.arange(n) < room[:, None], places, -1)
            everything = int(self._open[: self._trained].sum())
            complete = ((places >= 0).sum(axis=1) == room) | (depths >= everything)
        else:
            places = np.where(
                np.arange(min(n, width)) < room[:, None], np.arange(min(n, width)), -1
            )
            places = np.where(np.take_along_axis(items, places, 1) >= 0, places, -1)
        there = places >= 0
        items, scores = (np.take_along_axis(one, places, 1) for one in (items, scores))
        return _Best(np.where(there, items, -1), scores, places >= room[:, None], complete)

    def _reranked(self, top: TopK, pins: Sequence[dict[int, int]]) -> Int64Array:
        """Places in the pools of what diversity and the bounds of tags choose, padded with -1."""
        holding, view = self._holding, self._view
        rooms = [
            np.array([int(rule.amount) - rule.count(own.values()) for own in pins])
            for rule in holding.at_most
        ]
        step = _TOGETHER if holding.weight else max(1, len(pins))
        found = []
        for start in range(0, len(pins), step):
            part = slice(start, start + step)
            some = TopK(top.items[part], top.scores[part])
            listed = np.empty(0, np.float32)
            if holding.weight:
                listed = view.vectors[some.items]
                listed *= view.inverse_lengths[some.items, None]
            bounds = [
                Bound(rule.mask, free[part])
                for rule, free in zip(holding.at_most, rooms, strict=True)
            ]
            found.append(rerank_listed(some, listed, holding.weight, self._n, bounds))
        return np.concatenate(found)


def _together(liked: IntArray, *others: IntArray) -> IntArray:
    """Items of several lists."""
    return np.concatenate([liked, *others]) if any(len(one) for one in others) else liked
