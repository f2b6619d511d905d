"""Item-to-item models: what liking an item says of others, kept sparse; likes in, scores out."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
import scipy.sparse as sp

from recsys.base.arrays import (
    BoolArray,
    Float32Array,
    Float64Array,
    Int32Array,
    Int64Array,
    IntArray,
)
from recsys.data.ages import Aging, InteractionTimes
from recsys.models.model import Model
from recsys.ranking.compiled import take_largest
from recsys.ranking.neighbours import Neighbours
from recsys.ranking.rows import Rows

_BLOCK = 2048  # rows of a product at a time, fewer where they are long
_ENTRIES = 2**23  # of all of them but the first, at most

Reweighted = Callable[[IntArray, IntArray, Float32Array], Float32Array]


@dataclass(frozen=True)
class NeighbourScorer:
    """Neighbours and the likes of the users that they score; a `recsys.ranking.scorer.Scorer`."""

    neighbours: Neighbours
    likes: Rows

    @property
    def n_items(self) -> int:
        """How many items are scored."""
        return self.neighbours.n_items

    def score(self, users: IntArray) -> Float32Array:
        """Score all items for some users: int (b,) to float32 (b, n_items)."""
        return self.neighbours.scores_of_users(self.likes, users)


class ItemToItemModel(Model):
    """A model that learns a sparse matrix from items to items.

    Interactions count alike, whatever their weights, unless a model has a half-life or a window:
    then one that counts half is half a like, and older ones than the window are none. Users are
    scored by all of their likes all the same. Each row keeps its largest weights, `kept` of
    them: what is cut there costs little, for what a liked item says of most others is noise, while
    cutting columns would silence the items that many others speak of (docs/experiments).
    """

    half_life: str
    window: str

    @property
    def aging(self) -> Aging:
        """How the age of interactions counts; refuses what is no duration."""
        return Aging(self.half_life, self.window)

    def fit(
        self,
        interactions: sp.csr_matrix,
        *,
        seed: int = 0,
        threads: int = 1,
        times: InteractionTimes | None = None,
    ) -> NeighbourScorer:
        """As `Model.fit`."""
        found = super().fit(interactions, seed=seed, threads=threads, times=times)
        assert isinstance(found, NeighbourScorer)
        return found

    def _fit(self, interactions: sp.csr_matrix, seed: int, threads: int) -> NeighbourScorer:
        return self._fit_timed(interactions, seed, threads, None)

    def _fit_timed(
        self, interactions: sp.csr_matrix, seed: int, threads: int, times: InteractionTimes | None
    ) -> NeighbourScorer:
        likes = binary(interactions)
        # Copies: what becomes of the caller's matrix must not reach the scorer.
        rows = sp.csr_matrix((likes.data, likes.indices.copy(), likes.indptr.copy()), likes.shape)
        return NeighbourScorer(self.neighbours(self.aging.applied(likes, times), threads), rows)

    @abstractmethod
    def neighbours(self, likes: sp.csr_matrix, threads: int = 1) -> Neighbours:
        """The weights, from a matrix of what each like counts: one, or less for its age."""


def likes_of_items(likes: sp.csr_matrix) -> Float64Array:
    """The number of likes of each item, by what each counts: float64 (n_items,)."""
    return np.asarray(np.bincount(likes.indices, likes.data, likes.shape[1]), np.float64)


def likes_of_users(likes: sp.csr_matrix) -> Float64Array:
    """The same of each user: float64 (n_users,)."""
    users = np.repeat(np.arange(likes.shape[0]), np.diff(likes.indptr))
    return np.asarray(np.bincount(users, likes.data, likes.shape[0]), np.float64)


def rooted(likes: sp.csr_matrix) -> sp.csr_matrix:
    """The roots of what likes count.

    With them products of two columns count as likes do: the square of an item's column is the
    number of its likes, and a user all of whose likes count half is half a user.
    """
    if bool((likes.data == 1).all()):
        return likes
    found = likes.copy()
    found.data = np.sqrt(found.data)
    return found


def binary(interactions: sp.csr_matrix) -> sp.csr_matrix:
    """The same matrix with ones in the place of its weights, float32."""
    ones = np.ones(interactions.nnz, np.float32)
    return sp.csr_matrix((ones, interactions.indices, interactions.indptr), interactions.shape)


def largest_of_product(
    first: sp.csr_matrix, second: sp.csr_matrix, kept: int, reweighted: Reweighted | None = None
) -> Neighbours:
    """The largest weights of each row of a sparse product, which is never held as a whole.

    Parameters
    ----------
    first, second : csr_matrix (n_items, n_users) and (n_users, n_items)
    kept : int
        At most so many in a row, the diagonal left out; equal magnitudes go by index.
    reweighted : callable or None
        Takes the rows, columns and values of a block of the product; returns other values.
    """
    n_items = first.shape[0]
    counts = np.zeros(n_items, np.int64)
    indices, weights = [np.empty(0, np.int32)], [np.empty(0, np.float32)]
    for start, stop in _blocks(first, second):
        block = sp.csr_matrix(first[start:stop] @ second)
        block.sort_indices()
        rows = start + np.repeat(np.arange(block.shape[0]), np.diff(block.indptr))
        values = block.data
        if reweighted is not None:
            values = reweighted(rows, block.indices, values)
        usable = (block.indices != rows) & (values != 0)
        values, columns = values[usable], block.indices[usable]
        chosen = _largest(np.bincount(rows[usable] - start, minlength=block.shape[0]), values, kept)
        counts += np.bincount(rows[usable][chosen], minlength=n_items)
        indices.append(columns[chosen].astype(np.int32))
        weights.append(values[chosen].astype(np.float32))
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    return Neighbours(indptr, np.concatenate(indices), np.concatenate(weights))


def _blocks(first: sp.csr_matrix, second: sp.csr_matrix) -> Iterator[tuple[int, int]]:
    """Ranges of rows whose product is bounded, however long the rows of popular items are."""
    lengths = np.diff(second.indptr)
    for start in range(0, first.shape[0], _BLOCK):
        bounds = first.indptr[start : start + _BLOCK + 1]
        added = np.cumsum(lengths[first.indices[bounds[0] : bounds[-1]]], dtype=np.int64)
        before = np.concatenate([[0], added])[bounds - bounds[0]]
        longest = np.minimum(np.diff(before), second.shape[1])
        parts = np.cumsum(longest) // _ENTRIES
        cuts = start + 1 + np.flatnonzero(np.diff(parts))
        yield from itertools.pairwise([start, *cuts.tolist(), start + len(longest)])


def truncated(neighbours: Neighbours, kept: int) -> Neighbours:
    """The same weights, at most so many in a row, the largest."""
    counts = np.diff(neighbours.indptr)
    if counts.max(initial=0) <= kept:
        return neighbours
    indptr = np.concatenate([[0], np.cumsum(np.minimum(counts, kept))]).astype(np.int64)
    found = take_largest(neighbours.indptr, neighbours.indices, neighbours.weights, kept)
    if found is None:
        chosen = _largest(counts, neighbours.weights, kept)
        found = neighbours.indices[chosen], neighbours.weights[chosen]
    return Neighbours(indptr, *found)


def _largest(counts: Int64Array, values: Float32Array, kept: int) -> BoolArray:
    """Marks the largest values of each row; of equal ones those that come first.

    Row by row it takes a thirtieth of the time of sorting all values at once.

    Parameters
    ----------
    counts : int (n_rows,)
        How many values each row has, one row after the other.
    values : float (m,)
    kept : int
    """
    magnitudes = np.abs(values)
    chosen = np.ones(len(values), bool)
    ends = np.cumsum(counts)
    for row in np.flatnonzero(counts > kept):
        part = slice(ends[row] - counts[row], ends[row])
        found = magnitudes[part]
        least = np.partition(found, -kept)[-kept]
        chosen[part] = found > least
        equal = np.flatnonzero(found == least)
        chosen[part][equal[: kept - np.count_nonzero(found > least)]] = True
    return chosen


def largest_of_dense_rows(block: Float32Array, kept: int) -> tuple[Int32Array, Float32Array]:
    """Columns, ascending, and weights of largest magnitude in each row; of equal ones the first.

    Parameters
    ----------
    block : float32 (b, n_items)
        Its diagonal is 0 already.
    kept : int

    Returns
    -------
    columns : int32 (b, min(kept, n_items))
    weights : float32, same shape
    """
    n_rows, n_items = block.shape
    kept = min(kept, n_items)
    values = np.ascontiguousarray(block).ravel()
    found = take_largest(np.arange(n_rows + 1) * n_items, None, values, kept)
    if found is None:
        chosen = _largest(np.full(n_rows, n_items), values, kept)
        columns = np.flatnonzero(chosen) % max(1, n_items)
        found = columns.astype(np.int32), values[chosen]
    columns, weights = found
    return columns.reshape(n_rows, kept), weights.reshape(n_rows, kept)
