"""Large splits: holdouts drawn at random from interactions that memory does not hold."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from recsys.base.arrays import BoolArray, Int64Array
from recsys.data.idmap import IdMap
from recsys.data.interactions import Interactions
from recsys.data.large_files import MatrixFile, read_pairs
from recsys.data.spill import user_aligned
from recsys.data.splits import choose_cold, choose_users, held_out


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
    """

    train: PartSize
    validation: PartSize
    test: PartSize
    cold_items: int


def write_split(
    source: Path,
    folder: Path,
    users: IdMap,
    items: IdMap,
    *,
    n: int,
    share: float,
    one_holdout: bool,
    with_features: BoolArray | None,
    cold_share: float,
    seed: int,
    rows: int,
) -> LargeSplit:
    """Hold interactions out at random, as `recsys.data.splits.split` does.

    Parameters
    ----------
    source : Path
        The interactions, sorted by user.
    folder : Path
        Where the parts are written; see `recsys.data.persistence.save_split`.
    users, items : IdMap
    n, share, one_holdout, with_features, cold_share, seed
        See `recsys.data.splits.split`.
    rows : int
        How many are in memory at a time; those of one user always are.

    Raises
    ------
    InputError
        If too few users are eligible.
    """
    generator = np.random.default_rng(seed)
    counts: Int64Array = np.zeros(len(users), np.int64)
    for user, _ in read_pairs(source, rows):
        counts += np.bincount(user, minlength=len(users))
    chosen = choose_users(counts, n, share, 1 if one_holdout else 2, generator)
    shape = len(users), len(items)
    files = [MatrixFile(folder / f"{name}.npz", shape) for name in ("train", "validation", "test")]
    for user, item in user_aligned(read_pairs(source, rows)):
        part = Interactions(user, item, None, None, users, items)
        # One after the other, these are the numbers that are drawn for all rows at once.
        chance = generator.random(len(part))
        held = [held_out(part, who, False, chance, n) for who in chosen]
        train = ~np.logical_or.reduce(held)
        for file, those in zip(files, [train, *held], strict=False):
            file.append(user[those], item[those])
    for file in files:
        file.close()
    cold = choose_cold(len(items), with_features, cold_share, generator)
    np.save(folder / "cold_items.npy", cold)
    train, validation, test = (PartSize(file.nnz, file.rows_in_use) for file in files)
    return LargeSplit(train, validation, test, len(cold))
