"""Audience: the users who are most likely to like an item, of the catalogue or new."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recsys.factors import Factors, Float32
from recsys.queries.answers import Answer, Ranked
from recsys.queries.filters import Allowed, Filters, allowed_users
from recsys.queries.newcomers import Subject
from recsys.queries.people import FEW, candidates, lists
from recsys.queries.selection import best, products
from recsys.queries.source import Source
from recsys.ranking import IntArray, top_k


def audience(source: Source, subject: Subject, n: int, filters: Filters) -> Answer:
    """The n users with the highest score for an item, without those who like it already.

    Filters count for users: must and must_not are features of theirs.
    """
    return _one(source, subject, n, filters, allowed_users(source, filters))


def audience_many(
    source: Source, subjects: Sequence[Subject], n: int, filters: Filters
) -> list[Answer]:
    """The same for many items at once, in blocks."""
    allowed = allowed_users(source, filters)
    if len(subjects) <= FEW:
        return [_one(source, subject, n, filters, allowed) for subject in subjects]
    factors = source.factors
    turned = Factors(
        np.stack([subject.vector for subject in subjects]),
        factors.user_factors,
        np.array([subject.bias for subject in subjects], np.float32),
        factors.user_biases,
    )
    likers = None if filters.include_seen else [subject.likers for subject in subjects]
    top = top_k(
        turned,
        np.arange(len(subjects)),
        n,
        known=None if likers is None else lists(likers, factors.n_users),
        candidates=candidates(allowed.mask, factors.n_users),
    )
    return [
        _answer(source, subject, users[users >= 0], scores[users >= 0], allowed)
        for subject, users, scores in zip(subjects, top.items, top.scores, strict=True)
    ]


def _one(source: Source, subject: Subject, n: int, filters: Filters, allowed: Allowed) -> Answer:
    factors = source.factors
    scores = products(factors.user_factors, subject.vector)
    scores += factors.user_biases + np.float32(subject.bias)
    if allowed.mask is not None:
        scores[~allowed.mask] = -np.inf
    if not filters.include_seen:
        scores[subject.likers] = -np.inf
    users = best(scores, n)
    return _answer(source, subject, users, scores[users], allowed)


def _answer(
    source: Source, subject: Subject, users: IntArray, scores: Float32, allowed: Allowed
) -> Answer:
    ids = source.bundle.users.take(users)
    reasons = _reasons(source, subject, users)
    made = map(Ranked, ids, ids, scores.tolist(), reasons)
    return Answer(tuple(made), (*subject.notes, *allowed.notes))


def _reasons(source: Source, subject: Subject, users: IntArray) -> list[str]:
    """What each user likes that is nearest to the item; nothing where nothing is on its side."""
    found = np.full(len(users), -1)
    for row, user in enumerate(users):
        liked = source.bundle.seen.of(user)
        liked = liked[liked != subject.index]
        alike = (source.vectors[liked] @ subject.vector) * source.inverse_lengths[liked]
        if len(liked) and alike.max() > 0:
            found[row] = liked[alike.argmax()]
    names = iter(source.names(found[found >= 0]))
    return [f"likes {next(names)}" if there else "" for there in found >= 0]
