"""Users and items that were not trained: what their likes and features say, many at once.

The threshold leaves out users and items with few likes. Their vectors are made of those of the
others: a user's is folded in from the items liked, an item's from the users who like it, and both
are blended with what their features say. NumPy alone.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from recsys.base.arrays import BoolArray, Float32Array, Int64Array, IntArray
from recsys.models.foldin import FoldIn, pool_item_vectors
from recsys.models.side import SideInformation
from recsys.ranking.factors import Factors
from recsys.ranking.neighbours import Neighbours
from recsys.ranking.rows import Rows, flatten

BY_LIKES, BY_FEATURES, BY_POPULARITY = 0, 1, 2
"""What an answer for a user who was not trained goes by."""


@dataclass(frozen=True)
class UntrainedWeights:
    """How much likes count for users that were not trained, beside the biases of the items.

    Both are 1 for users that were trained. A vector folded in from one or two likes is shorter
    than one that was trained; how much longer it should be is chosen on held-out likes of such
    users.

    Parameters
    ----------
    foldin : float
        Factor on the vector that is folded in.
    neighbours : float
        Factor on what the neighbours of liked items add.
    """

    foldin: float = 1.0
    neighbours: float = 1.0


@dataclass(frozen=True)
class PickedRows:
    """Some rows of others, one after the other; a `recsys.ranking.rows.Rows`."""

    indptr: Int64Array
    indices: IntArray

    @staticmethod
    def of(rows: Rows, chosen: IntArray, keep: BoolArray | None = None) -> PickedRows:
        """The chosen rows, with those items alone that a mask of all items keeps."""
        entries, owners = flatten(rows, chosen)
        indices = rows.indices[entries]
        if keep is not None:
            kept = keep[indices]
            indices, owners = indices[kept], owners[kept]
        counts = np.bincount(owners, minlength=len(chosen))
        return PickedRows(np.concatenate([[0], np.cumsum(counts)]), indices)

    @property
    def counts(self) -> Int64Array:
        """How many entries each row has: int64 (n,)."""
        return np.diff(self.indptr)


@dataclass(frozen=True)
class UserVectors:
    """Vectors of users that were not trained.

    Parameters
    ----------
    vectors : float32 (n, d)
    biases : float32 (n,)
    basis : int8 (n,)
        `BY_LIKES`, `BY_FEATURES`, or `BY_POPULARITY` where nothing is known that says something.
    """

    vectors: Float32Array
    biases: Float32Array
    basis: IntArray


@dataclass(frozen=True)
class UntrainedUsers:
    """Makes vectors of users from likes and features.

    Parameters
    ----------
    item_factors : float32 (n_items, d)
        Of the whole catalogue.
    likes : Rows
        Of all users, trained or not.
    foldin : FoldIn or None
    side : SideInformation or None
        Of users, with a row for each user.
    neighbours : Neighbours or None
        As they count for these users.
    weights : UntrainedWeights
    """

    item_factors: Float32Array
    likes: Rows
    foldin: FoldIn | None
    side: SideInformation | None
    neighbours: Neighbours | None
    weights: UntrainedWeights = field(default_factory=UntrainedWeights)

    @cached_property
    def directed(self) -> BoolArray:
        """Which items have a vector: bool (n_items,)."""
        return np.vecdot(self.item_factors, self.item_factors) > 0

    @cached_property
    def telling(self) -> BoolArray:
        """Which items say something of those who like them: bool (n_items,)."""
        return np.zeros_like(self.directed) if self.foldin is None else self.directed

    def basis(self, users: IntArray) -> IntArray:
        """What the answers of users go by: int8 (n,), see `UserVectors`."""
        liking = PickedRows.of(self.likes, users, self.telling).counts > 0
        described = np.zeros(len(users), bool)
        if self.side is not None:
            # A feature of no trained user has no vector.
            factors = self.side.mapping.feature_factors
            telling: BoolArray = np.vecdot(factors, factors) > 0
            described = PickedRows.of(self.side.profiles, users, telling).counts > 0
        other = np.where(described, BY_FEATURES, BY_POPULARITY)
        return np.where(liking, BY_LIKES, other).astype(np.int8)

    def vectors(self, users: IntArray) -> UserVectors:
        """Vectors and biases of users, and what they go by."""
        directed = PickedRows.of(self.likes, users, self.directed)
        vectors = np.zeros((len(users), self.item_factors.shape[1]), np.float32)
        biases = np.zeros(len(users), np.float32)
        if self.foldin is not None:
            folded = self.foldin.users(self.item_factors, directed)
            vectors = folded * np.float32(self.weights.foldin)
        counts = directed.counts if self.foldin is not None else np.zeros(len(users), np.int64)
        if self.side is not None:
            mapped, biases = self.side.mapping.vectors_of_rows(self.side.profiles.rows(users))
            share = feature_share(self.side, counts) * mapped.any(axis=1)
            vectors = vectors + share[:, None].astype(np.float32) * (mapped - vectors)
        return UserVectors(vectors, biases, self.basis(users))

    def scores_of_item(self, users: IntArray, vector: Float32Array, bias: float) -> Float32Array:
        """What the vectors of users give one item, without what neighbours add: float32 (n,).

        No vector of a user is made for it: a sum of products is the product of the sum.
        """
        directed = PickedRows.of(self.likes, users, self.directed)
        counts = directed.counts
        scores = np.zeros(len(users), np.float32)
        if self.foldin is not None:
            one = self.foldin.matrix @ vector * np.float32(self.weights.foldin)
            parts = np.vecdot(self.item_factors, one)[directed.indices].astype(np.float64)
            sums = np.diff(np.concatenate([[0], np.cumsum(parts)])[directed.indptr])
            scores = (sums / np.sqrt(np.maximum(1, counts))).astype(np.float32)
        else:
            counts = np.zeros_like(counts)
        if self.side is not None:
            mapped, biases = self.side.mapping.vectors_of_rows(self.side.profiles.rows(users))
            share = feature_share(self.side, counts) * mapped.any(axis=1)
            scores = scores + share.astype(np.float32) * (mapped @ vector - scores) + biases
        return scores + np.float32(bias)


def feature_share(side: SideInformation, likes: IntArray) -> Float32Array:
    """The share of features beside so many likes, as in training: float32 (n,)."""
    total = side.blending + np.asarray(likes)
    return np.divide(side.blending, total, out=np.ones(len(total)), where=total > 0).astype(
        np.float32
    )


def scaled_neighbours(neighbours: Neighbours | None, weight: float) -> Neighbours | None:
    """Neighbours whose weights are multiplied by one number; the same ones where it is 1."""
    if neighbours is None or weight == 1:
        return neighbours
    weights = neighbours.weights * np.float32(weight)
    return Neighbours(neighbours.indptr, neighbours.indices, weights)


def fold_in_items(own: Factors, foldin: FoldIn, likers: Rows) -> Float32Array:
    """Item vectors folded in from the users who like them, as long as trained ones are on average.

    Parameters
    ----------
    own : Factors
        Of the trained users and items, before features are blended in.
    foldin : FoldIn
        From users to items.
    likers : Rows
        The users of each item.

    Returns
    -------
    float32 (n, d)
    """
    vectors: Float32Array = pool_item_vectors(own.user_factors, likers) @ foldin.matrix
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    norms = np.linalg.norm(own.item_factors, axis=1)
    wanted = np.float32(norms[norms > 0].mean()) if (norms > 0).any() else np.float32(0)
    scale = np.divide(wanted, lengths, out=np.zeros_like(lengths), where=lengths > 0)
    return vectors * scale
