"""Large cores: the k-core, and everybody's likes, of interactions that memory does not hold.

Counts of users and items are in memory; the interactions go by, once for each pass.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from recsys.base.arrays import AnyArray, BoolArray, Int32Array, Int64Array
from recsys.data.kcore import Pass, nothing_left
from recsys.data.large_files import (
    ArrayFile,
    InteractionsFile,
    are_timed,
    count_interactions,
    stored_interactions,
)
from recsys.data.spill import Spill, user_aligned

_WORTH_COPYING = 0.75  # share of the rows that are left, below which they are copied


@dataclass(frozen=True)
class LargeCore:
    """The users and items of a core, whose interactions are in a file.

    Parameters
    ----------
    users, items : int32
        Their indices in the original interactions.
    ledger : tuple of Pass
        See `recsys.data.kcore.Core`.
    """

    users: Int32Array
    items: Int32Array
    ledger: tuple[Pass, ...]


def write_kcore(
    source: Path,
    target: Path,
    shape: tuple[int, int],
    minimums: tuple[int, int],
    rows: int,
) -> LargeCore:
    """Write the core of a file of interactions, as `recsys.data.kcore.kcore` finds it.

    Parameters
    ----------
    source, target : Path
        Files of users and items, sorted. The target's folder holds twice 16 bytes an interaction
        besides, at most, until it is written.
    shape : (int, int)
        Number of users and items.
    minimums : (int, int)
        Fewest interactions of a user, and of an item.
    rows : int
        How many are in memory at a time; those of one user always are.

    Raises
    ------
    InputError
        If nothing is left.
    """
    with TemporaryDirectory(dir=target.parent) as scratch:
        passes = _Passes(source, shape, minimums, Path(scratch), rows)
        ledger = passes.run()
        users, items = (
            np.flatnonzero(counts).astype(np.int32) for counts in (passes.by_user, passes.by_item)
        )
        places = [_places(chosen, n) for chosen, n in zip((users, items), shape, strict=True)]
        with InteractionsFile(target, are_timed(source)) as file:
            for user, item, *time in passes.survivors():
                file.append(places[0][user], places[1][item], *time)
    return LargeCore(users, items, tuple(ledger))


def _places(chosen: Int32Array, n: int) -> Int32Array:
    """Where each of n indices is among those chosen; -1 where it is not."""
    place = np.full(n, -1, np.int32)
    place[chosen] = np.arange(len(chosen), dtype=np.int32)
    return place


class _Passes:
    """The passes over a file of interactions."""

    def __init__(
        self,
        source: Path,
        shape: tuple[int, int],
        minimums: tuple[int, int],
        scratch: Path,
        rows: int,
    ) -> None:
        self._source, self._scratch, self._rows = source, scratch, rows
        self._shape, self._minimums = shape, minimums
        self._copy: Spill | None = None
        self._copies = 0
        self._timed = are_timed(source)
        self.by_user, self.by_item = (np.zeros(n, np.int64) for n in shape)
        for user, item in stored_interactions(source, rows):
            self.by_user += np.bincount(user, minlength=shape[0])
            self.by_item += np.bincount(item, minlength=shape[1])

    def run(self) -> list[Pass]:
        """Remove until nothing is removed; `by_user` and `by_item` are then those of the core."""
        number = count_interactions(self._source)
        busiest, liked = int(self.by_user.max()), int(self.by_item.max())
        left = (*self._shape, number)
        ledger: list[Pass] = []
        while True:
            now = self._pass(left[2])
            ledger.append(Pass(left[0] - now[0], left[1] - now[1], left[2] - now[2], *now))
            if now[2] == left[2]:
                break
            left = now
        if not left[2]:
            raise nothing_left(number, busiest, liked, *self._minimums)
        return ledger

    def survivors(self) -> Iterator[list[AnyArray]]:
        """The interactions of users and items that are left, all of a user in one part."""
        users, items = self.by_user > 0, self.by_item > 0
        for part in self._parts():
            keep = users[part[0]] & items[part[1]]
            yield [column[keep] for column in part]

    def _pass(self, left: int) -> tuple[int, int, int]:
        """Remove items, then users, with too few: the users, items and interactions left."""
        items, users = self.by_item >= self._minimums[1], self.by_user > 0
        by_user, by_item = np.zeros_like(self.by_user), np.zeros_like(self.by_item)
        number, copy = 0, self._new_copy(left)
        for part in self._parts():
            keep = users[part[0]] & items[part[1]]
            keep = self._of_users_with_enough(part[0], keep)
            left_over = [column[keep] for column in part]
            user, item = left_over[:2]
            by_user += np.bincount(user, minlength=len(by_user))
            by_item += np.bincount(item, minlength=len(by_item))
            number += len(user)
            if copy is not None:
                copy.append(*left_over)
        if copy is not None:
            if self._copy is not None:
                self._copy.remove()
            self._copy = copy
        self.by_user, self.by_item = by_user, by_item
        return int(np.count_nonzero(by_user)), int(np.count_nonzero(by_item)), number

    def _of_users_with_enough(self, user: Int32Array, keep: BoolArray) -> BoolArray:
        """Without the rows of users who have too few; all of a user are there."""
        if not len(user):
            return keep
        local = user - user[0]
        counts: Int64Array = np.bincount(local[keep], minlength=int(local[-1]) + 1)
        return keep & (counts >= self._minimums[0])[local]

    def _parts(self) -> Iterator[list[AnyArray]]:
        parts = (
            stored_interactions(self._source, self._rows, times=self._timed)
            if self._copy is None
            else self._copy.parts(self._rows)
        )
        return user_aligned(parts)

    def _new_copy(self, left: int) -> Spill | None:
        """Where to copy what this pass leaves; None if what it reads has few rows besides."""
        if self._copy is not None and left > _WORTH_COPYING * len(self._copy):
            return None
        self._copies += 1
        folder = self._scratch / str(self._copies)
        folder.mkdir()
        kinds = {"user": np.int32, "item": np.int32, "timestamp": np.int64}
        return Spill(folder, kinds if self._timed else dict(list(kinds.items())[:2]))


def write_all_likes(
    source: Path,
    folder: Path,
    user_place: Int32Array,
    item_place: Int32Array,
    sizes: tuple[int, int],
    rows: int,
) -> None:
    """Write everybody's likes, as `recsys.data.everyone.all_likes` has them.

    Parameters
    ----------
    source : Path
        The file of all interactions.
    folder : Path
        Of everyone_indptr.npy and everyone_indices.npy.
    user_place, item_place : int32 (n,)
        See `recsys.data.everyone.core_first`.
    sizes : (int, int)
        Number of users of the core, which come first, and of all users, those without likes too.
    rows : int
        How many are in memory at a time; those of one user always are.
    """
    counts = np.zeros(sizes[1], np.int64)
    with ArrayFile(folder / "everyone_indices.npy", np.int32, count_interactions(source)) as file:
        # In each of the two groups users keep their order, so that each is written in turn.
        for core in (True, False):
            for user, item in user_aligned(stored_interactions(source, rows)):
                row = user_place[user]
                chosen = (row < sizes[0]) == core
                row, column = row[chosen], item_place[item[chosen]]
                file.append(column[np.lexsort((column, row))])
                counts += np.bincount(row, minlength=sizes[1])
    indptr = np.zeros(sizes[1] + 1, np.int64)
    np.cumsum(counts, out=indptr[1:])
    np.save(folder / "everyone_indptr.npy", indptr)
