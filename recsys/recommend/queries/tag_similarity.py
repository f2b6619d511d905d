"""Tag similarity: items for tags and tags like a tag, by cosine, biases left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from recsys.base.arrays import Float32Array, IntArray
from recsys.base.errors import InputError
from recsys.models.side import SideInformation
from recsys.recommend.queries.answers import Answer, Ranked
from recsys.recommend.queries.feature_lookup import Feature, FeatureLookup
from recsys.recommend.queries.filters import Filters, allowed_items
from recsys.recommend.queries.rows import rows
from recsys.recommend.queries.scoring import best, products
from recsys.recommend.queries.similarity import _cosines
from recsys.recommend.queries.view import BundleView
from recsys.recommend.queries.wording import listed

Tags = Feature | Sequence[Feature] | Mapping[str, float] | Mapping[Feature, float]
"""One tag, several, or several with weights; a weight below 0 turns a tag round."""


def items_for_tag(view: BundleView, tags: Tags, n: int, filters: Filters) -> Answer:
    """The n items with the highest cosine to a tag's vector, or to a weighted sum of several.

    A tag's vector is taken at length one, so that weights mean what they say. The reason of a row
    says which of the tags the item has.

    Raises
    ------
    NotFoundError
        If no tag is known.
    InputError
        If the model has no features, or the tags have no direction or cancel each other out.
    """
    side, lookup = vocabulary(view)
    weights = _weights(tags)
    notes: list[str] = []
    known, given = _known_tags(lookup, weights, notes)
    directions = side.mapping.feature_factors[known] * view.inverse_feature_lengths[known, None]
    vector = given @ directions
    if np.linalg.norm(vector) <= 1e-6 * np.abs(given).sum():
        raise InputError(
            f"{listed('tag', len(known))} without a direction ({', '.join(lookup.names(known))})",
            "tags of trained items that do not cancel each other out",
            "ask for other tags or weights",
        )
    allowed = allowed_items(view, filters)
    scores = _cosines(view, vector, filters, allowed)
    items = best(scores, n)
    reasons = [_carried(view, lookup, item, known) for item in items]
    return Answer(rows(view, items, scores[items], reasons), (*notes, *allowed.notes))


def similar_tags(
    view: BundleView, tag: Feature, n: int, kind: str | None, exclude: Sequence[Feature]
) -> Answer:
    """The n tags with the highest cosine to a tag.

    Raises
    ------
    NotFoundError
        If the tag or the type is unknown.
    InputError
        If the model has no features, or the tag no direction.
    """
    side, lookup = vocabulary(view)
    index = lookup.find(tag)
    inverse = view.inverse_feature_lengths
    if not inverse[index]:
        raise InputError(
            f"{lookup.names([index])[0]}, which is on no trained item",
            "a tag with a direction",
            "ask for another one",
        )
    vectors = side.mapping.feature_factors
    scores = products(vectors, vectors[index]) * (inverse * inverse[index])
    scores[inverse == 0] = -np.inf
    scores[index] = -np.inf
    chosen = ranked_tags(lookup, scores, n, kind, exclude)
    support = lookup.vocabulary.support
    reasons = [f"on {listed('item', int(support[feature]))}" for feature in chosen]
    return Answer(tag_rows(lookup, chosen, scores[chosen], reasons))


def ranked_tags(
    lookup: FeatureLookup,
    scores: Float32Array,
    n: int,
    kind: str | None,
    exclude: Sequence[Feature],
) -> IntArray:
    """The best features of a type, without those excluded; changes the scores."""
    scores[lookup.components] = -np.inf
    if kind is not None:
        scores[~lookup.of_type(kind)] = -np.inf
    scores[lookup.known(exclude)[0]] = -np.inf
    return best(scores, n)


def tag_rows(
    lookup: FeatureLookup, features: IntArray, scores: Float32Array, reasons: Sequence[str]
) -> tuple[Ranked, ...]:
    """Rows for features of the vocabulary."""
    parts = lookup.names(features), lookup.values(features), scores.tolist(), reasons
    return tuple(map(Ranked, *parts))


def vocabulary(view: BundleView) -> tuple[SideInformation, FeatureLookup]:
    """What the bundle knows of item features.

    Raises
    ------
    InputError
        If it knows none.
    """
    side, lookup = view.bundle.item_features, view.item_lookup
    if side is None or lookup is None:
        raise InputError(
            "a model that knows no item features",
            "one trained with features, to be asked about tags",
            "train with features",
        )
    return side, lookup


def _weights(tags: Tags) -> dict[Feature, float]:
    if isinstance(tags, Mapping):
        return {tag: float(weight) for tag, weight in tags.items()}
    if isinstance(tags, str) or _is_pair(tags):
        return {tags: 1.0}  # type: ignore[dict-item]
    return dict.fromkeys(tags, 1.0)


def _is_pair(tags: object) -> bool:
    return isinstance(tags, tuple) and len(tags) == 2 and all(isinstance(t, str) for t in tags)


def _known_tags(
    lookup: FeatureLookup, weights: Mapping[Feature, float], notes: list[str]
) -> tuple[IntArray, Float32Array]:
    """Known tags and their weights; of the others, a note."""
    if not weights:
        raise InputError("no tag", "at least one", "name a tag")
    if not np.isfinite(list(weights.values())).all():
        raise InputError("a weight that is not finite", "a number", "change the weight")
    summed: dict[int, float] = {}
    unknown: list[Feature] = []
    for tag, weight in weights.items():
        found, others = lookup.known([tag])
        unknown += others
        for index in found.tolist():
            summed[index] = summed.get(index, 0.0) + weight
    if not summed:
        raise lookup.unknown(unknown)
    if unknown:
        notes.append(lookup.note(unknown))
    return np.array(list(summed), np.int32), np.array(list(summed.values()), np.float32)


def _carried(view: BundleView, lookup: FeatureLookup, item: int, tags: IntArray) -> str:
    has = np.isin(tags, view.features_of(item))
    parts = ("has", tags[has]), ("not", tags[~has])
    return ", ".join(f"{word} {' '.join(lookup.names(part))}" for word, part in parts if len(part))
