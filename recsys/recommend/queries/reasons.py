"""Reasons: why an item is recommended, as the nearest of what the user is known to like."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recsys.base.arrays import BoolArray, Int64Array, IntArray
from recsys.recommend.queries.scoring import inverse_lengths
from recsys.recommend.queries.subjects import QueryUser
from recsys.recommend.queries.view import BundleView


def reasons_of_many(
    view: BundleView, users: Sequence[QueryUser], items: Sequence[IntArray]
) -> list[str]:
    """The reasons for the items of each user, one after the other; as `Reasons` finds them.

    Those that are liked items are named all at once.
    """
    found: list[str] = []
    places: list[int] = []
    liked: list[Int64Array] = []
    for user, own in zip(users, items, strict=True):
        reasons = Reasons(view, user)
        if len(user.tags) or len(user.features) or not len(user.liked) or not len(own):
            found += reasons.of(own)
            continue
        nearest, real = reasons.nearest(own)
        places += (np.flatnonzero(real) + len(found)).tolist()
        liked.append(np.asarray(user.liked, np.int64)[nearest[real]])
        found += [""] * len(own)
    if places:
        for place, name in zip(places, view.names(np.concatenate(liked)), strict=True):
            found[place] = f"like {name}"
    return found


class Reasons:
    """Why items are recommended: the liked item, or tag, or feature of the user's own, that is
    nearest; nothing where none is on the same side."""

    def __init__(self, view: BundleView, user: QueryUser) -> None:
        self._view, self._user = view, user
        vectors = [view.vectors[user.liked]]
        inverse = [view.inverse_lengths[user.liked]]
        self._tags = view.bundle.item_features if len(user.tags) else None
        if self._tags is not None:
            vectors.append(self._tags.mapping.feature_factors[user.tags])
            inverse.append(view.inverse_feature_lengths[user.tags])
        own = view.bundle.user_features
        if own is not None and len(user.features) and not len(user.liked):
            vectors.append(own.mapping.feature_factors[user.features])
            inverse.append(inverse_lengths(vectors[-1]))
        self._vectors = np.concatenate(vectors) if len(vectors) > 1 else vectors[0]
        self._inverse = np.concatenate(inverse) if len(inverse) > 1 else inverse[0]

    def of(self, items: IntArray) -> list[str]:
        """A reason for each item, empty where none holds."""
        if not len(self._vectors) or not len(items):
            return [""] * len(items)
        nearest, real = self.nearest(items)
        words = self._words(nearest[real])
        found = iter(words)
        return [next(found) if there else "" for there in real]

    def nearest(self, items: IntArray) -> tuple[Int64Array, BoolArray]:
        """What is nearest to each item, as places among likes, tags and features; and whether it is
        on the same side at all. Neither may be empty."""
        cosines = (self._view.vectors[items] @ self._vectors.T) * self._inverse
        # An item that is liked, shown because likes were asked for, is no reason for itself.
        cosines[:, : len(self._user.liked)][items[:, None] == self._user.liked] = -np.inf
        nearest = cosines.argmax(axis=1)
        return nearest, cosines[np.arange(len(items)), nearest] > 0

    def _words(self, places: Int64Array) -> list[str]:
        liked, tags = self._user.liked, self._user.tags
        if not len(tags) and not len(self._user.features):
            return [f"like {name}" for name in self._view.names(liked[places])]
        return [self._word(place) for place in places]

    def _word(self, place: int) -> str:
        liked, tags = self._user.liked, self._user.tags
        if place < len(liked):
            return f"like {self._view.names(liked[place : place + 1])[0]}"
        place -= len(liked)
        n_tags = len(tags) if self._tags is not None else 0
        if place < n_tags:
            assert self._view.item_lookup is not None
            return f"suits {self._view.item_lookup.names(tags[place : place + 1])[0]}"
        assert self._view.user_lookup is not None
        feature = self._user.features[place - n_tags]
        return f"suits {self._view.user_lookup.names([feature])[0]}"
