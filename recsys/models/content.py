"""Content: items as tf-idf profiles of their features, and tags suggested by similar items.

Mappings are learned from these profiles. NumPy alone.

References
----------
.. [1] G. Salton and C. Buckley, Term-weighting approaches in automatic text retrieval,
   Information Processing and Management 24 (1988): tf-idf weights, vectors of length one.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np

from recsys.base.arrays import AnyArray, BoolArray, Float32Array, Int32Array, Int64Array, IntArray
from recsys.ranking.rows import Rows, entries_of, flatten, owners_of

NEIGHBOURS = 100
SHARPNESS = 3  # a vote is this power of the similarity, so that near neighbours count for more
COOCCURRENCE_WEIGHT = 0.1  # small: co-occurrence decides where few neighbours vote


class Weighted(Rows, Protocol):
    """Compressed sparse rows with values; ``scipy.sparse.csr_array`` is one."""

    @property
    def data(self) -> AnyArray:
        """Values of the stored entries: (m,)."""
        ...


@dataclass(frozen=True)
class Profiles:
    """Items as weighted features, tf-idf vectors of length one as a rule, in compressed rows.

    Parameters
    ----------
    indptr : int64 (n_items + 1,)
    indices : int32 (m,)
        Features.
    data : float32 (m,)
    idf : float32 (n_features,)
        Weights of the features, for items still to come.
    norm : {"l2", "l1", "none"}
        Every row has length one, or sums to one, or is not normalised.
    """

    indptr: Int64Array
    indices: Int32Array
    data: Float32Array
    idf: Float32Array
    norm: str = "l2"

    @property
    def n_items(self) -> int:
        """How many items have a row."""
        return len(self.indptr) - 1

    @property
    def n_features(self) -> int:
        """How many features there are."""
        return len(self.idf)

    @property
    def described(self) -> BoolArray:
        """Which items have a feature: bool (n_items,)."""
        return np.diff(self.indptr) > 0

    def weigh(self, features: IntArray, values: AnyArray | None = None) -> Float32Array:
        """Weights of one item's features, as its row would have them: float32 (n,).

        Parameters
        ----------
        features : int (n,)
            Each once.
        values : float (n,), optional
            Ones by default.
        """
        weights = self.idf[features]
        if values is not None:
            weights = weights * np.asarray(values, np.float32)
        if self.norm == "none":
            return weights
        length = float(np.linalg.norm(weights, 2 if self.norm == "l2" else 1))
        return weights / np.float32(length) if length else weights

    def cosines(self, features: IntArray, weights: Float32Array) -> Float32Array:
        """Cosine of each item to a vector of length one, with these features: float32 (n_items,).

        Items that share no feature have 0, and are not looked at.
        """
        own = np.zeros(self.n_features, np.float32)
        own[features] = weights
        entries, owners = self.carriers(features)
        cosines = np.zeros(self.n_items, np.float32)
        np.add.at(cosines, owners, self.data[entries] * own[self.indices[entries]])
        return cosines

    def carriers(self, features: IntArray) -> tuple[Int64Array, Int64Array]:
        """Where these features are stored, ascending, and the items that have them: int64 (m,)."""
        wanted = np.zeros(self.n_features, bool)
        wanted[features] = True
        entries = entries_of(self.indices, wanted)
        return entries, owners_of(self, entries)

    def rows(self, items: IntArray) -> Profiles:
        """The profiles of these items, in the order given."""
        entries, _ = flatten(self, items)
        counts = np.diff(self.indptr)[items]
        indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
        return Profiles(indptr, self.indices[entries], self.data[entries], self.idf, self.norm)


def tf_idf(features: Weighted, idf: Float32Array) -> Profiles:
    """Rows of feature values as tf-idf vectors of length one [1]_.

    Parameters
    ----------
    features : csr_matrix float32 (n_items, n_features)
        Values as they are given, not normalised.
    idf : float32 (n_features,)
        See :func:`inverse_frequency`.
    """
    indptr = np.asarray(features.indptr, np.int64)
    indices = np.asarray(features.indices, np.int32)
    weights = np.asarray(features.data, np.float32) * idf[indices]
    lengths = np.sqrt(row_sums(weights * weights, indptr))
    lengths[lengths == 0] = 1
    return Profiles(indptr, indices, weights / np.repeat(lengths, np.diff(indptr)), idf)


def inverse_frequency(
    features: Rows, n_features: int, counted: IntArray | None = None
) -> Float32Array:
    """log((1 + n) / (1 + items with the feature)) + 1, as scikit-learn has it.

    Parameters
    ----------
    features : Rows (n_items rows)
    n_features : int
    counted : int array, optional
        The items that count; all by default.

    Returns
    -------
    float32 (n_features,)
    """
    items = np.arange(len(features.indptr) - 1) if counted is None else counted
    entries, _ = flatten(features, items)
    support = np.bincount(features.indices[entries], minlength=n_features)
    return np.asarray(np.log((1 + len(items)) / (1 + support)) + 1, np.float32)


def row_sums(values: Float32Array, indptr: IntArray) -> Float32Array:
    """Sums of the values of each row, 0 for an empty one: float32 (n_rows,)."""
    filled = np.flatnonzero(np.diff(indptr))
    sums = np.zeros(len(indptr) - 1, np.float32)
    if len(filled):  # an empty row between two filled ones adds nothing to either
        sums[filled] = np.add.reduceat(values, indptr[filled])
    return sums


def suggest_features(
    profiles: Profiles,
    features: IntArray,
    vector: Float32Array | None = None,
    directions: Float32Array | None = None,
    *,
    neighbours: int = NEIGHBOURS,
    leave_out: int | None = None,
) -> Float32Array:
    """How well each feature would suit an item, by the most similar items and by co-occurrence.

    Two counts, each scaled to a maximum of one, are added with weights 1 and 1/10. The first are
    votes of the nearest items: the cube of their similarity, which is the mean of two cosines, of
    features and of vectors (of features alone where the item has no vector, of vectors alone where
    it has no features). The second is co-occurrence: the sum over the item's features of the share
    of items with it that have the other as well. Votes find more where tags are many and specific,
    co-occurrence where they are few; together they are as good as the better one, or better
    (`recsys.evaluation.tag_suggestion`).

    Parameters
    ----------
    profiles : Profiles
    features : int (n,)
        Those the item has.
    vector : float32 (d,), optional
        The item's vector.
    directions : float32 (n_items, d), optional
        Item vectors of length one; needed with `vector`.
    neighbours : int
    leave_out : int, optional
        The item itself, where it is one of the catalogue.

    Returns
    -------
    float32 (n_features,)
        -inf for a feature the item has, 0 for one that no neighbour has.
    """
    cosines: Float32Array | None = None
    length = 0.0 if vector is None else float(np.linalg.norm(vector))
    if vector is not None and directions is not None and length:
        cosines = directions @ (vector / np.float32(length))
    similarities = item_similarities(profiles, features, cosines)
    if leave_out is not None:
        similarities[leave_out] = 0
    found = neighbour_votes(profiles, nearest_items(similarities, neighbours), similarities)[0]
    return with_cooccurrence(profiles, found, features, leave_out)


def with_cooccurrence(
    profiles: Profiles, counted: Float32Array, features: IntArray, leave_out: int | None
) -> Float32Array:
    """Votes and co-occurrence together, see `suggest_features`: float32 (n_features,).

    Parameters
    ----------
    profiles : Profiles
    counted : float32 (n_features,)
        The votes of the nearest items.
    features : int (n,)
        Those the item has; they come out as -inf.
    leave_out : int or None
    """
    scores = _scaled(counted, features)
    scores += np.float32(COOCCURRENCE_WEIGHT) * _scaled(
        _cooccurrence(profiles, features, leave_out), features
    )
    scores[features] = -np.inf
    return scores


def _scaled(counts: AnyArray, features: IntArray) -> Float32Array:
    """With a greatest value of one among the features that the item does not have."""
    scaled: Float32Array = counts.astype(np.float32)
    scaled[features] = 0
    most = scaled.max(initial=0)
    return scaled / most if most else scaled


def _cooccurrence(profiles: Profiles, features: IntArray, leave_out: int | None) -> AnyArray:
    """How often each feature goes with these: the sum of shares, float64 (n_features,)."""
    n = profiles.n_features
    having, owners = profiles.carriers(features)
    if leave_out is not None:
        having, owners = having[owners != leave_out], owners[owners != leave_out]
    carried = profiles.indices[having]
    support = np.bincount(carried, minlength=n)
    shares = (1 / np.maximum(support, 1)).astype(np.float32)
    weights = np.zeros(profiles.n_items, np.float32)
    np.add.at(weights, owners, shares[carried])
    chosen = np.unique(owners)
    entries, owners = flatten(profiles, chosen)
    return np.bincount(profiles.indices[entries], weights[chosen][owners], minlength=n)


def item_similarities(
    profiles: Profiles, features: IntArray, cosines: Float32Array | None
) -> Float32Array:
    """How similar each item is to one: the mean of the cosines of features and of vectors.

    Parameters
    ----------
    profiles : Profiles
    features : int (n,)
        Those the item has; without any, vectors count alone.
    cosines : float32 (n_items,) or None
        Of the vectors; without them, features count alone.

    Returns
    -------
    float32 (n_items,)
        At least 0; 0 for items without features, which have none to suggest.
    """
    parts = [] if cosines is None else [cosines]
    if len(features):
        parts.append(profiles.cosines(features, profiles.weigh(features)))
    if not parts:
        return np.zeros(profiles.n_items, np.float32)
    mean: Float32Array = np.mean([np.maximum(part, 0) for part in parts], axis=0, dtype=np.float32)
    return mean * profiles.described


def nearest_items(similarities: Float32Array, neighbours: int = NEIGHBOURS) -> Int64Array:
    """The items that are most similar, in no order: int64 (at most neighbours,)."""
    count = min(neighbours, len(similarities))
    return np.argpartition(-similarities, count - 1)[:count] if count else np.empty(0, np.int64)


def neighbour_votes(
    profiles: Profiles, items: IntArray, similarities: Float32Array
) -> tuple[Float32Array, Int64Array]:
    """Let items vote for the features that they have, each with the cube of its similarity.

    Returns
    -------
    votes : float32 (n_features,)
    voters : int64 (n_features,)
        How many items with a similarity above 0 have the feature.
    """
    voting = items[similarities[items] > 0]
    entries, owners = flatten(profiles, voting)
    chosen, n = profiles.indices[entries], profiles.n_features
    counted = np.bincount(chosen, similarities[voting][owners] ** SHARPNESS, minlength=n)
    return counted.astype(np.float32), np.bincount(chosen, minlength=n)
