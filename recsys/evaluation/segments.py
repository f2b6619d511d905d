"""Segments: parts of the users, and of the items, on which models are measured apart."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, TypeAlias

import numpy as np
import scipy.sparse as sp

from recsys.base.arrays import BoolArray, Float64Array, Int64Array
from recsys.data.ages import InteractionTimes
from recsys.data.features import EncodedFeatures
from recsys.evaluation.holdouts import Estimate
from recsys.evaluation.metric_names import HEADLINE
from recsys.evaluation.non_inferiority import PairedDifference, paired_difference
from recsys.ranking.metrics import Evaluation, HeldOut, rank_metrics

LIKES = (1, 5, 10, 20, 50)
"""Where the segments of users by their number of likes begin."""
POPULARITY = ("head", "middle", "tail")
AGES = ("of the newest third", "between new and old", "of the oldest third")
"""Thirds of the users, and of the items, by when their first known like was."""
FEWEST = 30
"""Users that a segment of a feature has at least: of fewer, the mean says little."""
MOST = {"users": 10, "items": 5}
"""Segments of features that are no categories, at most; those with most held-out likes."""
MOST_TYPES, MOST_CATEGORIES = 3, 10
"""Types of features that are categories, and categories of each that have a segment, at most."""
TWO_CATEGORIES = 0.02
"""Share of those with a category who may have a second one, for it to be one all the same."""
METRICS = (HEADLINE, "recall_at_5", "recall_at_10", "ndcg_at_10")
"""What is measured on each segment, as far as lists are that long."""


Side: TypeAlias = Literal["users", "items"]
SIDES: tuple[Side, ...] = ("users", "items")


@dataclass(frozen=True)
class Segment:
    """A part of the users or of the items.

    Parameters
    ----------
    name : str
        Such as "users with 5 to 9 likes" or "items of the tail".
    side : {"users", "items"}
    members : bool (n_users,) or (n_items,)
    """

    name: str
    side: Side
    members: BoolArray

    def per_user(self, evaluation: Evaluation) -> dict[str, Float64Array]:
        """Metrics of the users concerned, in ascending order: float64 (n,) each.

        Of a segment of users, their figures. Of one of items, those that count held-out likes of
        these items alone, of the users that have any; all items are ranked as before. Then
        precision says how much of a list is found in the segment, recall what share of these
        likes is found, and there is no auc.
        """
        if self.side == "users":
            chosen = self.members[evaluation.users]
            return {name: values[chosen] for name, values in evaluation.per_user.items()}
        kept = self.members[evaluation.heldout.indices]
        owners = np.repeat(np.arange(len(evaluation.users)), evaluation.heldout.counts)[kept]
        counts = np.bincount(owners, minlength=len(evaluation.users))
        indptr = np.concatenate([[0], np.cumsum(counts[counts > 0])]).astype(np.int64)
        return rank_metrics(evaluation.ranks[kept], indptr, ks_of(evaluation))

    def size(self, evaluation: Evaluation) -> int:
        """How many users it is measured on."""
        return len(self.per_user(evaluation)[HEADLINE])

    @property
    def headline(self) -> str:
        """What it is shown by: precision of users, and of items the share of likes found."""
        return headline_of(self.side)


@dataclass(frozen=True)
class Segments:
    """The segments of a holdout.

    Parameters
    ----------
    known, heldout : csr_matrix (n_users, n_items)
        What models are fitted on, and measured on.
    user_features, item_features : EncodedFeatures or None
        The first rows are those of the users, or items, of the matrices.
    times : InteractionTimes or None
        When the interactions of `known` were; without it there are no segments by age.
    """

    known: sp.csr_matrix
    heldout: sp.csr_matrix
    user_features: EncodedFeatures | None = None
    item_features: EncodedFeatures | None = None
    times: InteractionTimes | None = None

    def standard(self) -> list[Segment]:
        """Those that are always measured, as far as anything is held out of them.

        Users by their number of known likes, by age, by category and by their commonest other
        features; items by popularity, by age, by category and by their commonest other features.
        Head, middle and tail have a third of
        the known likes each, from the most liked items to the least liked ones. Ages go by the
        first known like of a user or an item, see `_by_age`.
        """
        users = (*self._by_likes(), *self._by_age("users"))
        items = (*self._by_popularity(), *self._by_age("items"))
        return [
            *filter(self._is_tested, users),
            *self._by_category("users"),
            *self._by_features("users"),
            *filter(self._is_tested, items),
            *self._by_category("items"),
            *self._by_features("items"),
        ]

    def named(self, name: str) -> Segment | None:
        """The segment of a name; besides the standard ones, that of any feature.

        Parameters
        ----------
        name : str
            Such as "users with country_de", "items with tag_anime" or "items without category".

        Returns
        -------
        Segment or None
            None where there is none, or nothing is held out of it.
        """
        by_age = (segment for side in SIDES for segment in self._by_age(side))
        categories = (segment for side in SIDES for segment in self._by_category(side))
        for segment in (*self._by_likes(), *self._by_popularity(), *by_age, *categories):
            if segment.name == name:
                return self._if_tested(segment)
        for side in SIDES:
            feature = name.removeprefix(f"{side} with ")
            features = self._features(side)
            if feature == name or features is None:
                continue
            places = np.flatnonzero(np.asarray(features.names.to_pylist()) == feature)
            if len(places):
                return self._if_tested(self._of_feature(side, int(places[0])))
        return None

    @cached_property
    def _tested(self) -> dict[str, Int64Array]:
        """Held-out likes of each user and of each item."""
        by_item = np.bincount(self.heldout.indices, minlength=self.heldout.shape[1])
        return {"users": np.diff(self.heldout.indptr).astype(np.int64), "items": by_item}

    def _if_tested(self, segment: Segment) -> Segment | None:
        return segment if self._is_tested(segment) else None

    def _is_tested(self, segment: Segment) -> bool:
        """Whether anything is held out of it."""
        return bool((self._tested[segment.side] * segment.members).any())

    def _by_likes(self) -> Iterator[Segment]:
        counts = np.diff(self.known.indptr)
        for low, after in zip(LIKES, (*LIKES[1:], None), strict=True):
            if after is None:
                yield Segment(f"users with {low} likes or more", "users", counts >= low)
            else:
                chosen = (counts >= low) & (counts < after)
                yield Segment(f"users with {low} to {after - 1} likes", "users", chosen)

    def _by_popularity(self) -> Iterator[Segment]:
        third = thirds(self.known)
        for place, part in enumerate(POPULARITY):
            yield Segment(f"items of the {part}", "items", third == place)

    def _by_age(self, side: Side) -> Iterator[Segment]:
        """Thirds by when the first known like was; none where that is not known, or all the same.

        Those whose first like was at the same time stay together, in the older of two thirds. Who
        has no known like is in none.
        """
        if self.times is None:
            return
        owner = np.divmod(self.times.pairs, self.times.n_items)[0 if side == "users" else 1]
        first = np.full(len(self._tested[side]), np.inf)
        np.minimum.at(first, owner, self.times.days)
        known = np.isfinite(first)
        ordered = np.sort(first[known])
        if not len(ordered) or ordered[0] == ordered[-1]:
            return
        # How many were there before, so that equal times give equal thirds.
        third = len(AGES) * np.searchsorted(ordered, first) // len(ordered)
        for place, age in zip((2, 1, 0), AGES, strict=True):
            yield Segment(f"{side} {age}", side, known & (third == place))

    def _features(self, side: Side) -> EncodedFeatures | None:
        return self.user_features if side == "users" else self.item_features

    def _of_feature(self, side: Side, feature: int) -> Segment:
        features = self._features(side)
        assert features is not None
        n = len(self._tested[side])
        members = features.matrix[:n, [feature]].toarray()[:, 0] != 0
        return Segment(f"{side} with {features.names[feature].as_py()}", side, members)

    def _by_category(self, side: Side) -> Iterator[Segment]:
        """The commonest categories, all others of the same type together, and those without one.

        A category is a feature of a type of which next to nobody has two; see `TWO_CATEGORIES`.
        """
        for name, members in self._categories[side].items():
            first = self._commonest(side, members)[:MOST_CATEGORIES]
            yield from (self._of_feature(side, int(feature)) for feature in first)
            with_one, of_first = self._with_any(side, members), self._with_any(side, first)
            rest = {
                f"{side} with another {name}": with_one & ~of_first,
                f"{side} without {name}": ~with_one,
            }
            for title, chosen in rest.items():
                if self._weight(side)[chosen].sum() >= FEWEST:
                    yield Segment(title, side, chosen)

    def _by_features(self, side: Side) -> list[Segment]:
        features = self._features(side)
        if features is None:
            return []
        categories = [place for places in self._categories[side].values() for place in places]
        others = np.setdiff1d(np.arange(len(features.names)), categories)
        first = self._commonest(side, others)[: MOST[side]]
        return [self._of_feature(side, int(feature)) for feature in first]

    @cached_property
    def _categories(self) -> dict[Side, dict[str, Int64Array]]:
        """By side, the types of features that are categories, each with the places of these."""
        return {side: self._categories_of(side) for side in SIDES}

    def _categories_of(self, side: Side) -> dict[str, Int64Array]:
        features = self._features(side)
        if features is None:
            return {}
        names, of_type = np.unique(np.asarray(features.types.to_pylist()), return_inverse=True)
        shape = len(of_type), len(names)
        ones = np.ones(len(of_type), np.int64)
        types = sp.csr_matrix((ones, (np.arange(len(of_type)), of_type)), shape=shape)
        # How many features of each type everybody has.
        counts = (self._owned[side] @ types).tocsc()
        some = counts.getnnz(axis=0)
        several = (counts > 1).sum(axis=0).A1
        found: dict[str, Int64Array] = {}
        for place in np.flatnonzero((some > 0) & (several <= TWO_CATEGORIES * some)):
            members = np.flatnonzero(of_type == place)
            if len(self._commonest(side, members)) > 1:
                found[str(names[place])] = members

        def tested(name: str) -> int:
            return int(self._weight(side)[self._with_any(side, found[name])].sum())

        most = sorted(found, key=lambda name: (-tested(name), name))[:MOST_TYPES]
        return {name: found[name] for name in most}

    @cached_property
    def _owned(self) -> dict[Side, sp.csc_matrix]:
        """By side, ones where a user, or an item, has a feature."""
        found: dict[Side, sp.csc_matrix] = {}
        for side in SIDES:
            if (features := self._features(side)) is not None:
                own = features.matrix[: len(self._tested[side])]
                found[side] = (own != 0).astype(np.int64).tocsc()
        return found

    def _with_any(self, side: Side, features: Int64Array) -> BoolArray:
        """Who has any of some features."""
        found: BoolArray = self._owned[side][:, features].sum(axis=1).A1 > 0
        return found

    def _weight(self, side: Side) -> Int64Array:
        """What counts for a segment's size: tested users, or held-out likes of items."""
        tested = self._tested[side]
        return tested if side == "items" else (tested > 0).astype(np.int64)

    def _commonest(self, side: Side, features: Int64Array) -> Int64Array:
        """Of some features, those that say something of enough users or likes, commonest first."""
        weight = self._weight(side)
        support = self._owned[side][:, features].T @ weight
        telling = np.flatnonzero((support >= FEWEST) & (support < weight.sum()))
        order = np.argsort(-support[telling], kind="stable")
        chosen: Int64Array = features[telling[order]]
        return chosen


def thirds(known: sp.csr_matrix) -> Int64Array:
    """Whether each item is of the head (0), the middle (1) or the tail (2): int64 (n_items,).

    Each has a third of the known likes, from the most liked items to the least liked ones; what
    nobody likes is of the tail.
    """
    likes = np.bincount(known.indices, minlength=known.shape[1])
    order = np.argsort(-likes, kind="stable")
    before = np.cumsum(likes[order]) - likes[order]
    third = np.empty(len(likes), np.int64)
    third[order] = np.minimum(len(POPULARITY) * before // max(1, likes.sum()), 2)
    third[likes == 0] = 2
    return third


def headline_of(side: str) -> str:
    """The metric that segments of users, or of items, are shown by."""
    return HEADLINE if side == "users" else "recall_at_5"


def measure_segments(
    segments: Sequence[Segment], evaluations: Mapping[str, Evaluation]
) -> list[dict[str, Any]]:
    """Measure models on every segment.

    Parameters
    ----------
    segments : sequence of Segment
    evaluations : mapping of str to Evaluation
        By model, all on the same holdout.

    Returns
    -------
    list of dict
        Ready for JSON: `segment`, `side`, `users` and, for each of the `models`, the metrics of
        `METRICS` with `mean` and the ends `low` and `high` of Student's 95 % interval, None for a
        single user.
    """
    found = []
    for segment in segments:
        models: dict[str, dict[str, Any]] = {}
        users = 0
        for model, evaluation in evaluations.items():
            values = segment.per_user(evaluation)
            users = len(values[HEADLINE])
            models[model] = {
                name: Estimate.by_user(values[name]).as_dict() for name in METRICS if name in values
            }
        found.append(
            {"segment": segment.name, "side": segment.side, "users": users, "models": models}
        )
    return found


def compare_on(
    segment: Segment | None, metric: str, own: Evaluation, other: Evaluation, level: float
) -> PairedDifference:
    """One model against another on a segment, paired by user.

    Parameters
    ----------
    segment : Segment or None
        None for all users.
    metric : str
        One of the metrics of each user.
    own, other : Evaluation
        On the same holdout.
    level : float
        Of each end, one-sided.
    """
    values = [
        (one.per_user if segment is None else segment.per_user(one))[metric] for one in (own, other)
    ]
    return paired_difference(values[0], values[1], level)


def gains_and_losses(
    segments: Sequence[Segment], own: Evaluation, other: Evaluation
) -> list[dict[str, Any]]:
    """For whom a model is better than another, and for whom worse, by the 95 % interval.

    Parameters
    ----------
    segments : sequence of Segment
    own, other : Evaluation
        On the same holdout.

    Returns
    -------
    list of dict
        Ready for JSON: `segment`, `side`, `metric`, `users`, `mean`, `low` and `high` of the
        difference, and the `other` model's mean; in the order of the segments.
    """
    found = []
    for segment in segments:
        if segment.size(own) < 2:
            continue
        ahead = compare_on(segment, segment.headline, own, other, 0.975)
        found.append(
            {
                "segment": segment.name,
                "side": segment.side,
                "metric": segment.headline,
                "users": ahead.users,
                "mean": ahead.mean,
                "low": ahead.low,
                "high": ahead.high,
                "other": ahead.other,
            }
        )
    return found


def gains_text(compared: Sequence[Mapping[str, Any]]) -> str:
    """Who gains and who loses beyond chance, in one line."""
    parts = []
    for said, chosen in (
        ("gain", [one for one in compared if one["low"] > 0]),
        ("lose", [one for one in compared if one["high"] < 0]),
    ):
        largest = sorted(chosen, key=lambda one: -abs(one["mean"]))[:3]
        named = ", ".join(f"{one['segment']} {one['mean']:+.4f}" for one in largest)
        parts.append(f"{len(chosen)} {said}{f' ({named})' if named else ''}")
    return f"of {len(compared)} segments, {' and '.join(parts)} beyond chance"


def ks_of(evaluation: Evaluation) -> list[int]:
    """The lengths of the lists that were measured."""
    names = [name for name in evaluation.per_user if name.startswith("precision_at_")]
    return [int(name.removeprefix("precision_at_")) for name in names]


def evaluation_of(
    users: Int64Array,
    items: Int64Array,
    ranks: Int64Array,
    per_user: dict[str, Float64Array],
    catalogue: dict[str, float],
) -> Evaluation:
    """An evaluation from the ranks of its held-out items, as they were stored, without lists.

    Parameters
    ----------
    users, items, ranks : int64 (m,)
        Ascending by user and item.
    per_user : dict of str to float64 (n,)
    catalogue : dict of str to float
    """
    distinct, counts = np.unique(users, return_counts=True)
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    heldout = HeldOut(distinct.astype(np.int32), indptr, items)
    return Evaluation(heldout.users, per_user, catalogue, heldout, ranks)
