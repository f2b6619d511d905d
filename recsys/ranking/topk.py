"""Exact top-k over a whole catalogue, for any number of users, in bounded memory; NumPy alone.

How one block of users is ranked:

1. The scores of all items are laid out items x users and filled tile by tile with one float32
   matrix product, biases folded in as two more components. A tile is still in cache when the
   user's known items are masked in it and the maximum of every group of neighbouring items is
   taken, so everything after the product costs a small part of it. Where scores are made user by
   user, as what neighbours add to the product is, they are laid out users x items, and a strip of
   users takes the place of the tile; rows stay items and columns users, in another memory order.
2. The k best items of a user lie in the k groups whose best items are best. Proof: an item of
   any other group is beaten by the best item of each of these k groups. Groups are ranges of
   item indices in ascending order, so this holds too when equal scores are ordered by index.
3. Those k groups are gathered and ordered exactly.

Group maxima also show, at no further cost, whether a block holds a NaN or an infinity.

What this costs beside the bare product, and what else was tried: docs/experiments/ranking.md.
"""

from __future__ import annotations

import itertools
import queue
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass

import numpy as np

from recsys.base.arrays import BoolArray, Float32Array, Int32Array, Int64Array, IntArray
from recsys.ranking.blas import one_blas_thread
from recsys.ranking.buffers import BufferPool
from recsys.ranking.compiled import group_maxima, load_sums
from recsys.ranking.factors import Factors
from recsys.ranking.neighbours import Blended, BlendedAudience, add_of_columns
from recsys.ranking.rows import Rows, flatten
from recsys.ranking.scorer import Scorer

BLOCK_BYTES = 128 * 2**20
"""Default bound on the score buffers of one call, all threads together."""

UNRANKED = np.int64(2**31 - 1)
"""Rank of an item that is masked or whose score is not finite: worse than any other."""

_USERS_PER_BLOCK = 640  # fewer slow the product down; with more a tile does not fit the cache
_TILE = 1024  # items per product, at most
_STRIP = 2**18  # scores of the users of a strip, about
_STEADY = 1_000_000  # multiply-adds above which OpenBLAS leaves its kernels for small matrices
_GATHER_BYTES = 2 * 2**20  # of candidates and their keys, few enough for the cache
_LAST = 2**32 - 1
_buffers = BufferPool(limit=BLOCK_BYTES * 3 // 2)


@dataclass(frozen=True)
class TopK:
    """The best items of each user, best first.

    Parameters
    ----------
    items : int32 (n_users, k)
        Item indices; -1 where a user has fewer than k items that can be recommended.
    scores : float32 (n_users, k)
        Their scores; -inf where ``items`` is -1.
    """

    items: Int32Array
    scores: Float32Array


@dataclass(frozen=True)
class Block:
    """Scores of the whole catalogue for a few users, masked, with their group maxima.

    Parameters
    ----------
    rows : int64 (b,)
        Positions in the users given to :func:`score_blocks`.
    scores : float32 (n_groups * group, >= b)
        One column for each user, -inf where an item is masked, not finite or padding. Columns from
        b on are unused. The rows are contiguous in memory, or else the columns are.
    maxima : float32 (n_groups, >= b)
    group : int
        Neighbouring items in a group.
    """

    rows: Int64Array
    scores: Float32Array
    maxima: Float32Array
    group: int

    def largest(self, k: int) -> tuple[Int64Array, Float32Array]:
        """The k best positions of each user and their scores, equal scores by position.

        Returns
        -------
        positions : int64 (b, min(k, len(scores)))
        scores : float32, same shape
            -inf where nothing is left to recommend.
        """
        return self._largest(np.arange(len(self.rows)), k)

    def _largest(self, users: Int64Array, k: int) -> tuple[Int64Array, Float32Array]:
        depth = min(k, len(self.scores))
        wanted = min(depth, len(self.maxima))
        if (
            self._by_user
            and depth <= len(self.maxima)
            and 4 * wanted * self.group > len(self.scores)
        ):
            return self._collect(users, depth)
        step = max(1, _GATHER_BYTES // (16 * wanted * self.group))
        parts = [
            self._gather(users[start : start + step], depth, wanted)
            for start in range(0, max(1, len(users)), step)
        ]
        positions = np.concatenate([part[0] for part in parts])
        return positions, np.concatenate([part[1] for part in parts])

    @property
    def _by_user(self) -> bool:
        """Whether the scores of a user are contiguous."""
        return self.scores.strides[0] == self.scores.itemsize

    def _collect(self, users: Int64Array, depth: int) -> tuple[Int64Array, Float32Array]:
        """By a bound of the score in the last place, for so many items that groups save nothing."""
        bounds = np.partition(self.maxima.T[users], len(self.maxima) - depth, axis=1)[:, -depth]
        found = [
            np.flatnonzero(self.scores.T[user] >= bound)
            for user, bound in zip(users.tolist(), bounds, strict=True)
        ]
        width = max(depth, max(map(len, found), default=0))
        positions = np.zeros((len(users), width), np.int64)
        there = np.arange(width) < np.array([len(own) for own in found])[:, None]
        if found:
            positions[there] = np.concatenate(found)
        scores = np.full(positions.shape, -np.inf, np.float32)
        scores[there] = self.scores.T[users[:, None], positions][there]
        best = _best(scores, depth)
        return np.take_along_axis(positions, best, 1), np.take_along_axis(scores, best, 1)

    def _gather(
        self, users: Int64Array, depth: int, wanted: int
    ) -> tuple[Int64Array, Float32Array]:
        # Ascending groups keep candidates in item order, which _best relies on for equal scores.
        groups = np.sort(_best(self.maxima.T[users], wanted), axis=1)
        runs = self.scores.reshape(-1, self.group, self.scores.shape[1])
        candidates = runs[groups, :, users[:, None]].reshape(len(groups), wanted * self.group)
        best = _best(candidates, depth)
        turns, within = np.divmod(best, self.group)
        positions = np.take_along_axis(groups, turns, 1) * self.group + within
        return positions, np.take_along_axis(candidates, best, 1)

    def part(self, positions: Int64Array) -> Block:
        """Some of the items alone; positions in the new block count these.

        Parameters
        ----------
        positions : int64 (m,)
            Ascending.
        """
        users, group = len(self.rows), self.group
        rows = max(1, -(-len(positions) // group)) * group
        by_user = self._by_user
        shape = (users, rows) if by_user else (rows, users)
        memory = np.full(shape, -np.inf, np.float32)
        maxima = np.empty((rows // group, users), np.float32)
        scores = memory.T if by_user else memory
        if by_user:
            maxima = np.empty((users, rows // group), np.float32).T
            step = max(1, _STRIP // rows)
            for start in range(0, users, step):
                some = slice(start, min(start + step, users))
                memory[some, : len(positions)] = self.scores.T[some].take(positions, axis=1)
                _maxima(scores[:, some], group, maxima[:, some])
        else:
            memory[: len(positions)] = self.scores[:, :users].take(positions, axis=0)
            _maxima(scores, group, maxima)
        return Block(self.rows, scores, maxima, group)

    def spread(self) -> Float32Array:
        """The standard deviation of each user's scores, without what is masked: float32 (b,)."""
        users = len(self.rows)
        count, total, squares = np.zeros((3, users))
        by_user = self._by_user
        lines = self.scores.T[:users] if by_user else self.scores[:, :users]
        step = max(1, _STRIP // max(1, lines.shape[1]))
        for start in range(0, len(lines), step):
            some = lines[start : start + step]
            real = some > -np.inf
            values = np.where(real, some, np.float32(0))
            if by_user:
                part = slice(start, start + step)
                count[part] = np.count_nonzero(real, axis=1)
                total[part], squares[part] = values.sum(axis=1), np.vecdot(values, values)
            else:
                count += np.count_nonzero(real, axis=0)
                total += values.sum(axis=0)
                squares += np.einsum("ij,ij->j", values, values)
        mean = total / np.maximum(1, count)
        return np.sqrt(np.maximum(0, squares / np.maximum(1, count) - mean * mean)).astype(
            np.float32
        )

    def hits(self, positions: Int64Array, owners: Int64Array, k: int) -> BoolArray:
        """Whether each item is among the k best of its user, equal scores counting against it.

        An item is a hit exactly when it beats the (k + 1)-th largest score of its user: then at
        most k items, itself among them, score as much. The (k + 1)-th largest group maximum is a
        lower bound of that score, and settles most items without looking into a group.

        Parameters
        ----------
        positions, owners : int64 (m,)
            Items, as positions in the block, and the columns of their users, ascending.
        """
        scores = self.scores[positions, owners]
        if k >= len(self.scores):
            return scores > -np.inf
        if k >= len(self.maxima):
            return scores > self.largest(k + 1)[1][owners, k]
        bound = np.partition(self.maxima.T, len(self.maxima) - k - 1, axis=1)[:, -k - 1]
        hits = scores > bound[owners]
        hopeful = np.unique(owners[hits])
        last = np.full(len(self.rows), np.inf, np.float32)
        last[hopeful] = self._largest(hopeful, k + 1)[1][:, k]
        return scores > last[owners]

    def ranks(self, positions: Int64Array, owners: Int64Array) -> Int64Array:
        """How many other items of its user score at least as much as each item.

        Parameters
        ----------
        positions, owners : int64 (m,)
            As in :meth:`hits`.

        Returns
        -------
        int64 (m,)
            :data:`UNRANKED` for an item that is masked or whose score is not finite.
        """
        scores = self.scores[positions, owners]
        counts = np.bincount(owners, minlength=len(self.rows))
        turns = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)
        thresholds = np.full((counts.max(initial=0), self.scores.shape[1]), np.inf, np.float32)
        ranked = scores > -np.inf
        thresholds[turns[ranked], owners[ranked]] = scores[ranked]
        reached = self._at_least(thresholds)[turns, owners]
        return np.where(ranked, reached - 1, UNRANKED)

    def _at_least(self, thresholds: Float32Array) -> Int64Array:
        """How many scores of each user reach its thresholds, none -inf: (n, b) of both."""
        if self._by_user:
            totals = np.zeros(thresholds.shape, np.int64)
            for turn, user in zip(*np.nonzero(thresholds < np.inf), strict=True):
                reached = self.scores[:, user] >= thresholds[turn, user]
                totals[turn, user] = np.count_nonzero(reached)
            return totals
        # Eight items a line, since long inner loops run faster; 64 lines stay in the cache, and
        # a count of them fits eight bits.
        lines = self.scores.reshape(-1, 8 * self.scores.shape[1])
        wide = np.tile(thresholds, (1, 8))
        totals = np.zeros(wide.shape, np.int64)
        for start in range(0, len(lines), 64):
            chunk = lines[start : start + 64]
            for total, threshold in zip(totals, wide, strict=True):
                reached = np.greater_equal(chunk, threshold).view(np.uint8)
                total += np.add.reduce(reached, axis=0, dtype=np.uint8)
        return totals.reshape(len(thresholds), 8, -1).sum(axis=1)


def top_k(
    scorer: Scorer,
    users: IntArray,
    k: int,
    *,
    known: Rows | None = None,
    candidates: IntArray | None = None,
    threads: int = 1,
    block_bytes: int = BLOCK_BYTES,
) -> TopK:
    """The exact k best items of each user.

    Scores that are not finite are never recommended. Equal scores are ordered by item index.

    Parameters
    ----------
    scorer : Scorer
        Such as `Factors`, in which an item with a bias of -inf is left out: sooner than by
        `candidates`, if there are few of them.
    users : int (n,)
        User indices, in any order, repeated or not.
    k : int
        At least 1; may exceed the catalogue, the rest is padded.
    known : Rows, optional
        Items to leave out, a row for each user index.
    candidates : int array, optional
        Rank these items only. All by default.
    threads : int
        Blocks of users ranked side by side. BLAS itself is held to one thread meanwhile, where
        threadpoolctl is installed; otherwise its own setting stands.
    block_bytes : int
        Bound on the score buffers, all threads together (one user's scores at least).

    Returns
    -------
    TopK

    Raises
    ------
    ValueError
        If ``k`` or ``threads`` is below 1, or an index lies outside its range.
    """
    if k < 1:
        raise ValueError(f"k must be at least 1, not {k}")
    ranked_items = candidate_items(scorer.n_items, candidates)
    items = np.full((len(users), k), -1, np.int32)
    scores = np.full((len(users), k), -np.inf, np.float32)

    def keep(block: Block) -> None:
        positions, values = block.largest(k)
        found = items_of_positions(positions, values, ranked_items)
        items[block.rows, : found.shape[1]] = found
        scores[block.rows, : found.shape[1]] = values

    score_blocks(
        scorer, users, keep, depth=k, known=known, candidates=ranked_items,
        threads=threads, block_bytes=block_bytes,
    )  # fmt: skip
    return TopK(items, scores)


def items_of_positions(
    positions: Int64Array, scores: Float32Array, candidates: Int64Array | None
) -> Int64Array:
    """Item indices at positions of a block; -1 where the score says there is none."""
    if candidates is not None and len(candidates):
        positions = candidates[np.minimum(positions, len(candidates) - 1)]
    return np.where(scores > -np.inf, positions, -1)


def score_blocks(
    scorer: Scorer,
    users: IntArray,
    visit: Callable[[Block], None],
    *,
    depth: int,
    known: Rows | None = None,
    candidates: Int64Array | None = None,
    threads: int = 1,
    block_bytes: int = BLOCK_BYTES,
) -> None:
    """Score all items for all users, block by block, and call ``visit`` once with each block.

    Parameters
    ----------
    visit : callable
        Takes a :class:`Block`, whose arrays are reused after it returns. Called from several
        threads when ``threads`` is above 1, with disjoint rows.
    depth : int
        About how many items per user ``visit`` will ask for; sets the size of the groups.
    candidates : int64 array, optional
        Ascending and without repetition. Positions in a block count these.

    The other parameters are those of :func:`top_k`.
    """
    if threads < 1:
        raise ValueError(f"threads must be at least 1, not {threads}")
    users = np.asarray(users)
    _check_users(users, scorer, known)
    n_items = scorer.n_items if candidates is None else len(candidates)
    shape = _Shape.of(n_items, depth, block_bytes // threads, scorer)
    mask = None if known is None else _Mask(known, scorer.n_items, candidates)
    blocks = [
        np.arange(start, min(start + shape.columns, len(users)))
        for start in range(0, len(users), shape.columns)
    ]
    # A copy of the catalogue pays when several blocks use it.
    copy_bytes = block_bytes // 2 if len(blocks) > 1 else 0
    buffers: queue.SimpleQueue[_Buffer] = queue.SimpleQueue()

    def work(rows: Int64Array) -> None:
        buffer = buffers.get()
        try:
            with np.errstate(over="ignore", invalid="ignore"):  # the model may have diverged
                visit(buffer.fill(source, rows, users[rows], mask))
        finally:
            buffers.put(buffer)

    with ExitStack() as stack:
        stack.enter_context(one_blas_thread())
        source = _source(scorer, candidates, shape, copy_bytes, stack)
        workers = min(threads, len(blocks))
        for _ in range(workers):
            buffers.put(_Buffer.of(shape, len(users), stack))
        if workers <= 1:
            for rows in blocks:
                work(rows)
            return
        executor = stack.enter_context(ThreadPoolExecutor(workers))
        for _ in executor.map(work, blocks):
            pass


def _best(values: Float32Array, k: int) -> Int64Array:
    """Columns of the k largest values of each row, best first, equal values by column."""
    n_columns = values.shape[1]
    keys = order_keys(values, np.arange(n_columns))
    if k < n_columns:
        keys.partition(n_columns - k, axis=1)
    best = np.sort(keys[:, n_columns - k :], axis=1)[:, ::-1]
    return _LAST - (best & _LAST)


def order_keys(values: Float32Array, indices: IntArray) -> Int64Array:
    """Numbers that order as the values do, equal ones by index, the lowest of which is the largest.

    A value and its index are packed in one integer that orders as the pair does: the bits of a
    float32, read as an integer, order as the float once those of a negative number are flipped.

    Parameters
    ----------
    values : float32 (n, m)
    indices : int (n, m) or (m,)
        From 0 to 2**32 - 1.
    """
    bits: Int32Array = np.add(values, 0, dtype=np.float32).view(np.int32)  # and -0 becomes +0
    ordered: Int32Array = np.where(bits < 0, bits ^ np.int32(0x7FFFFFFF), bits)
    keys: Int64Array = np.left_shift(ordered, 32, dtype=np.int64)
    np.bitwise_or(keys, _LAST - indices, out=keys)
    return keys


def candidate_items(n_items: int, candidates: IntArray | None) -> Int64Array | None:
    """Candidates ascending and without repetition; None for the whole catalogue."""
    if candidates is None:
        return None
    ranked_items = np.unique(np.asarray(candidates))
    if len(ranked_items) and not (ranked_items[0] >= 0 and ranked_items[-1] < n_items):
        raise ValueError(f"candidates must lie in 0..{n_items - 1}")
    return ranked_items.astype(np.int64)


def _check_users(users: IntArray, scorer: Scorer, known: Rows | None) -> None:
    limits = [] if known is None else [len(known.indptr) - 1]
    if isinstance(scorer, Factors | Blended | BlendedAudience):
        limits.append(scorer.n_users)
    if len(users) and (users.min() < 0 or any(users.max() >= limit for limit in limits)):
        raise ValueError(f"users must lie in 0..{min(limits, default=0) - 1}")


@dataclass(frozen=True)
class _Shape:
    """Sizes of the blocks of one sweep, and how their scores lie in memory.

    All products of a sweep have the same shape, whatever the number of users and items, since
    OpenBLAS treats small matrices, single rows and remainders apart. With some of its kernels one
    score then comes from the same additions in the same order wherever it stands; with others
    (Haswell's, which AMD's EPYC uses) the order goes with the place in the tile, and the last bit
    of a score with it.
    """

    n_items: int
    group: int  # items in a group
    tile: int  # items in a tile, a multiple of the group
    columns: int  # users in a block, at most
    least: int  # columns in a block, at least
    by_user: bool  # whether the scores of a user are contiguous, or else those of an item

    @staticmethod
    def of(n_items: int, depth: int, block_bytes: int, scorer: Scorer) -> _Shape:
        # Work after the product is one step a group and one a candidate: least at the root.
        ideal = np.log2(np.sqrt(max(1, n_items) / (depth + 1)))
        by_user = not isinstance(scorer, Factors | BlendedAudience)
        dear = by_user and load_sums() is None  # maxima that NumPy takes user by user
        group = 2 ** int(np.clip(round(ideal) + dear, 4, 7))
        if by_user:  # of deep lists, all scores are compared with a bound that groups give
            bounding = np.log2(max(1, n_items) / (1.5 * depth + 1))
            group = max(group, 2 ** int(np.clip(bounding, 4, 7)))
        whole = max(group, -(-n_items // group) * group)
        # The tile size with the least padding.
        tile = min(range(group, _TILE + 1, group), key=lambda size: (-whole % size, -size))
        tile = whole if whole <= _TILE else max(tile, _TILE // 2)
        column = 4 * -(-whole // tile) * tile
        factors = scorer.factors if isinstance(scorer, Blended | BlendedAudience) else scorer
        if not isinstance(factors, Factors):  # the scorer's own scores need as much memory again
            columns = int(np.clip(block_bytes // (2 * column), 1, _USERS_PER_BLOCK))
            return _Shape(n_items, group, tile, columns, 1, by_user)
        least = _round_up(-(-_STEADY // (tile * (factors.n_components + 2))), 16)
        columns = int(np.clip(block_bytes // column, 1, max(least, _USERS_PER_BLOCK)))
        columns = columns if columns < 16 else columns // 16 * 16
        return _Shape(n_items, group, tile, columns, min(least, columns), by_user)

    @property
    def n_rows(self) -> int:
        return max(1, -(-self.n_items // self.tile)) * self.tile

    @property
    def strip(self) -> int:
        """Users in a strip, whose scores of all items fit the cache."""
        return max(1, _STRIP // self.n_rows)

    def width(self, n_users: int) -> int:
        """Columns that hold so many users."""
        if self.least == 1:
            return min(n_users, self.columns)
        return min(self.columns, _round_up(max(n_users, self.least), 16))

    def laid_out(self, memory: Float32Array, width: int) -> Float32Array:
        """A row for each item or group and a column for each user, in this memory."""
        return memory.reshape(width, -1).T if self.by_user else memory.reshape(-1, width)

    def tiles(self) -> list[slice]:
        """The items of each tile."""
        return [slice(i, i + self.tile) for i in range(0, self.n_rows, self.tile)]

    def pieces(self, n_users: int, width: int) -> list[_Piece]:
        """The pieces of a block, one after the other in memory."""
        if not self.by_user:
            return [(tile, slice(0, width)) for tile in self.tiles()]
        bounds = [*range(0, n_users, self.strip), n_users]
        return [(slice(0, self.n_rows), slice(*strip)) for strip in itertools.pairwise(bounds)]


def _round_up(number: int, step: int) -> int:
    return -(-number // step) * step


_Piece = tuple[slice, slice]
"""The items and users of a part of a block that fits the cache: a tile or a strip."""

_Fill = Callable[[slice, slice], None]
"""Completes the scores of the items and users of a piece."""

_Source = Callable[[IntArray, Float32Array], _Fill]
"""Takes the users of a block and where their scores go, float32 (n_rows, width)."""


def _source(
    scorer: Scorer,
    ranked_items: Int64Array | None,
    shape: _Shape,
    copy_bytes: int,
    stack: ExitStack,
) -> _Source:
    if isinstance(scorer, Factors):
        return _factor_source(scorer, ranked_items, shape, copy_bytes, stack)
    if isinstance(scorer, Blended):
        return _blended_source(scorer, ranked_items, shape, copy_bytes, stack)
    if isinstance(scorer, BlendedAudience):
        return _audience_source(scorer, ranked_items, shape, copy_bytes, stack)
    return _scorer_source(scorer, ranked_items)


def _scorer_source(scorer: Scorer, ranked_items: Int64Array | None) -> _Source:
    def opened(users: IntArray, scores: Float32Array) -> _Fill:
        found = scorer.score(users)
        if found.shape != (len(users), scorer.n_items):
            expected = (len(users), scorer.n_items)
            raise ValueError(f"the scorer gave scores of shape {found.shape}, not {expected}")

        def fill(_: slice, columns: slice) -> None:
            part = found[columns] if ranked_items is None else found[columns][:, ranked_items]
            scores[: part.shape[1], columns] = part.T

        return fill

    return opened


def _factor_source(
    factors: Factors,
    ranked_items: Int64Array | None,
    shape: _Shape,
    copy_bytes: int,
    stack: ExitStack,
) -> _Source:
    d = factors.n_components + 2

    def folded(items: slice, out: Float32Array) -> Float32Array:
        chosen = _chosen(ranked_items, items)
        biases = factors.item_biases[chosen]
        return _fold(factors.item_factors[chosen], biases, np.ones_like(biases), out)

    # Otherwise the catalogue is folded tile by tile, again for each block.
    fits = 4 * shape.n_rows * d <= copy_bytes
    whole = None
    if fits:
        memory = stack.enter_context(_buffers.borrow((shape.n_rows, d)))
        whole = folded(slice(0, shape.n_rows), memory)

    def opened(users: IntArray, scores: Float32Array) -> _Fill:
        biases = factors.user_biases[users]
        ones = np.ones_like(biases)
        vectors = factors.user_factors[users]
        columns = _fold(vectors, ones, biases, np.empty((scores.shape[1], d), np.float32)).T
        # An item whose bias is -inf is left out, and no NaN where there is no user either.
        columns[0, len(users) :] = 1

        def fill(items: slice, _: slice) -> None:
            out = scores[items]
            tile = (
                folded(items, np.empty((len(out), d), np.float32))
                if whole is None
                else whole[items]
            )
            np.matmul(tile, columns, out=out)

        return fill

    return opened


def _blended_source(
    scorer: Blended,
    ranked_items: Int64Array | None,
    shape: _Shape,
    copy_bytes: int,
    stack: ExitStack,
) -> _Source:
    """The product of the factors, then what the neighbours add, strip by strip."""
    factors = _factor_source(scorer.factors, ranked_items, shape, copy_bytes, stack)
    neighbours = scorer.neighbours
    # Candidates are ascending: those without neighbours come last.
    known = None
    if ranked_items is not None:
        within = int(np.searchsorted(ranked_items, neighbours.n_items))
        known = _chosen(ranked_items, slice(0, within))

    def opened(users: IntArray, scores: Float32Array) -> _Fill:
        multiply = factors(users, scores)
        for tile in shape.tiles():
            multiply(tile, slice(0, scores.shape[1]))
        memory = np.empty((min(shape.strip, len(users)), neighbours.n_items), np.float32)

        def fill(_: slice, columns: slice) -> None:
            some = users[columns]
            added = neighbours.scores_of_users(scorer.likes, some, memory[: len(some)])
            added = added if known is None else added[:, known]
            scores[: added.shape[1], columns] += added.T

        return fill

    return opened


def _audience_source(
    scorer: BlendedAudience,
    ranked_users: Int64Array | None,
    shape: _Shape,
    copy_bytes: int,
    stack: ExitStack,
) -> _Source:
    """The product of the factors, and what neighbours add for the users of each tile."""
    factors = _factor_source(scorer.factors, ranked_users, shape, copy_bytes, stack)
    everybody = np.arange(scorer.n_items) if ranked_users is None else ranked_users

    def opened(items: IntArray, scores: Float32Array) -> _Fill:
        multiply, neighbours = factors(items, scores), scorer.neighbours.of_columns(items)

        def fill(users: slice, columns: slice) -> None:
            multiply(users, columns)
            add_of_columns(neighbours, scorer.likes, everybody[users], scores[users])

        return fill

    return opened


def _chosen(ranked_items: Int64Array | None, positions: slice) -> slice | Int64Array:
    """The items at some positions: a range wherever they are one, since that is no copy."""
    if ranked_items is None:
        return positions
    chosen = ranked_items[positions]
    if len(chosen) and chosen[-1] - chosen[0] == len(chosen) - 1:
        return slice(int(chosen[0]), int(chosen[-1]) + 1)
    return chosen


def _fold(
    vectors: Float32Array, first: Float32Array, second: Float32Array, out: Float32Array
) -> Float32Array:
    """Vectors after two more components, and zeros after the last of them."""
    n = len(vectors)
    out[:n, 0], out[:n, 1], out[:n, 2:] = first, second, vectors
    out[n:] = 0
    return out


@dataclass(frozen=True)
class _Buffer:
    """Memory of one thread, used for one block after the other."""

    shape: _Shape
    scores: Float32Array
    maxima: Float32Array

    @staticmethod
    def of(shape: _Shape, n_users: int, stack: ExitStack) -> _Buffer:
        size = shape.n_rows * shape.width(n_users)
        scores = stack.enter_context(_buffers.borrow((size,)))
        return _Buffer(shape, scores, np.empty(size // shape.group, np.float32))

    def fill(self, source: _Source, rows: Int64Array, users: IntArray, mask: _Mask | None) -> Block:
        shape, width, group = self.shape, self.shape.width(len(users)), self.shape.group
        memory = self.scores[: shape.n_rows * width]
        scores = shape.laid_out(memory, width)
        maxima = shape.laid_out(self.maxima[: len(memory) // group], width)
        fill = source(users, scores)
        steps = (1, shape.n_rows) if shape.by_user else (width, 1)
        masked = np.empty(0, np.int64) if mask is None else mask.flat(users, *steps)
        pieces = shape.pieces(len(users), width)
        starts = [items.start * steps[0] + columns.start * steps[1] for items, columns in pieces]
        bounds = np.searchsorted(masked, [*starts, len(memory)])
        for i, (items, columns) in enumerate(pieces):
            fill(items, columns)
            memory[masked[bounds[i] : bounds[i + 1]]] = -np.inf
            part = scores[items, columns]
            part[max(0, shape.n_items - items.start) :] = -np.inf
            groups = slice(items.start // group, items.stop // group)
            _reduce(part, group, maxima[groups, columns])
        return Block(rows, scores, maxima, group)


def _reduce(scores: Float32Array, group: int, out: Float32Array) -> None:
    """Maxima of the groups of a piece; what is not finite becomes -inf, in ``scores`` too."""
    _maxima(scores, group, out)
    if not bool((out < np.inf).all()):  # false for a NaN, which a maximum passes on
        scores[~np.isfinite(scores)] = -np.inf
        _maxima(scores, group, out)


def _maxima(scores: Float32Array, group: int, out: Float32Array) -> None:
    if scores.strides[0] > scores.itemsize:
        scores.reshape(-1, group, scores.shape[1]).max(axis=1, out=out)
    elif not group_maxima(scores.T, group, out.T):
        # Several times as fast as a maximum over the inner one of three axes.
        firsts = np.arange(0, len(scores), group)
        np.maximum.reduceat(scores.T, firsts, axis=1, out=out.T)


class _Mask:
    """Known items as ascending flat positions in the memory of a block."""

    def __init__(self, known: Rows, n_items: int, ranked_items: Int64Array | None) -> None:
        self._known, self._n_items = known, n_items
        self._place: Int64Array | None = None
        if ranked_items is not None:
            self._place = np.full(n_items, -1)
            self._place[ranked_items] = np.arange(len(ranked_items))

    def flat(self, users: IntArray, item_step: int, user_step: int) -> Int64Array:
        """Where they are, by how far apart the scores of two items and of two users are."""
        entries, owners = flatten(self._known, users)
        items = np.asarray(self._known.indices[entries], np.int64)
        if len(items) and not (items.min() >= 0 and items.max() < self._n_items):
            raise ValueError(f"known items must lie in 0..{self._n_items - 1}")
        if self._place is not None:
            items = self._place[items]
            items, owners = items[items >= 0], owners[items >= 0]
        return np.sort(items * item_step + owners * user_step)
