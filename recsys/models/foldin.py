"""Fold-in: a vector for a new user from a few likes, by a map learned on the users of training.

The sum of the liked items' vectors has about the right direction, but the scale of its components
differs from that of trained users. A ridge regression learns the linear map between the two once,
from all trained users; a new user then costs one sum and one product with a d x d matrix. NumPy
alone.

References
----------
.. [1] A. E. Hoerl and R. W. Kennard, Ridge regression: biased estimation for nonorthogonal
   problems, Technometrics 12 (1970).
.. [2] Y. Koren, Factorization meets the neighborhood, KDD 2008: users by the items they like,
   the sum divided by the root of their number.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recsys.base.arrays import Float32Array, Int64Array, IntArray
from recsys.ranking.factors import Factors
from recsys.ranking.rows import Rows, flatten, row_blocks

RIDGE = 1e-3
"""Penalty on the map, as a share of the mean variance of its inputs."""

_GATHERED = 2**19  # numbers of item vectors gathered at a time


@dataclass(frozen=True)
class FoldIn:
    """The map from the pooled vectors of liked items to the user's vector.

    Parameters
    ----------
    matrix : float32 (d, d)
    """

    matrix: Float32Array

    def user(self, item_factors: Float32Array, items: IntArray) -> Float32Array:
        """The vector of a user who likes these items, zero for none: float32 (d,).

        Parameters
        ----------
        item_factors : float32 (n_items, d)
            Those that the map was learned with; mapped vectors of new items may follow.
        items : int (n,)
            Each once.
        """
        count = max(1, len(items))
        pooled: Float32Array = item_factors[items].sum(axis=0) / np.float32(np.sqrt(count))
        return pooled @ self.matrix

    def users(self, item_factors: Float32Array, likes: Rows) -> Float32Array:
        """The vectors of many users, one for each row of `likes`: float32 (n_users, d)."""
        return pool_item_vectors(item_factors, likes) @ self.matrix


def learn_foldin(factors: Factors, likes: Rows, penalty: float = RIDGE) -> FoldIn:
    """Learn the map from the users of training by ridge regression [1]_.

    Minimises the sum over users of |pooled @ matrix - vector|^2, plus the penalty. Users without
    interactions take no part: their vectors were never trained.

    Parameters
    ----------
    factors : Factors
    likes : Rows (n_users rows)
        What the factors were trained on.
    penalty : float
        On the squared entries of the matrix, as a share of the mean variance of the inputs.

    Returns
    -------
    FoldIn
    """
    d = factors.n_components
    gram, products = np.zeros((d, d)), np.zeros((d, d))
    for users, rows in row_blocks(likes, d):
        trained = np.diff(rows.indptr) > 0
        inputs = pool_item_vectors(factors.item_factors, rows)[trained].astype(np.float64)
        gram += inputs.T @ inputs
        products += inputs.T @ factors.user_factors[users][trained].astype(np.float64)
    scale = np.trace(gram) / max(1, d)
    if scale == 0:  # no interactions, or no item with a direction
        return FoldIn(np.zeros((d, d), np.float32))
    matrix = np.linalg.solve(gram + penalty * scale * np.eye(d), products)
    return FoldIn(np.asarray(matrix, np.float32))


def learn_item_foldin(factors: Factors, likes: Any) -> FoldIn:
    """The map from the vectors of the users who like an item to that of the item.

    Parameters
    ----------
    factors : Factors
    likes : csr_matrix (n_users, n_items)
        What the factors were trained on.
    """
    return learn_foldin(factors.transposed(), likes.T.tocsr())


def blend_users(
    factors: Factors, likes: Rows, share: float, out: Float32Array | None = None
) -> Factors:
    """Blend each user's vector with the one folded in from the user's interactions.

    An own vector is fitted to few interactions and to their noise, the map is learned from all
    users; a blend can rank better than either (docs/experiments/blending.md). Users without
    interactions stay as they are.

    Parameters
    ----------
    factors : Factors
    likes : Rows (n_users rows)
        What the factors were trained on.
    share : float
        Share of the folded-in vector: 0 changes nothing, 1 replaces every vector.
    out : float32 (n_users, d) or None
        Where the blended vectors go; it may be the own ones. A share of 0 writes nothing there.
    """
    if share == 0:
        return factors
    foldin = learn_foldin(factors, likes)
    blended = np.empty_like(factors.user_factors) if out is None else out
    for users, rows in row_blocks(likes, factors.n_components):
        folded = foldin.users(factors.item_factors, rows)
        shares = np.where(np.diff(rows.indptr) > 0, share, 0).astype(np.float32)[:, None]
        own = factors.user_factors[users]
        blended[users] = own + shares * (folded - own)
    return replace(factors, user_factors=blended)


def pool_item_vectors(item_factors: Float32Array, likes: Rows) -> Float32Array:
    """The sum of each row's item vectors over the root of their number [2]_: float32 (n_rows, d).

    Zero for an empty row.
    """
    counts = np.diff(likes.indptr)
    pooled = np.zeros((len(counts), item_factors.shape[1]), np.float32)
    filled = np.flatnonzero(counts)
    most = max(1, _GATHERED // max(1, item_factors.shape[1]))
    for users in _portions(filled, counts[filled], most):
        entries, _ = flatten(likes, users)
        starts = np.cumsum(counts[users]) - counts[users]
        sums = np.add.reduceat(item_factors[likes.indices[entries]], starts, axis=0)
        pooled[users] = sums / np.sqrt(counts[users, None], dtype=np.float32)
    return pooled


def _portions(users: Int64Array, counts: IntArray, most: int) -> list[Int64Array]:
    """The users in portions of about `most` entries."""
    cuts = np.flatnonzero(np.diff(np.cumsum(counts) // most)) + 1
    return [portion for portion in np.split(users, cuts) if len(portion)]
