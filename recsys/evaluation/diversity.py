"""Diverse lists: what diversity costs in precision, and what it gains, on a holdout."""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy.sparse as sp

from recsys.base.arrays import Float32Array, Float64Array, IntArray
from recsys.evaluation.lists import evenly_spaced
from recsys.ranking.diversity import directions, intra_list_diversity, rerank
from recsys.ranking.scorer import Scorer
from recsys.ranking.topk import top_k

K = 5
DEPTH = 200
"""Items among which lists are chosen, as house rules do."""
WEIGHTS = (0.0, 0.1, 0.2, 0.3, 0.5)
MOST_USERS = 2_000
_BLOCK = 100  # users whose items' vectors are in memory at once


def measure_diversity(
    scorer: Scorer,
    vectors: Float32Array,
    known: sp.csr_matrix,
    heldout: sp.csr_matrix,
    *,
    threads: int = 1,
) -> list[dict[str, Any]]:
    """Precision and diversity of lists of five, for several weights of diversity.

    Parameters
    ----------
    scorer : Scorer
    vectors : float32 (n_items, d)
        Of the items, whose cosines say how much they are alike.
    known, heldout : csr_matrix (n_users, n_items)
    threads : int

    Returns
    -------
    list of dict
        For each weight `weight`, `precision_at_5`, `intra_list_diversity` and `users`, means over
        users who have held-out items; empty if there are none.
    """
    users = np.flatnonzero(np.diff(heldout.indptr))
    users = users[evenly_spaced(len(users), MOST_USERS)]
    if not len(users):
        return []
    unit = directions(vectors)
    hits: dict[float, list[Float64Array]] = {weight: [] for weight in WEIGHTS}
    spread: dict[float, list[Float64Array]] = {weight: [] for weight in WEIGHTS}
    for start in range(0, len(users), _BLOCK):
        block = users[start : start + _BLOCK]
        top = top_k(scorer, block, DEPTH, known=known, threads=threads)
        for weight in WEIGHTS:
            lists = rerank(top, unit, weight, K)
            hits[weight].append(_precision(lists, block, heldout))
            spread[weight].append(intra_list_diversity(lists, unit))
    return [
        {
            "weight": weight,
            "precision_at_5": float(np.concatenate(hits[weight]).mean()),
            "intra_list_diversity": float(np.concatenate(spread[weight]).mean()),
            "users": len(users),
        }
        for weight in WEIGHTS
    ]


def _precision(lists: IntArray, users: IntArray, heldout: sp.csr_matrix) -> Float64Array:
    """The share of each list that was held out: float64 (n_users,)."""
    wanted = heldout[users].toarray() > 0
    rows = np.arange(len(lists))[:, None]
    found: Float64Array = ((lists >= 0) & wanted[rows, lists]).sum(axis=1) / K
    return found
