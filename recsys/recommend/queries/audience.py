"""Audience: the users who are most likely to like an item, of the catalogue or new."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from recsys.base.arrays import Float32Array, Int64Array, IntArray
from recsys.ranking.factors import Factors
from recsys.ranking.topk import flatten, top_k
from recsys.recommend.queries.answers import Answer, Ranked
from recsys.recommend.queries.filters import Allowed, Filters, allowed_users
from recsys.recommend.queries.newcomers import Subject
from recsys.recommend.queries.people import FEW, candidates, lists
from recsys.recommend.queries.selection import best, products
from recsys.recommend.queries.source import Source


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
    likers = [
        subject.likers if subject.index is None else source.likers.of(subject.index)
        for subject in subjects
    ]
    top = top_k(
        turned,
        np.arange(len(subjects)),
        n,
        known=None if filters.include_seen else lists(likers, factors.n_users),
        candidates=candidates(allowed.mask, factors.n_users),
    )
    users = [found[found >= 0] for found in top.items]
    scores = [row[: len(found)] for row, found in zip(top.scores, users, strict=True)]
    return _answers(source, subjects, users, scores, allowed)


def _one(source: Source, subject: Subject, n: int, filters: Filters, allowed: Allowed) -> Answer:
    factors = source.factors
    scores = products(factors.user_factors, subject.vector)
    scores += factors.user_biases + np.float32(subject.bias)
    if allowed.mask is not None:
        scores[~allowed.mask] = -np.inf
    if not filters.include_seen:
        likers = subject.likers if subject.index is None else source.likers_of(subject.index)
        scores[likers] = -np.inf
    users = best(scores, n)
    return _answers(source, [subject], [users], [scores[users]], allowed)[0]


def _answers(
    source: Source,
    subjects: Sequence[Subject],
    users: Sequence[IntArray],
    scores: Sequence[Float32Array],
    allowed: Allowed,
) -> list[Answer]:
    """Rows of all answers, ids and names looked up at once."""
    ids = source.bundle.users.take(np.concatenate(users))
    near = np.concatenate([_nearest(source, *pair) for pair in zip(subjects, users, strict=True)])
    names = iter(source.names(near[near >= 0]))
    reasons = [f"likes {next(names)}" if there else "" for there in (near >= 0).tolist()]
    made = tuple(map(Ranked, ids, ids, np.concatenate(scores).tolist(), reasons))
    ends = np.cumsum([len(part) for part in users]).tolist()
    return [
        Answer(made[end - len(part) : end], (*subject.notes, *allowed.notes))
        for subject, part, end in zip(subjects, users, ends, strict=True)
    ]


def _nearest(source: Source, subject: Subject, users: IntArray) -> Int64Array:
    """What each user likes that is nearest to the item; -1 where nothing is on its side."""
    entries, owners = flatten(source.bundle.seen, users)
    liked = source.bundle.seen.indices[entries]
    alike = (source.vectors[liked] @ subject.vector) * source.inverse_lengths[liked]
    alike[liked == subject.index] = 0
    order = np.argsort(alike, kind="stable")
    order = order[alike[order] > 0]
    found = np.full(len(users), -1)
    found[owners[order]] = liked[order]  # the nearest of each user comes last and stays
    return found
