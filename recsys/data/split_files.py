"""Splits as files of likes: one made elsewhere is read, and one of ours is written."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq
import scipy.sparse as sp

from recsys.base.arrays import BoolArray
from recsys.base.errors import InputError
from recsys.data.interactions import Interactions
from recsys.data.splits import FEWEST_USERS, Split, choose_cold, days_of
from recsys.data.splits import split as split_by_user

FileFormat: TypeAlias = Literal["parquet", "csv"]


@dataclass(frozen=True)
class GivenSplit:
    """A split made of files.

    Parameters
    ----------
    parts : Split
    unknown : int
        Pairs of the files whose user or item is not in the core; nobody is asked for them.
    """

    parts: Split
    unknown: int


def split_as_given(
    interactions: Interactions,
    validation: Interactions | None,
    test: Interactions,
    *,
    n: int = 5,
    share: float = 0.2,
    one_holdout: bool = False,
    with_features: BoolArray | None = None,
    cold_share: float = 0.1,
    seed: int = 0,
) -> GivenSplit:
    """Hold out the pairs that files name, whether or not they are among the interactions.

    Train is what is left, so that `interactions` may be the train file of a paper, or everything.

    Parameters
    ----------
    interactions : Interactions
        The core.
    validation : Interactions or None
        None: n interactions of a share of the users are drawn from train, see `splits.split`.
    test : Interactions
    n, share, seed
        Of that draw.
    one_holdout : bool
        Whether `test` is the only holdout, which the search sees.
    with_features, cold_share
        See `splits.split`.

    Raises
    ------
    InputError
        If a pair is in both files, fewer than ten users of one are in the core, or nothing is left
        to learn from.
    """
    wanted = {"test": test} | ({} if validation is None else {"validation": validation})
    held = {name: _in_core(part, interactions, name) for name, part in wanted.items()}
    unknown = sum(len(wanted[name]) - len(part) for name, part in held.items())
    matrices = {name: part.matrix() for name, part in held.items()}
    if "validation" in held and (both := matrices["validation"].multiply(matrices["test"]).nnz):
        raise InputError(
            f"{both:,} pairs of user and item are in the validation and in the test file",
            "each pair in one of them",
            "leave them out of one file",
        )
    left = _without(interactions, sum(matrices.values()))
    if not len(left):
        raise InputError(
            "nothing is left to learn from: all interactions are in the held-out files",
            "interactions that are in none of them",
            "name the file of the training interactions, or of all, in data.likes",
        )
    cold = choose_cold(
        len(interactions.items), with_features, cold_share, np.random.default_rng(seed)
    )
    train, days = left.matrix(), days_of(left)
    if one_holdout:
        empty = sp.csr_matrix(train.shape, dtype=np.float32)
        parts = Split(train, matrices["test"], empty, cold, train_days=days)
    elif "validation" in held:
        searched = days_of(held["validation"])
        parts = Split(
            train, matrices["validation"], matrices["test"], cold,
            train_days=days, validation_days=searched,
        )  # fmt: skip
    else:
        drawn = split_by_user(left, n=n, share=share, one_holdout=True, seed=seed)
        parts = replace(drawn, test=matrices["test"], cold_items=cold)
    return GivenSplit(parts, unknown)


def _in_core(part: Interactions, core: Interactions, name: str) -> Interactions:
    """The pairs of a file whose user and item are in the core, of its users and items."""
    user = part.users.places_in(core.users)[part.user]
    item = part.items.places_in(core.items)[part.item]
    known = (user >= 0) & (item >= 0)
    if (users := len(np.unique(user[known]))) < FEWEST_USERS:
        raise InputError(
            f"of the {len(part.users):,} users in the {name} file (such as {part.users.id(0)!r}), "
            f"{users} are in the core with an item of theirs (users such as {core.users.id(0)!r})",
            f"at least {FEWEST_USERS} users",
            "check that the files use the same ids, or lower threshold.user_min and item_min",
        )
    order = np.flatnonzero(known)[np.lexsort((item[known], user[known]))]
    rows, columns = (side[order].astype(np.int32) for side in (user, item))
    weight = None if part.weight is None else part.weight[order]
    timestamp = None if part.timestamp is None else part.timestamp[order]
    return Interactions(rows, columns, weight, timestamp, core.users, core.items)


def _without(interactions: Interactions, held: sp.csr_matrix) -> Interactions:
    width = np.int64(len(interactions.items))
    held_user, held_item = held.nonzero()
    key = interactions.user * width + interactions.item
    return interactions.where(~np.isin(key, held_user * width + held_item))


def named_parts(parts: Split) -> dict[str, sp.csr_matrix]:
    """The matrices of a split that have entries, by the name of their file."""
    named = {"train": parts.train, "validation": parts.validation, "test": parts.test}
    if parts.time is not None:
        if parts.test.nnz:
            named["before_test"] = parts.time.before_test
        named["new_users_known"] = parts.time.of_new_users
        named["new_users_test"] = parts.time.from_new_users
        named["new_items_test"] = parts.time.new_items
    return {name: matrix for name, matrix in named.items() if matrix.nnz}


def write_split(
    folder: Path, interactions: Interactions, parts: Split, file_format: FileFormat = "parquet"
) -> dict[str, Path]:
    """Write each part of a split as a table of its likes: user, item, and weight and timestamp.

    Parameters
    ----------
    folder : Path
        Made if it is not there.
    interactions : Interactions
        What was split.
    parts : Split
    file_format : {"parquet", "csv"}

    Returns
    -------
    dict of str to Path
        The file of each part that has likes.
    """
    tables = {
        name: likes_table(interactions, matrix) for name, matrix in named_parts(parts).items()
    }
    return write_tables(folder, tables, file_format)


def likes_table(interactions: Interactions, matrix: sp.csr_matrix) -> pa.Table:
    """The likes of a matrix by their ids, with the weight and the time they have, if any."""
    pairs = matrix.tocoo()
    columns = {
        "user": interactions.users.ids.take(pa.array(pairs.row)),
        "item": interactions.items.ids.take(pa.array(pairs.col)),
    }
    if interactions.weight is not None:
        columns["weight"] = pa.array(pairs.data)
    if interactions.timestamp is not None:
        width = np.int64(len(interactions.items))
        key = interactions.user * width + interactions.item
        place = np.searchsorted(key, pairs.row * width + pairs.col)
        place = np.minimum(place, len(key) - 1)
        known = key[place] == pairs.row * width + pairs.col
        columns["timestamp"] = pa.array(interactions.timestamp[place], mask=~known)
    return pa.table(columns)


def write_tables(
    folder: Path, tables: Mapping[str, pa.Table], file_format: FileFormat
) -> dict[str, Path]:
    """Write tables as files of a folder, each under its name."""
    folder.mkdir(parents=True, exist_ok=True)
    written: dict[str, Path] = {}
    for name, table in tables.items():
        written[name] = folder / f"{name}.{file_format}"
        if file_format == "csv":
            pa_csv.write_csv(table, written[name])
        else:
            pq.write_table(table, written[name], compression="zstd")
    return written
