"""Newcomers: users and items that came after the cut of a split by time, measured apart.

A new user is answered from the first interactions after the cut, an item by its features; nothing
is fitted again for either.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from recsys.base.arrays import BoolArray, Float32Array
from recsys.data.folds import Fold, restricted
from recsys.data.splits import TimeParts
from recsys.evaluation.cold_start import ColdStartHoldout, estimates
from recsys.evaluation.comparison import FittedStrategy, TriedStrategy, cold
from recsys.models.foldin import learn_foldin
from recsys.models.item_to_item import NeighbourScorer
from recsys.ranking.factors import Factors
from recsys.ranking.metrics import evaluate
from recsys.ranking.neighbours import Blended
from recsys.ranking.scorer import Scorer

METRICS = ("precision_at_5", "recall_at_10", "ndcg_at_10")


def scorer_of_new_users(scorer: Scorer, known: sp.csr_matrix, likes: sp.csr_matrix) -> Scorer:
    """A fitted model that scores other users, by what these like.

    Factors fold the users in, neighbours add up the rows of what they like, a blend does both.

    Parameters
    ----------
    scorer : Scorer
        Factors, neighbours, or both.
    known : csr_matrix (n_users, n_items)
        What it was fitted on.
    likes : csr_matrix (n_new, n_items)
    """
    if isinstance(scorer, NeighbourScorer):
        return NeighbourScorer(scorer.neighbours, likes)
    if isinstance(scorer, Blended):
        return Blended(_folded(scorer.factors, known, likes), scorer.neighbours, likes)
    assert isinstance(scorer, Factors)
    return _folded(scorer, known, likes)


def _folded(factors: Factors, known: sp.csr_matrix, likes: sp.csr_matrix) -> Factors:
    n_new = likes.shape[0]
    vectors: Float32Array = np.zeros((n_new, factors.n_components), np.float32)
    if factors.n_components:
        vectors = learn_foldin(factors, known).users(factors.item_factors, likes)
    return replace(factors, user_factors=vectors, user_biases=np.zeros(n_new, np.float32))


def measure_new_users(
    scorers: Mapping[str, Scorer], fold: Fold, time: TimeParts, seed: int, samples: int
) -> dict[str, Any]:
    """Models on users who were not trained, by what is known of them.

    Parameters
    ----------
    scorers : mapping of str to Scorer
        Fitted on the fold.
    fold : Fold
    time : TimeParts
    seed, samples : int
        Of the bootstrap.

    Returns
    -------
    dict
        `users` (their number), `known` and `heldout` (interactions), and `models` (metrics with
        intervals by name); empty where there is no such user.
    """
    users = np.flatnonzero(np.diff(time.from_new_users.indptr))
    if not len(users):
        return {}
    assert fold.items is not None
    given, wanted = (
        restricted(part, users, fold.items) for part in (time.of_new_users, time.from_new_users)
    )
    measured = {
        name: evaluate(
            scorer_of_new_users(scorer, fold.known, given), wanted, known=given, ks=(5, 10)
        ).per_user
        for name, scorer in scorers.items()
    }
    return {
        "users": len(users),
        "known": int(given.nnz),
        "heldout": int(wanted.nnz),
        "models": {
            name: estimates({metric: found[metric] for metric in METRICS}, seed, samples)
            for name, found in measured.items()
        },
    }


def measure_new_items(
    fitted: Mapping[str, FittedStrategy],
    tried: Mapping[str, TriedStrategy],
    fold: Fold,
    time: TimeParts,
    described: BoolArray,
    seed: int,
    samples: int,
) -> dict[str, Any]:
    """Rankings, by features alone, of the items that came after the cut.

    Parameters
    ----------
    fitted : mapping of str to FittedStrategy
        Fitted on the fold.
    tried : mapping of str to TriedStrategy
    fold : Fold
    time : TimeParts
    described : bool (n_items of the core,)
        Which items have features.
    seed, samples : int
        Of the bootstrap.

    Returns
    -------
    dict
        As `recsys.evaluation.comparison.cold`, and `without_features` (new items that have none);
        empty where no new item has features.
    """
    assert fold.items is not None
    assert fold.users is not None
    new = np.unique(time.new_items.indices)
    with_features = new[described[new]]
    if not len(with_features) or any(entry.model.item is None for entry in fitted.values()):
        return {}
    others = np.setdiff1d(np.arange(len(described)), fold.items)
    place = len(fold.items) + np.searchsorted(others, with_features)
    nobody = sp.csr_matrix(fold.known.shape, dtype=np.float32)
    held = ColdStartHoldout(
        fold.known,
        restricted(time.new_items, fold.users, with_features),
        place,
        np.empty(0, np.int64),
        nobody,
        nobody,
    )
    found = cold(fitted, tried, held, seed=seed, samples=samples)
    return found | {"without_features": len(new) - len(with_features)}
