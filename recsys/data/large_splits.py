"""Large splits: holdouts of users, taken from interactions that memory does not hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsys.base.arrays import BoolArray, Int32Array, Int64Array
from recsys.base.durations import DAY
from recsys.base.errors import InputError
from recsys.data.idmap import IdMap
from recsys.data.interactions import Interactions
from recsys.data.large_files import ArrayFile, MatrixFile, are_timed, stored_interactions
from recsys.data.persistence import DAYS
from recsys.data.spill import user_aligned
from recsys.data.splits import (
    chance_in_time,
    choose_cold,
    choose_users,
    count_tied,
    held_out,
    require_timestamp,
)
from recsys.data.windows import Middle, units_by_middle


@dataclass(frozen=True)
class PartSize:
    """How large a part of a split is; `users` have an interaction in it."""

    interactions: int
    users: int


@dataclass(frozen=True)
class LargeSplit:
    """What was written of a split.

    Parameters
    ----------
    train, validation, test : PartSize
    cold_items : int
    tied : int or None
        See `recsys.data.splits.Split`.
    """

    train: PartSize
    validation: PartSize
    test: PartSize
    cold_items: int
    tied: int | None


def write_split(
    source: Path,
    folder: Path,
    users: IdMap,
    items: IdMap,
    *,
    n: int,
    share: float,
    by_time: bool,
    one_holdout: bool,
    with_features: BoolArray | None,
    cold_share: float,
    seed: int,
    rows: int,
) -> LargeSplit:
    """Hold interactions out, as `recsys.data.splits.split` does.

    Parameters
    ----------
    source : Path
        The interactions, sorted by user.
    folder : Path
        Where the parts are written; see `recsys.data.persistence.save_split`.
    users, items : IdMap
    n, share, by_time, one_holdout, with_features, cold_share, seed
        See `recsys.data.splits.split`.
    rows : int
        How many are in memory at a time; those of one user always are.

    Raises
    ------
    InputError
        If too few users are eligible, or there is no timestamp to go by.
    """
    timed = are_timed(source)
    require_timestamp(by_time, timed)
    generator = np.random.default_rng(seed)
    counts, units = _look_through(source, len(users), rows)
    chosen = choose_users(counts, n, share, 1 if one_holdout else 2, generator)
    luck = chance_in_time(seed) if by_time else generator
    writer, tied = _Writer(folder, (len(users), len(items)), units, counts, chosen, n), 0
    for user, item, *when in user_aligned(stored_interactions(source, rows, times=timed)):
        part = Interactions(user, item, None, when[0] if when else None, users, items)
        # One after the other, these are the numbers that are drawn for all rows at once.
        chance = luck.random(len(part))
        held = [held_out(part, who, by_time, chance, n) for who in chosen]
        tied += count_tied(part, chosen, held) if by_time else 0
        writer.append(part, held)
    sizes = writer.close()
    cold = choose_cold(len(items), with_features, cold_share, generator)
    np.save(folder / "cold_items.npy", cold)
    return LargeSplit(*sizes, len(cold), tied if by_time else None)


def _look_through(source: Path, n_users: int, rows: int) -> tuple[Int64Array, float | None]:
    """Interactions of each user, and units of time in a second; None if there are none."""
    counts, middle, timed = np.zeros(n_users, np.int64), Middle(), are_timed(source)
    for user, _, *when in stored_interactions(source, rows, times=timed):
        counts += np.bincount(user, minlength=n_users)
        if when:
            middle.look_at(when[0])
    if not timed:
        return counts, None
    try:
        return counts, units_by_middle(middle.bound(), "the time")
    except InputError:
        return counts, None  # as `recsys.data.splits.days_of` has it


class _Writer:
    """The files of a split."""

    def __init__(
        self,
        folder: Path,
        shape: tuple[int, int],
        units: float | None,
        counts: Int64Array,
        chosen: list[Int32Array],
        n: int,
    ) -> None:
        self._units = units
        self._matrices = [
            MatrixFile(folder / f"{name}.npz", shape) for name in ("train", "validation", "test")
        ]
        self._days: list[ArrayFile] = []
        if units is not None:
            sizes = int(counts.sum()) - n * sum(map(len, chosen)), n * len(chosen[0])
            self._days = [
                ArrayFile(folder / f"{name}.npy", np.float64, size)
                for name, size in zip(DAYS, sizes, strict=True)
            ]

    def append(self, part: Interactions, held: list[BoolArray]) -> None:
        """Add all interactions of some users; `held` are those of validation, and of test."""
        rows = [~np.logical_or.reduce(held), *held]
        for matrix, those in zip(self._matrices, rows, strict=False):
            matrix.append(part.user[those], part.item[those])
        if self._units is not None and part.timestamp is not None:
            days = part.timestamp / (self._units * DAY)
            for file, those in zip(self._days, rows, strict=False):
                file.append(days[those])

    def close(self) -> tuple[PartSize, PartSize, PartSize]:
        """Complete the files."""
        for matrix in self._matrices:
            matrix.close()
        for file in self._days:
            file.close()
        train, validation, test = (PartSize(m.nnz, m.rows_in_use) for m in self._matrices)
        return train, validation, test
