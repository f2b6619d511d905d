"""Reasons: why an item is recommended, as the nearest of what the user is known to like."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from recsys.base.arrays import BoolArray, Int64Array, IntArray
from recsys.recommend.queries.scoring import inverse_lengths
from recsys.recommend.queries.subjects import QueryUser
from recsys.recommend.queries.view import BundleView

_TOGETHER = 2**11  # vectors of likes


def reasons_of_many(
    view: BundleView, users: Sequence[QueryUser], items: Sequence[IntArray]
) -> list[str]:
    """The reasons for the items of each user, one after the other; as `Reasons` finds them.

    Those that are liked items are found for several users at once, and named all at once.
    """
    ends = np.cumsum([len(own) for own in items])
    found = np.full(int(ends[-1]) if len(ends) else 0, "", object)
    simple = []
    for place, (user, own) in enumerate(zip(users, items, strict=True)):
        if not len(own):
            continue
        if len(user.tags) or len(user.features) or not len(user.liked):
            found[ends[place] - len(own) : ends[place]] = Reasons(view, user).of(own)
        else:
            simple.append(place)
    nearest = np.full(len(found), -1)
    for group in _groups([len(users[place].liked) for place in simple]):
        chosen = [simple[place] for place in group]
        liked = _padded([users[place].liked for place in chosen])
        own = _padded([items[place] for place in chosen])
        likes = _nearest_likes(view, own, liked)
        for place, row in zip(chosen, likes, strict=True):
            nearest[ends[place] - len(items[place]) : ends[place]] = row[: len(items[place])]
    there = np.flatnonzero(nearest >= 0)
    found[there] = [f"like {name}" for name in view.names(nearest[there])]
    return found.tolist()


def _groups(counts: Sequence[int]) -> Iterator[Int64Array]:
    """Places of counts that are nearly equal, so many that the likes fit the cache."""
    order = np.argsort(counts, kind="stable")
    start = 0
    while start < len(order):
        stop = start + max(1, _TOGETHER // max(1, counts[order[start]]))
        stop = start + max(1, _TOGETHER // max(1, counts[order[min(stop, len(order)) - 1]]))
        yield order[start:stop]
        start = stop


def _padded(rows: Sequence[IntArray]) -> Int64Array:
    """Rows of one length, those that are shorter filled up with -1."""
    lengths = np.array([len(row) for row in rows])
    found = np.full((len(rows), lengths.max()), -1)
    found[np.arange(found.shape[1]) < lengths[:, None]] = np.concatenate(rows)
    return found


def _nearest_likes(view: BundleView, items: Int64Array, liked: Int64Array) -> Int64Array:
    """What each user likes that is nearest to each of their items; -1 where nothing is.

    Parameters
    ----------
    items : int64 (n_users, n)
    liked : int64 (n_users, m)
        Both padded with -1.
    """
    cosines = view.vectors[items] @ view.vectors[liked].transpose(0, 2, 1)
    cosines *= view.inverse_lengths[liked][:, None]
    # An item that is liked, shown because likes were asked for, is no reason for itself.
    cosines[(items[:, :, None] == liked[:, None]) | (liked < 0)[:, None]] = -np.inf
    nearest = cosines.argmax(axis=2)
    real = np.take_along_axis(cosines, nearest[:, :, None], 2)[:, :, 0] > 0
    return np.where(real, np.take_along_axis(liked, nearest, 1), -1)


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
