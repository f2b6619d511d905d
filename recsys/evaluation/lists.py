"""Lists: what a model recommends to many users, and how varied these lists are."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from recsys.base.arrays import BoolArray, Float64Array, Int32Array, Int64Array, IntArray
from recsys.bundle import Bundle
from recsys.models.untrained import BY_FEATURES, BY_LIKES, BY_POPULARITY, PickedRows
from recsys.ranking.factors import Factors
from recsys.ranking.neighbours import blended
from recsys.ranking.rows import Rows
from recsys.ranking.scorer import Scorer
from recsys.ranking.topk import TopK, top_k


def top_lists(
    bundle: Bundle,
    users: IntArray,
    n: int,
    *,
    masked: bool = True,
    threads: int = 1,
    allowed: BoolArray | None = None,
) -> TopK:
    """The n best trained items of each user, of those that were not trained as well.

    Parameters
    ----------
    bundle : Bundle
    users : int (m,)
        User indices.
    n : int
    masked : bool
        Leave out what the user has liked, and what is hidden from them.
    threads : int
        Blocks of users ranked side by side.
    allowed : bool (n_items,) or None
        Which items may be on lists; by default all that are trained.

    Returns
    -------
    TopK
        Items and scores, (m, n) each, padded with -1 where fewer items are left.
    """
    users = np.asarray(users)
    candidates: IntArray | None = np.arange(bundle.trained)
    if allowed is not None:
        candidates = np.flatnonzero(allowed[: bundle.trained])
    elif bundle.trained == len(bundle.items):
        candidates = None
    items = np.full((len(users), n), -1, np.int32)
    scores = np.full((len(users), n), -np.inf, np.float32)
    for part in _parts(bundle, users):
        known = part.known if masked else None
        found = top_k(
            part.scorer, part.rows, n, known=known, candidates=candidates, threads=threads
        )
        items[part.places], scores[part.places] = found.items, found.scores
    return TopK(items, scores)


@dataclass(frozen=True)
class _Part:
    """Users that are scored alike: their places in what is asked, their rows in the scorer.

    `known` are the items that are left out of their lists.
    """

    places: Int64Array
    rows: IntArray
    scorer: Scorer
    known: Rows


def _parts(bundle: Bundle, users: IntArray) -> Iterator[_Part]:
    """The users that were trained, and the others by likes and features, or by popularity."""
    trained = users < bundle.trained_users
    yield _Part(np.flatnonzero(trained), users[trained], bundle.scorer, bundle.not_listed)
    if trained.all():
        return
    others = np.flatnonzero(~trained)
    found = bundle.untrained.vectors(users[others])
    factors, by_popularity = bundle.factors, found.basis == BY_POPULARITY
    nothing = np.empty((bundle.factors.n_items, 0), np.float32)
    for chosen in np.flatnonzero(~by_popularity), np.flatnonzero(by_popularity):
        if not len(chosen):
            continue
        likes = PickedRows.of(bundle.seen, users[others[chosen]])
        vectors, biases = found.vectors[chosen], found.biases[chosen]
        scorer: Scorer = blended(
            Factors(vectors, factors.item_factors, biases, factors.item_biases),
            bundle.untrained.neighbours,
            likes,
        )
        if by_popularity[chosen[0]]:
            counts = bundle.likes.astype(np.float32)
            scorer = Factors(vectors[:, :0], nothing, np.zeros_like(biases), counts)
        known = likes
        if bundle.hidden is not None:
            known = PickedRows.of(bundle.not_listed, users[others[chosen]])
        yield _Part(others[chosen], np.arange(len(chosen)), scorer, known)


def count_bases(model: Bundle, users: IntArray | None = None) -> dict[str, int]:
    """How many users are answered from a trained vector, likes, features, or by popularity.

    Parameters
    ----------
    model : Bundle
    users : int (n,) or None
        Some of them; by default all.
    """
    users = np.arange(len(model.users)) if users is None else users
    others = users[users >= model.trained_users]
    counts = np.bincount(model.untrained.basis(others), minlength=3).tolist()
    return {
        "trained": len(users) - len(others),
        "by_likes": counts[BY_LIKES],
        "by_features": counts[BY_FEATURES],
        "by_popularity": counts[BY_POPULARITY],
    }


def evenly_spaced(n: int, most: int) -> Int64Array:
    """Indices 0..n-1, or a number of them that are evenly spaced from the first to the last.

    Parameters
    ----------
    n : int
    most : int
        How many are returned at most.

    Returns
    -------
    int64 (min(n, most),)
    """
    return np.arange(n) if n <= most else np.linspace(0, n - 1, most).astype(np.int64)


def attainable_coverage(lists: Int32Array, n_items: int) -> float:
    """The number of different items in the lists, as a share of what they could have at most.

    Unlike coverage, it is not low only because the lists are few and the catalogue is large.

    Parameters
    ----------
    lists : int32 (n_users, n)
        Item indices, padded with -1.
    n_items : int
    """
    shown = lists[lists >= 0]
    return len(np.unique(shown)) / max(1, min(n_items, len(shown)))


def mean_list_overlap(lists: Int32Array, n_items: int) -> float:
    """The share of a list that two users have in common, on average over all pairs of users.

    Parameters
    ----------
    lists : int32 (n_users, n)
        Item indices, padded with -1.
    n_items : int
    """
    users, shown = len(lists), lists[lists >= 0]
    if users < 2 or not len(shown):
        return 0.0
    times = np.bincount(shown, minlength=n_items).astype(np.float64)
    return float((times * (times - 1)).sum() / ((users - 1) * len(shown)))


def jaccard_overlap(one: IntArray, other: IntArray) -> Float64Array:
    """The Jaccard index of two lists of each user: items in both, as a share of those in either.

    Parameters
    ----------
    one, other : int (n_users, n), int (n_users, m)
        Item indices without repetition, padded with -1.

    Returns
    -------
    float64 (n_users,)
        1 where both lists are empty.
    """
    equal = (one[:, :, None] == other[:, None, :]) & (other >= 0)[:, None, :]
    both = np.count_nonzero(equal, axis=(1, 2))
    either = np.count_nonzero(one >= 0, axis=1) + np.count_nonzero(other >= 0, axis=1) - both
    return np.where(either > 0, both / np.maximum(1, either), 1.0)
