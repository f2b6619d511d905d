"""Likeness: items like an item, items for tags, tags like a tag; cosines, biases left out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from recsys.base.arrays import Float32Array, Int64Array, IntArray
from recsys.base.errors import InputError
from recsys.models.side import SideInformation
from recsys.ranking.factors import Factors
from recsys.ranking.topk import flatten, top_k
from recsys.recommend.index import Index
from recsys.recommend.queries.answers import Answer, Ranked
from recsys.recommend.queries.filters import Allowed, Filters, allowed_items
from recsys.recommend.queries.newcomers import Subject
from recsys.recommend.queries.people import answers, candidates, lists, rows, wanted
from recsys.recommend.queries.selection import best, inverse_lengths, products
from recsys.recommend.queries.source import Source
from recsys.recommend.queries.words import Feature, Words, listed

Tags = Feature | Sequence[Feature] | Mapping[str, float] | Mapping[Feature, float]
"""One tag, several, or several with weights; a weight below 0 turns a tag round."""

_COMMON = 3  # common features in a reason, at most


def similar_items(
    source: Source, subject: Subject, n: int, filters: Filters, index: Index | None = None
) -> Answer:
    """The n items whose vectors have the highest cosine to the subject's.

    Raises
    ------
    InputError
        If the subject has no direction.
    """
    _require_direction(subject)
    allowed = allowed_items(source, filters)
    notes = (*subject.notes, *allowed.notes)
    if index is not None:
        pool = index.for_item(subject.vector, wanted(n, 1, allowed))
        items, scores = _of_pool(source, subject, n, filters, allowed, pool)
        if len(items) == n:
            said = f"approximate, recall_at_10 {index.recall['similar']:.2f} as measured"
            return _answer(source, subject, items, scores, (*notes, said))
        notes = (*notes, "exact: the index found too few")
    scores = _cosines(source, subject.vector, filters, allowed)
    if subject.index is not None and subject.index < len(scores):
        scores[subject.index] = -np.inf
    items = best(scores, n)
    return _answer(source, subject, items, scores[items], notes)


def _of_pool(
    source: Source, subject: Subject, n: int, filters: Filters, allowed: Allowed, pool: Int64Array
) -> tuple[Int64Array, Float32Array]:
    """The best of a few items, by exact cosines."""
    fitting = (pool != subject.index) & (pool < _within(source, filters))
    fitting &= source.inverse_lengths[pool] > 0
    if allowed.mask is not None:
        fitting &= allowed.mask[pool]
    pool = pool[fitting]
    scores = products(source.vectors[pool], subject.vector)
    scores *= source.inverse_lengths[pool] * inverse_lengths(subject.vector[None])[0]
    chosen = best(scores, n)
    return pool[chosen], scores[chosen]


def _answer(
    source: Source,
    subject: Subject,
    items: Int64Array,
    scores: Float32Array,
    notes: tuple[str, ...],
) -> Answer:
    reasons = common(source, [subject.features], [items])
    return Answer(rows(source, items, scores, reasons), notes)


def similar_items_many(
    source: Source, subjects: Sequence[Subject], n: int, filters: Filters
) -> list[Answer]:
    """The same for many at once, in blocks."""
    for subject in subjects:
        _require_direction(subject)
    allowed = allowed_items(source, filters)
    within = _within(source, filters)
    directions = source.vectors[:within] * source.inverse_lengths[:within, None]
    vectors = np.stack([subject.vector for subject in subjects])
    vectors *= inverse_lengths(vectors)[:, None]
    nothing = np.zeros(len(subjects), np.float32), np.zeros(within, np.float32)
    itself = [np.array([] if s.index is None else [s.index], np.int32) for s in subjects]
    mask = source.inverse_lengths[:within] > 0
    if allowed.mask is not None:
        mask &= allowed.mask[:within]
    top = top_k(
        Factors(vectors, directions, *nothing),
        np.arange(len(subjects)),
        n,
        known=lists(itself, within),
        candidates=candidates(mask, within),
    )
    features = [subject.features for subject in subjects]
    reasons = common(source, features, [found[found >= 0] for found in top.items])
    notes = [(*subject.notes, *allowed.notes) for subject in subjects]
    return answers(source, top.items, top.scores, reasons, notes)


def common(source: Source, features: Sequence[IntArray], items: Sequence[IntArray]) -> list[str]:
    """Which features items have in common with what was asked for: the rarest, as words.

    Parameters
    ----------
    features : sequence of int arrays
        Of each subject.
    items : sequence of int arrays
        Those found for each.

    Returns
    -------
    list of str
        One for each item, subject after subject.
    """
    side, words = source.bundle.item_features, source.words
    found = np.concatenate(items)
    reasons = [""] * len(found)
    if side is None or words is None:
        return reasons
    width = side.profiles.n_features
    places = np.arange(len(items))
    subject_of = np.repeat(places, [len(part) for part in items])
    owner_of = np.repeat(places, [len(part) for part in features])
    wanted = owner_of * width + np.concatenate(features)
    entries, pairs = flatten(side.profiles, found)
    there = side.profiles.indices[entries]
    shared = np.isin(subject_of[pairs] * width + there, wanted)
    pairs, there = pairs[shared], there[shared]
    order = np.lexsort((there, -side.profiles.idf[there], pairs))
    pairs, there = pairs[order], there[order]
    few = np.arange(len(pairs)) - np.searchsorted(pairs, pairs) < _COMMON
    for pair, name in zip(pairs[few].tolist(), words.names(there[few]), strict=True):
        reasons[pair] += f", {name}" if reasons[pair] else f"both {name}"
    return reasons


def items_for_tag(source: Source, tags: Tags, n: int, filters: Filters) -> Answer:
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
    side, words = vocabulary(source)
    weights = _weights(tags)
    notes: list[str] = []
    known, given = _known_tags(words, weights, notes)
    directions = side.mapping.feature_factors[known] * source.inverse_feature_lengths[known, None]
    vector = given @ directions
    if np.linalg.norm(vector) <= 1e-6 * np.abs(given).sum():
        raise InputError(
            f"{listed('tag', len(known))} without a direction ({', '.join(words.names(known))})",
            "tags of trained items that do not cancel each other out",
            "ask for other tags or weights",
        )
    allowed = allowed_items(source, filters)
    scores = _cosines(source, vector, filters, allowed)
    items = best(scores, n)
    reasons = [_carried(source, words, item, known) for item in items]
    return Answer(rows(source, items, scores[items], reasons), (*notes, *allowed.notes))


def similar_tags(
    source: Source, tag: Feature, n: int, kind: str | None, exclude: Sequence[Feature]
) -> Answer:
    """The n tags with the highest cosine to a tag.

    Raises
    ------
    NotFoundError
        If the tag or the type is unknown.
    InputError
        If the model has no features, or the tag no direction.
    """
    side, words = vocabulary(source)
    index = words.find(tag)
    inverse = source.inverse_feature_lengths
    if not inverse[index]:
        raise InputError(
            f"{words.names([index])[0]}, which is on no trained item",
            "a tag with a direction",
            "ask for another one",
        )
    vectors = side.mapping.feature_factors
    scores = products(vectors, vectors[index]) * (inverse * inverse[index])
    scores[inverse == 0] = -np.inf
    scores[index] = -np.inf
    chosen = ranked_tags(words, scores, n, kind, exclude)
    support = words.vocabulary.support
    reasons = [f"on {listed('item', int(support[feature]))}" for feature in chosen]
    return Answer(tag_rows(words, chosen, scores[chosen], reasons))


def ranked_tags(
    words: Words, scores: Float32Array, n: int, kind: str | None, exclude: Sequence[Feature]
) -> IntArray:
    """The best features of a type, without some; changes the scores."""
    if kind is not None:
        scores[~words.of_type(kind)] = -np.inf
    scores[words.known(exclude)[0]] = -np.inf
    return best(scores, n)


def tag_rows(
    words: Words, features: IntArray, scores: Float32Array, reasons: Sequence[str]
) -> tuple[Ranked, ...]:
    parts = words.names(features), words.values(features), scores.tolist(), reasons
    return tuple(map(Ranked, *parts))


def vocabulary(source: Source) -> tuple[SideInformation, Words]:
    """What the bundle knows of item features.

    Raises
    ------
    InputError
        If it knows none.
    """
    side, words = source.bundle.item_features, source.words
    if side is None or words is None:
        raise InputError(
            "a model that knows no item features",
            "one trained with features, to be asked about tags",
            "train with features",
        )
    return side, words


def _weights(tags: Tags) -> dict[Feature, float]:
    if isinstance(tags, Mapping):
        return {tag: float(weight) for tag, weight in tags.items()}
    if isinstance(tags, str) or _is_pair(tags):
        return {tags: 1.0}  # type: ignore[dict-item]
    return dict.fromkeys(tags, 1.0)


def _is_pair(tags: object) -> bool:
    return isinstance(tags, tuple) and len(tags) == 2 and all(isinstance(t, str) for t in tags)


def _known_tags(
    words: Words, weights: Mapping[Feature, float], notes: list[str]
) -> tuple[IntArray, Float32Array]:
    """Known tags and their weights; of the others, a note."""
    if not weights:
        raise InputError("no tag", "at least one", "name a tag")
    if not np.isfinite(list(weights.values())).all():
        raise InputError("a weight that is not finite", "a number", "change the weight")
    summed: dict[int, float] = {}
    unknown: list[Feature] = []
    for tag, weight in weights.items():
        found, strange = words.known([tag])
        unknown += strange
        for index in found.tolist():
            summed[index] = summed.get(index, 0.0) + weight
    if not summed:
        raise words.unknown(unknown)
    if unknown:
        notes.append(words.note(unknown))
    return np.array(list(summed), np.int32), np.array(list(summed.values()), np.float32)


def _carried(source: Source, words: Words, item: int, tags: IntArray) -> str:
    has = np.isin(tags, source.features_of(item))
    parts = ("has", tags[has]), ("not", tags[~has])
    return ", ".join(f"{word} {' '.join(words.names(part))}" for word, part in parts if len(part))


def _cosines(
    source: Source, vector: Float32Array, filters: Filters, allowed: Allowed
) -> Float32Array:
    """Cosines of the catalogue, -inf for what has no direction or may not be answered."""
    within = _within(source, filters)
    inverse = source.inverse_lengths[:within]
    scores = products(source.vectors[:within], vector)
    scores *= inverse * inverse_lengths(vector[None])[0]
    scores[inverse == 0] = -np.inf
    if allowed.mask is not None:
        scores[~allowed.mask[:within]] = -np.inf
    return scores


def _within(source: Source, filters: Filters) -> int:
    return source.bundle.trained if filters.include_untrained is False else len(source.vectors)


def _require_direction(subject: Subject) -> None:
    if not subject.vector.any():
        raise InputError(
            f"{subject.title!r}, which has neither likes nor known features",
            "an item that something is known of",
            "ask for another one, or give features",
        )
