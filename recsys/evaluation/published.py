"""Published protocols: splits and metrics of papers, so that figures can be set beside theirs.

The pipeline measures otherwise, see docs/measuring.md. These are for comparison with others.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from recsys.base.arrays import Float64Array, Int64Array
from recsys.ranking.scorer import Scorer

_BLOCK = 512  # users scored at a time


@dataclass(frozen=True)
class LeaveOneOut:
    """One interaction of each user held out, to be found among items drawn at random [1]_.

    Parameters
    ----------
    train : csr_matrix (n_users, n_items)
        Without the held-out interactions.
    users : int64 (n,)
        Those with at least two interactions.
    held : int64 (n,)
        The item held out of each.
    sampled : int64 (n, n_sampled)
        Items that the user has no interaction with, each once.

    References
    ----------
    .. [1] T. Ebesu, B. Shen and Y. Fang, Collaborative memory network for recommendation systems,
       SIGIR 2018; as compared in M. Ferrari Dacrema et al., A troubling analysis of reproducibility
       and progress in recommender systems research, ACM TOIS 39 (2021).
    """

    train: sp.csr_matrix
    users: Int64Array
    held: Int64Array
    sampled: Int64Array


def leave_one_out(interactions: sp.csr_matrix, *, sampled: int = 100, seed: int = 0) -> LeaveOneOut:
    """Hold out one interaction of each user, and draw items to rank it among.

    Parameters
    ----------
    interactions : csr_matrix (n_users, n_items)
    sampled : int
        How many items are drawn for each user.
    seed : int

    Raises
    ------
    ValueError
        If a user has interactions with so many items that not enough are left to draw from.
    """
    generator = np.random.default_rng(seed)
    n_items = interactions.shape[1]
    users = np.flatnonzero(np.diff(interactions.indptr) >= 2)
    kept = np.ones(interactions.nnz, bool)
    held = np.empty(len(users), np.int64)
    drawn = np.empty((len(users), sampled), np.int64)
    for place, user in enumerate(users):
        start, stop = interactions.indptr[user], interactions.indptr[user + 1]
        own = interactions.indices[start:stop]
        if n_items - len(own) < sampled:
            raise ValueError(f"{n_items - len(own)} items are left for a user, wanted {sampled}")
        at = int(generator.integers(start, stop))
        kept[at], held[place] = False, interactions.indices[at]
        # Distinct items in random order; enough of them are not the user's own.
        some = generator.choice(n_items, min(n_items, sampled + len(own)), replace=False)
        drawn[place] = some[~np.isin(some, own)][:sampled]
    return LeaveOneOut(_only(interactions, kept), users, held, drawn)


def sampled_metrics(scorer: Scorer, split: LeaveOneOut, k: int = 10) -> dict[str, Float64Array]:
    """Hit rate and NDCG of the held-out items among those drawn.

    An item that scores as much as the held-out one is ranked above it.

    Returns
    -------
    dict of str to float64 (n,)
        `hit_rate_at_k` and `ndcg_at_k` of each user of the split.
    """
    ranks = np.empty(len(split.users), np.int64)
    for start in range(0, len(split.users), _BLOCK):
        part = slice(start, start + _BLOCK)
        scores = scorer.score(split.users[part])
        own = np.take_along_axis(scores, split.held[part, None], 1)
        others = np.take_along_axis(scores, split.sampled[part], 1)
        ranks[part] = (others >= own).sum(axis=1)
    hits = ranks < k
    return {
        f"hit_rate_at_{k}": hits.astype(np.float64),
        f"ndcg_at_{k}": np.where(hits, 1 / np.log2(ranks + 2.0), 0.0),
    }


@dataclass(frozen=True)
class StrongGeneralisation:
    """Users held out as a whole: some of their interactions are shown, the others to be found [1]_.

    Parameters
    ----------
    train : csr_matrix (n_train_users, n_items)
    shown, hidden : csr_matrix (n_heldout_users, n_items)
        Of the held-out users; items that no training user has are left out.
    items : int64 (n_items,)
        The columns of the original matrix that are left.

    References
    ----------
    .. [1] D. Liang, R. G. Krishnan, M. D. Hoffman and T. Jebara, Variational autoencoders for
       collaborative filtering, WWW 2018.
    """

    train: sp.csr_matrix
    shown: sp.csr_matrix
    hidden: sp.csr_matrix
    items: Int64Array


def strong_generalisation(
    interactions: sp.csr_matrix, *, heldout: int, hidden: float = 0.2, least: int = 5, seed: int = 0
) -> StrongGeneralisation:
    """Hold out users, and hide a share of their interactions.

    Parameters
    ----------
    interactions : csr_matrix (n_users, n_items)
    heldout : int
        Users held out; 10,000 for MovieLens 20M.
    hidden : float
        The share of a held-out user's interactions to be found, rounded down, at least one.
    least : int
        Users with fewer interactions are left out altogether.
    seed : int

    Raises
    ------
    ValueError
        If not more users are left than are to be held out.
    """
    generator = np.random.default_rng(seed)
    users = generator.permutation(np.flatnonzero(np.diff(interactions.indptr) >= least))
    if len(users) <= heldout:
        raise ValueError(
            f"{len(users)} users have {least} interactions, wanted more than {heldout}"
        )
    train = interactions[np.sort(users[heldout:])]
    items = np.flatnonzero(np.bincount(train.indices, minlength=train.shape[1]))
    others = sp.csr_matrix(interactions[np.sort(users[:heldout])][:, items])
    counts = np.diff(others.indptr)
    owners = np.repeat(np.arange(heldout), counts)
    order = np.lexsort((generator.random(others.nnz), owners))
    place = np.arange(others.nnz) - np.repeat(others.indptr[:-1], counts)
    is_hidden = np.zeros(others.nnz, bool)
    is_hidden[order] = place < np.repeat(np.maximum(1, (hidden * counts).astype(int)), counts)
    return StrongGeneralisation(
        sp.csr_matrix(train[:, items]), _only(others, ~is_hidden), _only(others, is_hidden), items
    )


def _only(matrix: sp.csr_matrix, kept: np.ndarray) -> sp.csr_matrix:
    """The matrix with the entries that a mask keeps."""
    rows = np.repeat(np.arange(matrix.shape[0]), np.diff(matrix.indptr))
    counts = np.bincount(rows[kept], minlength=matrix.shape[0])
    indptr = np.concatenate([[0], np.cumsum(counts)])
    return sp.csr_matrix((matrix.data[kept], matrix.indices[kept], indptr), matrix.shape)
