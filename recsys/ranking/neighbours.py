"""Plain item-to-item weights: the form in which a neighbourhood model leaves training."""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recsys.base.arrays import Float32Array, Int32Array, Int64Array, IntArray
from recsys.ranking.compiled import CompiledRows
from recsys.ranking.factors import Factors
from recsys.ranking.rows import Rows, entries_of, flatten

_GATHERED = 2**17  # weights, few enough for the processor's cache
_USERS = 256  # whose likes' weights of a few items are, too


@dataclass(frozen=True)
class Neighbours:
    """What liking an item says of others; a user's score of an item is the sum over their likes.

    The weights are the rows of a sparse matrix, a row for each liked item, so that a user with m
    likes is scored by adding m rows: nothing of the user needs to be known but the likes.

    Parameters
    ----------
    indptr : int (n_items + 1,)
        Row i is ``indices[indptr[i] : indptr[i + 1]]``.
    indices : int32 (n_weights,)
        The items that a row says something of, ascending in each row.
    weights : float32 (n_weights,)

    Raises
    ------
    ValueError
        If the shapes do not belong together.
    """

    indptr: IntArray
    indices: Int32Array
    weights: Float32Array

    def __post_init__(self) -> None:
        if len(self.indptr) < 1 or self.indices.shape != self.weights.shape:
            raise ValueError("one weight for every index is needed, and the bounds of all rows")
        if int(self.indptr[-1]) != len(self.indices):
            raise ValueError("the last row must end where the weights end")

    @property
    def n_items(self) -> int:
        """How many items have a row, and are scored."""
        return len(self.indptr) - 1

    def scores(self, liked: IntArray) -> Float32Array:
        """Score all items for a user who likes these.

        Parameters
        ----------
        liked : int (m,)
            Item indices; those without a row say nothing.

        Returns
        -------
        float32 (n_items,)
        """
        found = np.zeros(self.n_items, np.float32)
        self.add_scores(liked, found)
        return found

    def add_scores(self, liked: IntArray, out: Float32Array) -> None:
        """Add these scores to an array, float32 (n_items,)."""
        self._add_rows(self._known(liked), out)

    @cached_property
    def _compiled(self) -> CompiledRows | None:
        """The same for the compiled loops, where they can be had."""
        return CompiledRows.of(self.indptr, self.indices, self.weights)

    def _add_rows(self, known: Int64Array, out: Float32Array) -> None:
        if self._compiled is not None and self._compiled.takes(out):
            self._compiled.add_rows(known, out)
            return
        # So many weights at a time that a user with very many likes takes no more memory.
        step = max(1, _GATHERED // max(1, len(self.indices) // max(1, self.n_items)))
        for start in range(0, len(known), step):
            np.add.at(out, *self._rows(known[start : start + step]))

    def scores_of_users(
        self, likes: Rows, users: IntArray, out: Float32Array | None = None
    ) -> Float32Array:
        """Score all items for users with these likes: int (b,) to float32 (b, n_items).

        Parameters
        ----------
        likes : Rows
        users : int (b,)
        out : float32 (b, n_items), optional
            Where the scores go; one row after the other, each in the processor's cache meanwhile.
        """
        found = np.empty((len(users), self.n_items), np.float32) if out is None else out
        entries, owners = flatten(likes, users)
        liked = np.asarray(likes.indices[entries], np.int64)
        there = (liked >= 0) & (liked < self.n_items)
        liked, bounds = liked[there], np.searchsorted(owners[there], np.arange(len(users) + 1))
        if self._compiled is not None and self._compiled.takes(found):
            self._compiled.sum_rows(bounds, liked, found)
            return found
        for scores, bound in zip(found, itertools.pairwise(bounds.tolist()), strict=True):
            scores[:] = 0
            self._add_rows(liked[slice(*bound)], scores)
        return found

    def contributions(self, liked: IntArray, item: int) -> Float32Array:
        """What each liked item adds to the score of one item: float32 (m,)."""
        found = np.zeros(len(liked), np.float32)
        for place, index in enumerate(np.asarray(liked)):
            if not 0 <= index < self.n_items:
                continue
            start, stop = self.indptr[index], self.indptr[index + 1]
            at = start + np.searchsorted(self.indices[start:stop], item)
            if at < stop and self.indices[at] == item:
                found[place] = self.weights[at]
        return found

    def column(self, item: int) -> tuple[Int64Array, Float32Array]:
        """The items that say something of one item, ascending, and their weights.

        Found by a binary search in all rows side by side: the matrix turned round would be found
        in it at once, but takes as much memory as the matrix itself.
        """
        if self._compiled is not None:
            items, at = self._compiled.find_column(item)
            return items, self.weights[at]
        bounds = np.asarray(self.indptr, np.int64)
        before, ends = bounds[:-1] - 1, bounds[1:]  # the last entry known to lie before the item
        step = 1 << int(np.diff(bounds).max(initial=0)).bit_length()
        while step := step // 2:
            probe = before + step
            behind = self.indices.take(probe, mode="clip") < item
            behind &= probe < ends
            before += np.multiply(behind, step, dtype=np.int64)
        items = np.flatnonzero(before + 1 < ends)
        at = before[items] + 1
        there = self.indices[at] == item
        return items[there], self.weights[at[there]]

    def of_columns(self, items: IntArray) -> Neighbours:
        """What is said of some items alone, each once: their places are the columns.

        Columns ascend in each row as long as `items` do.
        """
        places = np.full(self.n_items, -1, np.int32)
        inside = (items >= 0) & (items < self.n_items)
        places[items[inside]] = np.flatnonzero(inside)
        if self._compiled is not None:
            return Neighbours(*self._compiled.placed(places))
        entries = entries_of(self.indices, places >= 0)
        indptr = np.searchsorted(entries, self.indptr)
        return Neighbours(indptr, places[self.indices[entries]], self.weights[entries])

    def finite(self) -> bool:
        """Whether every weight is finite."""
        return bool(np.isfinite(self.weights.sum(dtype=np.float64)))

    @cached_property
    def _row_length(self) -> int | None:
        """The number of weights of a row where all rows have as many, else None."""
        counts = np.diff(self.indptr)
        return int(counts[0]) if len(counts) and bool((counts == counts[0]).all()) else None

    def _rows(self, items: Int64Array) -> tuple[Int32Array, Float32Array]:
        """Columns and weights of some rows, one after the other."""
        length = self._row_length
        if length is not None:
            shape = self.n_items, length
            columns, weights = self.indices.reshape(shape), self.weights.reshape(shape)
            return columns.take(items, axis=0).ravel(), weights.take(items, axis=0).ravel()
        bounds = self.indptr[items].tolist(), self.indptr[items + 1].tolist()
        rows = [slice(start, stop) for start, stop in zip(*bounds, strict=True)]
        columns = np.concatenate([self.indices[row] for row in rows])
        return columns, np.concatenate([self.weights[row] for row in rows])

    def _known(self, liked: IntArray) -> Int64Array:
        indices: Int64Array = np.asarray(liked, np.int64)
        return indices[(indices >= 0) & (indices < self.n_items)]


@dataclass(frozen=True)
class Blended:
    """Factors and neighbours added up; a `recsys.ranking.scorer.Scorer`.

    Parameters
    ----------
    factors : Factors
        Of at least as many items as the neighbours have; to those behind, neighbours add nothing.
    neighbours : Neighbours
    likes : Rows
        What each user likes, a row for each row of the factors.
    """

    factors: Factors
    neighbours: Neighbours
    likes: Rows

    @property
    def n_users(self) -> int:
        """How many users are scored."""
        return self.factors.n_users

    @property
    def n_items(self) -> int:
        """How many items are scored."""
        return self.factors.n_items

    def score(self, users: IntArray) -> Float32Array:
        """Score all items for some users: int (b,) to float32 (b, n_items).

        Ranking does not call it: it adds the neighbours' part to the product, strip by strip.
        """
        found = self.factors.score(users)
        found[:, : self.neighbours.n_items] += self.neighbour_scores(users)
        return found

    def neighbour_scores(self, users: IntArray) -> Float32Array:
        """What the neighbours add to the scores of some users: float32 (b, neighbours.n_items)."""
        return self.neighbours.scores_of_users(self.likes, users)


@dataclass(frozen=True)
class BlendedAudience:
    """The users in the place of items, for some items in that of users; a `Scorer`.

    Parameters
    ----------
    factors : Factors
        With the vectors of these items as those of its users, and of all users as its items'.
    neighbours : Neighbours
        With a column for each of these items, see `Neighbours.of_columns`.
    likes : Rows
        What each user likes.
    """

    factors: Factors
    neighbours: Neighbours
    likes: Rows

    @property
    def n_users(self) -> int:
        """For how many items users are scored."""
        return self.factors.n_users

    @property
    def n_items(self) -> int:
        """How many users are scored."""
        return self.factors.n_items

    def score(self, users: IntArray) -> Float32Array:
        """Score all users for some items: int (b,), each once, to float32 (b, n_users).

        Ranking does not call it: it adds the neighbours' part to each tile of the product.
        """
        found = self.factors.score(users)
        added = np.zeros((self.n_items, len(users)), np.float32)
        add_of_columns(self.neighbours.of_columns(users), self.likes, np.arange(len(added)), added)
        return found + added.T


def add_of_columns(neighbours: Neighbours, likes: Rows, users: IntArray, out: Float32Array) -> None:
    """Add what neighbours say of a few items to the scores of users, all users at once.

    Parameters
    ----------
    neighbours : Neighbours
        With few columns, so that the rows are short.
    likes : Rows
    users : int (b,)
    out : float32 (at least b, at least as many as there are columns)
        Contiguous.
    """
    compiled = neighbours._compiled
    if compiled is not None and compiled.takes(out) and compiled.add_liked(likes, users, out):
        return
    width, flat = out.shape[1], out.reshape(-1)
    bounds = np.asarray(neighbours.indptr, np.int64)
    for first in range(0, len(users), _USERS):
        entries, owners = flatten(likes, users[first : first + _USERS])
        liked = likes.indices[entries]
        known = liked < neighbours.n_items
        liked, owners = liked[known], owners[known] + first
        counts = bounds[liked + 1] - bounds[liked]
        # As `flatten` finds them, without the owners, of whom nothing but their place is needed.
        entries = np.repeat(bounds[liked] - (np.cumsum(counts) - counts), counts)
        entries += np.arange(len(entries))
        places = np.repeat(owners * width, counts)
        places += neighbours.indices.take(entries)
        np.add.at(flat, places, neighbours.weights.take(entries))


def blended(factors: Factors, neighbours: Neighbours | None, likes: Rows) -> Factors | Blended:
    """Factors, and what neighbours add for users with these likes, if there are any."""
    return factors if neighbours is None else Blended(factors, neighbours, likes)


def blended_audience(
    factors: Factors, neighbours: Neighbours | None, likes: Rows
) -> Factors | BlendedAudience:
    """Users in the place of items, and what neighbours add for their likes, if there are any."""
    return factors if neighbours is None else BlendedAudience(factors, neighbours, likes)
