"""Explanation: a score taken apart into what adds up to it, and the liked items that are nearest.

A score is a sum of products, so nothing has to be estimated: an item's vector is its own part plus
a share of what its features say, and the user's vector is multiplied with each of them.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from recsys.base.arrays import Float32Array, IntArray
from recsys.recommend.queries.answers import Ranked
from recsys.recommend.queries.cold_start import known_user
from recsys.recommend.queries.rows import rows
from recsys.recommend.queries.scoring import best, inverse_lengths
from recsys.recommend.queries.subjects import QueryUser
from recsys.recommend.queries.view import BundleView, side_of


@dataclass(frozen=True)
class Part:
    """One summand of a score.

    Parameters
    ----------
    kind : {"user", "item", "feature", "like"}
        The user as such; the item beyond its features; one feature of the item; one item that the
        user likes, whose neighbour the item is.
    id, name : str
    vector : float
        From the user's vector and the part's.
    bias : float
        Whoever the user is; for the user, whatever the item is.
    """

    kind: str
    id: str
    name: str
    vector: float
    bias: float

    @property
    def value(self) -> float:
        """What the part adds to the score."""
        return self.vector + self.bias


@dataclass(frozen=True)
class Explanation:
    """Why a user has a score for an item.

    Parameters
    ----------
    user, item, name : str
    score : float
        The sum of the parts.
    parts : tuple of Part
        The user, the item itself, then its features, then the user's likes, those that matter
        most first.
    nearest : tuple of Ranked
        Items the user likes, by cosine to the item; none that points away from it.
    notes : tuple of str
        What the answer goes by, where the user was not trained.
    """

    user: str
    item: str
    name: str
    score: float
    parts: tuple[Part, ...]
    nearest: tuple[Ranked, ...]
    notes: tuple[str, ...] = ()

    def as_dict(self) -> dict[str, Any]:
        """Plain values, with each part's `value`."""
        parts = [{**asdict(part), "value": part.value} for part in self.parts]
        return {**asdict(self), "parts": parts, "nearest": [row.as_dict() for row in self.nearest]}

    def to_frame(self) -> Any:
        """The parts as a DataFrame (kind, id, name, vector, bias, value); needs pandas."""
        import pandas as pd

        return pd.DataFrame(self.as_dict()["parts"])


def explain(view: BundleView, user: object, item: object, n: int) -> Explanation:
    """Take the score of a user for an item apart; n nearest liked items.

    Raises
    ------
    NotFoundError
        If the user or the item is unknown.
    """
    return explain_to(view, known_user(view, user), str(user), item, n)


def explain_to(view: BundleView, user: QueryUser, title: str, item: object, n: int) -> Explanation:
    """The same for any user, called by a title.

    The score of a user of whom nothing is known is the number of likes of the item.
    """
    bundle, factors = view.bundle, view.factors
    i = bundle.items.index(item)
    name = view.names(np.array([i]))[0]
    nearest = _nearest(view, user.liked, i, n)
    if user.vector is None:
        likes = float(view.likes[i])
        whole = Part("item", bundle.items.id(i), name, 0.0, likes)
        return Explanation(title, whole.id, name, likes, (whole,), nearest, user.notes)
    if user.cosine:
        score = float(factors.item_factors[i] @ user.vector)
        score *= float(view.inverse_lengths[i] * inverse_lengths(user.vector[None])[0])
        whole = Part("item", bundle.items.id(i), name, score, 0.0)
        return Explanation(title, whole.id, name, score, (whole,), nearest, user.notes)
    item_bias = float(factors.item_biases[i])
    score = float(factors.item_factors[i] @ user.vector) + item_bias + user.bias
    shared, shared_bias, features = _features(view, user.vector, i)
    own = Part(
        "item",
        bundle.items.id(i),
        name,
        float((factors.item_factors[i] - shared) @ user.vector),
        item_bias - shared_bias,
    )
    person = Part("user", title, title, 0.0, user.bias)
    likes_parts = _likes(view, user, i)
    score += sum(part.vector for part in likes_parts)
    parts = (person, own, *features, *likes_parts)
    return Explanation(title, own.id, name, score, parts, nearest, user.notes)


def _likes(view: BundleView, user: QueryUser, item: int) -> tuple[Part, ...]:
    """What each of the user's likes adds to the score, those that add nothing left out."""
    neighbours = view.neighbours_for(user.trained)
    if neighbours is None:
        return ()
    liked = user.liked
    added = neighbours.contributions(liked, item)
    order = np.argsort(-np.abs(added), kind="stable")
    order = order[added[order] != 0]
    ids, names = view.ids_and_names(liked[order])
    values = added[order].tolist()
    return tuple(
        Part("like", external, name, value, 0.0)
        for external, name, value in zip(ids, names, values, strict=True)
    )


def _features(
    view: BundleView, user: Float32Array, item: int
) -> tuple[Float32Array, float, tuple[Part, ...]]:
    """What the item's vector and bias have from features, and the part of each feature."""
    side, lookup = view.bundle.item_features, view.item_lookup
    features, weights = side_of(side, item)
    if side is None or lookup is None or not len(features):
        return np.zeros_like(view.vectors[item]), 0.0, ()
    mapping, share = side.mapping, float(side.share[item])
    mapped, mapped_bias = mapping.vector(features, weights)
    vectors = weights[:, None] * mapping.feature_factors[features]
    # Mapped vectors are scaled to one length; each feature's part is scaled with them.
    length = float(np.linalg.norm(vectors.sum(axis=0)))
    scale = share * float(np.linalg.norm(mapped)) / length if length else 0.0
    products = scale * (vectors @ user)
    biases = share * weights * mapping.feature_biases[features]
    order = np.argsort(-np.abs(products + biases), kind="stable")
    parts = tuple(
        Part("feature", name, value, float(products[place]), float(biases[place]))
        for name, value, place in zip(
            lookup.names(features[order]), lookup.values(features[order]), order, strict=True
        )
    )
    return mapped * np.float32(share), share * mapped_bias, parts


def _nearest(view: BundleView, liked: IntArray, item: int, n: int) -> tuple[Ranked, ...]:
    liked = liked[liked != item]
    vector = view.vectors[item]
    cosines = (view.vectors[liked] @ vector) * view.inverse_lengths[liked]
    cosines *= inverse_lengths(vector[None])[0]
    cosines[cosines <= 0] = -np.inf
    found = best(cosines, n)
    reasons = ["liked"] * len(found)
    return rows(view, liked[found], cosines[found], reasons)
