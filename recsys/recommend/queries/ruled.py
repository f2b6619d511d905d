"""Ruled lists: the items of a user's list, chosen by scores and house rules.

The order in which rules are applied is that of `recsys.recommend.house_rules`. Lists of many users
are made by `recsys.recommend.queries.ruled_blocks`.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from recsys.base.arrays import BoolArray, Float32Array, Int64Array, IntArray
from recsys.base.errors import InputError
from recsys.ranking.diversity import Bound, rerank_listed
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


@dataclass(frozen=True, eq=False)
class Rule:
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

    @cached_property
    def has(self) -> bytes:
        """The mask, of which single places are looked up sooner: 1 for an item it is about."""
        return self.mask.tobytes()

    def count(self, items: Iterable[int]) -> int:
        """How many of these it is about."""
        return sum(map(self.has.__getitem__, items))


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
    exclude: list[Rule] = field(default_factory=list)
    moved: list[Rule] = field(default_factory=list)
    at_most: list[Rule] = field(default_factory=list)
    at_least: list[Rule] = field(default_factory=list)
    pins: list[tuple[int, int, frozenset[int] | None]] = field(default_factory=list)
    unknown: list[str] = field(default_factory=list)

    def for_user(self, view: BundleView, user: QueryUser) -> Holding:
        """The rules that hold for a user."""
        features = self._features & set(_features_of(view, user)) if self._features else set()
        key = frozenset(features)
        if key not in self._holding:
            self._holding[key] = self._for(key)
        return self._holding[key]

    @cached_property
    def _features(self) -> set[int]:
        """Features of users for which it matters which they have."""
        rules = *self.exclude, *self.moved, *self.at_most, *self.at_least
        return {
            one
            for users in (*(rule.users for rule in rules), *(users for _, _, users in self.pins))
            for one in users or ()
        }

    @cached_property
    def _holding(self) -> dict[frozenset[int], Holding]:
        return {}

    def _for(self, features: frozenset[int]) -> Holding:
        def holding(rules: list[Rule]) -> list[Rule]:
            return [rule for rule in rules if rule.holds_for(features)]

        excluded = [rule.mask for rule in holding(self.exclude)]
        return Holding(
            np.logical_or.reduce(excluded) if excluded else None,
            holding(self.moved),
            holding(self.at_most),
            holding(self.at_least),
            [(place, item) for place, item, users in self.pins if not users or users & features],
            0.0 if self.rules.diversity is None else self.rules.diversity.weight,
        )


@dataclass(frozen=True, eq=False)
class Holding:
    """The rules that hold for some users.

    Parameters
    ----------
    excluded : bool (n_items,) or None
        Items that are not shown; None where there is no such rule.
    moved, at_most, at_least : list of Rule
    pins : list of (place, item)
        The first of an item and the first of a place count.
    weight : float
        Of diversity.
    """

    excluded: BoolArray | None
    moved: list[Rule]
    at_most: list[Rule]
    at_least: list[Rule]
    pins: list[tuple[int, int]]
    weight: float

    @property
    def bounded(self) -> bool:
        """Whether a list is more than the best by score."""
        return bool(self.weight or self.at_most)

    def depth(self, room: int) -> int:
        """Among how many of the best a list with room for so many is chosen."""
        return max(DEEPEST, 5 * room) if self.bounded else room

    def pinned(self, n: int, allowed: Callable[[int], bool]) -> dict[int, int]:
        """The items that are pinned in a list of n, by place."""
        found: dict[int, int] = {}
        for place, item in self.pins:
            if place <= n and item not in found.values() and allowed(item):
                found.setdefault(place, item)
        return found

    def finished(
        self,
        n: int,
        pins: dict[int, int],
        found: list[int],
        late: Collection[int],
        more: Callable[[int, int, Sequence[int]], list[int]],
    ) -> tuple[list[int], tuple[str, ...]]:
        """A list with new or rare items and pins in their places, and what was done with each.

        Parameters
        ----------
        n : int
        pins : mapping of place to item
        found : list of int
            The best of the others, which may be changed.
        late : collection of int
            Those of them that are not among the best by score alone.
        more : callable
            The best items of a rule of `at_least`, by its place; how many, and without which.
        """
        placed = dict.fromkeys(pins.values(), "pinned")
        if self.at_least:
            self._fill_up(n - len(pins), list(pins.values()), found, placed, more)
        for place, item in sorted(pins.items()):
            found.insert(min(place - 1, len(found)), item)
        said = tuple(
            placed.get(item) or self._move(item) or ("for diversity" if item in late else "")
            for item in found
        )
        return found, said

    def _fill_up(
        self,
        room: int,
        pinned: list[int],
        found: list[int],
        placed: dict[int, str],
        more: Callable[[int, int, Sequence[int]], list[int]],
    ) -> None:
        """Put new or rare items in the place of the last others, where there are too few."""
        for number, rule in enumerate(self.at_least):
            here = [*found, *pinned]
            missing = int(rule.amount) - rule.count(here)
            if missing <= 0:
                continue
            extra = [
                item for item in more(number, missing + len(here), here) if self._fits(item, here)
            ][:missing]
            kept = [item for item in found if item in placed or rule.has[item]]
            others = [item for item in found if item not in kept]
            spare = room - len(kept)
            extra = extra[:spare]
            stay = set(kept) | set(others[: spare - len(extra)])
            found[:] = [item for item in found if item in stay] + extra
            placed |= dict.fromkeys(extra, rule.label)

    def _fits(self, item: int, here: Sequence[int]) -> bool:
        return all(not rule.has[item] or rule.count(here) < rule.amount for rule in self.at_most)

    def _move(self, item: int) -> str:
        """What raised or lowered an item."""
        return ", ".join(rule.label for rule in self.moved if rule.has[item])


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
        found.exclude.append(Rule(mask, words.users(exclude.users), 0.0, "excluded"))
    for name, moves, sign in (("boosted", rules.boost, 1.0), ("buried", rules.bury, -1.0)):
        for move in moves:
            label = f"{name} by {', '.join([*move.tags, *move.items][:3])}"
            mask = words.items(move.tags, move.items)
            found.moved.append(Rule(mask, words.users(move.users), sign * move.by, label))
    for most in rules.at_most:
        mask = words.items([most.tag], [])
        found.at_most.append(Rule(mask, words.users(most.users), most.n, most.tag))
    for least in rules.at_least:
        mask = np.arange(len(view.bundle.items)) >= view.bundle.trained
        if least.kind == "new":
            mask &= view.inverse_lengths > 0
        else:
            mask = ~mask & (view.likes <= least.likes)
        found.at_least.append(Rule(mask, words.users(least.users), least.n, least.kind))
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
        self._view, self._n, self._scores = view, n, scores
        self._holding = compiled.for_user(view, user)
        allowed = np.isfinite(scores)
        if self._holding.excluded is not None:
            allowed &= ~self._holding.excluded
        allowed[shown_to(view, compiled.rules, [user])[0]] = False
        self._all = np.where(allowed, scores, np.float32(-np.inf))
        if self._holding.moved:
            usual = scores[:trained][allowed[:trained]]
            spread = usual.std() if len(usual) else np.float32(0)
            for rule in self._holding.moved:
                self._all[rule.mask] += np.float32(rule.amount) * spread
        self._ranked = self._all[:trained]
        self._pins = self._holding.pinned(n, lambda item: bool(allowed[item]))

    def chosen(self) -> Chosen:
        """The items, their scores, and what rules have to do with each."""
        found, first = self._best(self._n - len(self._pins))
        late = set(found).difference(first)
        found, said = self._holding.finished(self._n, self._pins, found, late, self._more)
        items = np.array(found, np.int64)
        return Chosen(items, self._scores[items], said)

    def _best(self, room: int) -> tuple[list[int], list[int]]:
        """The best items that fit into the room, by score, diversity and the bounds of tags; and
        the best by score alone."""
        holding, pinned = self._holding, list(self._pins.values())
        bounds = [
            Bound(rule.mask, int(rule.amount) - rule.count(pinned)) for rule in holding.at_most
        ]
        depth = holding.depth(room) if holding.bounded else room + len(pinned)
        while True:
            pool = best(self._ranked, depth)
            pool = pool[~np.isin(pool, pinned)]
            first = pool[:room].tolist()
            if not holding.bounded:
                return first, first
            found = self._picked(pool, room, bounds)
            if len(found) == room or depth >= len(self._ranked):
                return found, first
            depth *= 8  # the bounds of tags leave too little of it

    def _picked(self, pool: Int64Array, room: int, bounds: Sequence[Bound]) -> list[int]:
        weight = self._holding.weight
        vectors = self._view.vectors[pool] if weight else self._view.vectors[:0]
        if weight:
            vectors *= self._view.inverse_lengths[pool, None]
        top = TopK(pool.astype(np.int32)[None], self._ranked[pool][None])
        places = rerank_listed(top, vectors[None], weight, room, bounds)[0]
        found: list[int] = pool[places[places >= 0]].tolist()
        return found

    def _more(self, number: int, count: int, here: Sequence[int]) -> list[int]:
        """The best items of a rule about new or rare ones."""
        mask = self._holding.at_least[number].mask
        candidates = np.where(mask, self._all, np.float32(-np.inf))
        candidates[list(here)] = -np.inf
        found: list[int] = best(candidates, count).tolist()
        return found


def shown_to(view: BundleView, rules: HouseRules, users: Sequence[QueryUser]) -> list[IntArray]:
    """What each user was shown lately, if that is to be hidden: int (n,) each."""
    nothing: IntArray = np.empty(0, np.int64)
    if rules.hide_shown is None or view.answers is None:
        return [nothing] * len(users)
    ids = {user.id for user in users if user.id is not None}
    items = view.bundle.items
    found = {}
    for user, shown in view.answers.shown_before_many(ids, rules.hide_shown.days).items():
        known = (items.find(item) for item in shown)
        found[user] = np.array([index for index in known if index is not None], np.int64)
    return [found.get(user.id or "", nothing) for user in users]


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
