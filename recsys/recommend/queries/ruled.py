"""Ruled lists: the items of a user's list, chosen by scores and house rules.

The order in which rules are applied is that of `recsys.recommend.house_rules`.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

from recsys.base.arrays import BoolArray, Float32Array, Int64Array
from recsys.base.errors import InputError
from recsys.ranking.diversity import Bound, rerank
from recsys.ranking.topk import TopK
from recsys.recommend.queries.feature_lookup import FeatureLookup
from recsys.recommend.queries.scoring import best
from recsys.recommend.queries.subjects import QueryUser
from recsys.recommend.queries.view import BundleView, carriers

if TYPE_CHECKING:  # the recommender needs no pydantic
    from recsys.recommend.house_rules import HouseRules

DEEPEST = 200
"""Items, at least, among which diversity chooses a list; for longer lists five times as many."""


@dataclass(frozen=True)
class Chosen:
    """The items of a list.

    Parameters
    ----------
    items : int64 (n,)
    scores : float32 (n,)
        As the model gives them, whatever rules do.
    placed : tuple of str
        What rules have to do with each, such as "pinned" or "boosted by tag_anime"; "" for nothing.
    """

    items: Int64Array
    scores: Float32Array
    placed: tuple[str, ...] = ()

    def with_reasons(self, reasons: Sequence[str]) -> list[str]:
        """Why each item is there: what rules did, then its own reason."""
        if not self.placed:
            return list(reasons)
        return [
            "; ".join(part for part in both if part)
            for both in zip(self.placed, reasons, strict=True)
        ]


@dataclass(frozen=True)
class _Rule:
    """A rule about some items, as a mask of the catalogue, and about some users.

    `users` are features of users; None for everybody.
    """

    mask: BoolArray
    users: frozenset[int] | None
    amount: float
    label: str

    def holds_for(self, features: frozenset[int]) -> bool:
        """Whether it is a rule for a user with these features."""
        return self.users is None or bool(self.users & features)


@dataclass(frozen=True)
class CompiledRules:
    """The rules of a file as they are for one model.

    Parameters
    ----------
    rules : HouseRules
    unknown : tuple of str
        What the rules name and the model does not know, a sentence each.
    """

    rules: HouseRules
    exclude: list[_Rule] = field(default_factory=list)
    moved: list[_Rule] = field(default_factory=list)
    at_most: list[_Rule] = field(default_factory=list)
    at_least: list[_Rule] = field(default_factory=list)
    pins: list[tuple[int, int, frozenset[int] | None]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)


def rules_of(view: BundleView) -> CompiledRules | None:
    """The rules that hold at the moment; None without."""
    if view.rules is None:
        return None
    current = view.rules.current()
    held = view.rules_cache.get("compiled")
    if held is None or held.rules is not current:
        held = view.rules_cache["compiled"] = compile_rules(view, current)
    compiled: CompiledRules = held
    return compiled


def compile_rules(view: BundleView, rules: HouseRules) -> CompiledRules:
    """Find the items and features of rules in a model; what is not there is named."""
    found = CompiledRules(rules)
    words = _Words(view, found.unknown)
    for exclude in rules.exclude:
        mask = words.items(exclude.tags, exclude.items)
        found.exclude.append(_Rule(mask, words.users(exclude.users), 0.0, "excluded"))
    for name, moves, sign in (("boosted", rules.boost, 1.0), ("buried", rules.bury, -1.0)):
        for move in moves:
            label = f"{name} by {', '.join([*move.tags, *move.items][:3])}"
            mask = words.items(move.tags, move.items)
            found.moved.append(_Rule(mask, words.users(move.users), sign * move.by, label))
    for most in rules.at_most:
        mask = words.items([most.tag], [])
        found.at_most.append(_Rule(mask, words.users(most.users), most.n, most.tag))
    for least in rules.at_least:
        mask = np.arange(len(view.bundle.items)) >= view.bundle.trained
        if least.kind == "new":
            mask &= view.inverse_lengths > 0
        else:
            mask = ~mask & (view.likes <= least.likes)
        found.at_least.append(_Rule(mask, words.users(least.users), least.n, least.kind))
    for pin in rules.pin:
        item = words.item(pin.item)
        if item is not None:
            found.pins.append((pin.place, item, words.users(pin.users)))
    return found


class _Words:
    """Names of rules, looked up in a model; those that are unknown are collected."""

    def __init__(self, view: BundleView, unknown: list[str]) -> None:
        self._view, self._unknown = view, unknown

    def item(self, external: str) -> int | None:
        if external in self._view.bundle.items:
            return self._view.bundle.items.index(external)
        self._say(f"no item {external!r}")
        return None

    def items(self, tags: Sequence[str], items: Sequence[str]) -> BoolArray:
        """Items with one of these tags, and these items: bool (n_items,)."""
        mask = np.zeros(len(self._view.bundle.items), bool)
        side = self._view.bundle.item_features
        for index in self._features(tags, self._view.item_lookup, "item"):
            assert side is not None
            mask |= carriers(side.profiles, index)
        for external in items:
            if (place := self.item(external)) is not None:
                mask[place] = True
        return mask

    def users(self, features: Sequence[str]) -> frozenset[int] | None:
        """Features of users; None if everybody is meant."""
        if not features:
            return None
        return frozenset(self._features(features, self._view.user_lookup, "user"))

    def _features(
        self, names: Sequence[str], lookup: FeatureLookup | None, kind: str
    ) -> Iterator[int]:
        for name in names:
            if lookup is None:
                self._say(f"no {kind} feature {name!r}: the model knows none")
                continue
            try:
                known, unknown = lookup.known([name])
            except InputError as fault:
                self._say(str(fault))
                continue
            yield from known.tolist()
            if unknown:
                self._say(str(lookup.unknown(unknown)))

    def _say(self, sentence: str) -> None:
        if sentence not in self._unknown:
            self._unknown.append(sentence)


def choose(
    view: BundleView,
    compiled: CompiledRules,
    user: QueryUser,
    n: int,
    scores: Float32Array,
    trained: int,
) -> Chosen:
    """The n items of a user's list.

    Parameters
    ----------
    view : BundleView
    compiled : CompiledRules
    user : QueryUser
    n : int
    scores : float32 (n_items,)
        Of the whole catalogue, -inf for what may not be shown to this user.
    trained : int
        The first items, which are recommended; the others only as new ones.
    """
    return _List(view, compiled, user, n, scores, trained).chosen()


class _List:
    """One list in the making."""

    def __init__(
        self,
        view: BundleView,
        compiled: CompiledRules,
        user: QueryUser,
        n: int,
        scores: Float32Array,
        trained: int,
    ) -> None:
        self._view, self._rules, self._n, self._scores = view, compiled.rules, n, scores
        features = frozenset(_features_of(view, user))
        allowed = np.isfinite(scores)
        for rule in compiled.exclude:
            if rule.holds_for(features):
                allowed &= ~rule.mask
        if self._rules.hide_shown is not None and view.answers is not None and user.id is not None:
            shown = view.answers.shown_before(user.id, self._rules.hide_shown.days)
            items = view.bundle.items
            allowed[[items.index(one) for one in shown if one in items]] = False
        self._moved = [rule for rule in compiled.moved if rule.holds_for(features)]
        self._at_most = [rule for rule in compiled.at_most if rule.holds_for(features)]
        self._at_least = [rule for rule in compiled.at_least if rule.holds_for(features)]
        self._all = np.where(allowed, scores, np.float32(-np.inf))
        if self._moved:
            usual = scores[:trained][allowed[:trained]]
            spread = usual.std() if len(usual) else np.float32(0)
            for rule in self._moved:
                self._all[rule.mask] += np.float32(rule.amount) * spread
        self._ranked = self._all[:trained]
        self._pins: dict[int, int] = {}
        for place, item, users in compiled.pins:
            meant = place <= n and (users is None or bool(users & features))
            if meant and allowed[item] and item not in self._pins.values():
                self._pins.setdefault(place, item)

    def chosen(self) -> Chosen:
        """The items, their scores, and what rules have to do with each."""
        placed = dict.fromkeys(self._pins.values(), "pinned")
        room = self._n - len(self._pins)
        found, first = self._best(room)
        late = set(found) - set(first)
        self._fill_up(found, placed)
        for place, item in sorted(self._pins.items()):
            found.insert(min(place - 1, len(found)), item)
        items = np.array(found, np.int64)
        said = tuple(
            placed.get(item) or self._move(item) or ("for diversity" if item in late else "")
            for item in found
        )
        return Chosen(items, self._scores[items], said)

    def _best(self, room: int) -> tuple[list[int], list[int]]:
        """The best items that fit into the room, by score, diversity and the bounds of tags; and
        the best by score alone."""
        weight = 0.0 if self._rules.diversity is None else self._rules.diversity.weight
        pinned = list(self._pins.values())
        bounds = [
            Bound(rule.mask, int(rule.amount) - int(rule.mask[pinned].sum()))
            for rule in self._at_most
        ]
        depth = max(DEEPEST, 5 * room) if weight or bounds else room + len(pinned)
        while True:
            pool = best(self._ranked, depth)
            pool = pool[~np.isin(pool, pinned)]
            first = pool[:room].tolist()
            if not weight and not bounds:
                return first, first
            found = self._picked(pool, room, weight, bounds)
            if len(found) == room or depth >= len(self._ranked):
                return found, first
            depth *= 8  # the bounds of tags leave too little of it

    def _picked(
        self, pool: Int64Array, room: int, weight: float, bounds: Sequence[Bound]
    ) -> list[int]:
        vectors = self._view.vectors[pool] if weight else self._view.vectors[:0]
        if weight:
            vectors *= self._view.inverse_lengths[pool, None]
        top = TopK(np.arange(len(pool), dtype=np.int32)[None], self._ranked[pool][None])
        own = [Bound(bound.mask[pool], bound.room) for bound in bounds]
        places = rerank(top, vectors, weight, room, own)[0]
        found: list[int] = pool[places[places >= 0]].tolist()
        return found

    def _fill_up(self, found: list[int], placed: dict[int, str]) -> None:
        """Put new or rare items in the place of the last others, where there are too few."""
        for rule in self._at_least:
            here = [*found, *self._pins.values()]
            missing = int(rule.amount) - int(rule.mask[here].sum())
            if missing <= 0:
                continue
            candidates = np.where(rule.mask, self._all, np.float32(-np.inf))
            candidates[here] = -np.inf
            extra = [
                item for item in best(candidates, missing + len(here)).tolist()
                if self._fits(item, found)
            ][:missing]  # fmt: skip
            kept = [item for item in found if item in placed or rule.mask[item]]
            others = [item for item in found if item not in kept]
            room = self._n - len(self._pins)
            spare = room - len(kept)
            extra = extra[:spare]
            stay = set(kept) | set(others[: spare - len(extra)])
            found[:] = [item for item in found if item in stay] + extra
            placed |= dict.fromkeys(extra, rule.label)

    def _fits(self, item: int, found: list[int]) -> bool:
        here = [*found, *self._pins.values()]
        return all(
            not rule.mask[item] or rule.mask[here].sum() < rule.amount for rule in self._at_most
        )

    def _move(self, item: int) -> str:
        """What raised or lowered an item."""
        return ", ".join(rule.label for rule in self._moved if rule.mask[item])


def _features_of(view: BundleView, user: QueryUser) -> list[int]:
    """A user's own features, as given or as the bundle has them."""
    side = view.bundle.user_features
    if user.id is None or side is None or user.id not in view.bundle.users:
        own: list[int] = user.features.tolist()
        return own
    index = view.bundle.users.index(user.id)
    indptr = side.profiles.indptr
    known: list[int] = side.profiles.indices[indptr[index] : indptr[index + 1]].tolist()
    return known
