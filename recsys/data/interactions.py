"""Interactions: read, validated, deduplicated, with ids mapped to int32 indices."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from recsys.base.arrays import Float32Array, Int32Array, Int64Array
from recsys.base.errors import InputError
from recsys.data.columns import (
    dated,
    label,
    numbers,
    positive,
    present,
    reasons,
    seconds,
    sorted_codes,
    valid_rows,
)
from recsys.data.idmap import IdMap
from recsys.data.tables import Source, TextFormat, read_table

CHECKS = {
    "user": ("no user", present),
    "item": ("no item", present),
    "weight": ("weight not a positive number", positive),
    "timestamp": ("unreadable timestamp", dated),
}


@dataclass(frozen=True)
class InteractionColumns:
    """Names of the columns in the source; None if it has no such column."""

    user: str = "uid"
    item: str = "mid"
    name: str | None = "modelname"
    weight: str | None = None
    timestamp: str | None = None

    def present(self) -> dict[str, str]:
        """The source's name of each column that it has, by ours."""
        named = {
            "user": self.user,
            "item": self.item,
            "name": self.name,
            "weight": self.weight,
            "timestamp": self.timestamp,
        }
        return {ours: theirs for ours, theirs in named.items() if theirs}


@dataclass(frozen=True)
class Interactions:
    """Distinct (user, item) pairs, sorted by user, then item.

    Parameters
    ----------
    user, item : int32 (n,)
        Indices into `users` and `items`.
    weight : float32 (n,) or None
        Positive, finite weights; None when all are one.
    timestamp : int64 (n,) or None
        Seconds since 1970, or numbers in the source's own unit.
    users, items : IdMap
    """

    user: Int32Array
    item: Int32Array
    weight: Float32Array | None
    timestamp: Int64Array | None
    users: IdMap
    items: IdMap

    def __len__(self) -> int:
        return len(self.user)

    def counts(self) -> dict[str, int]:
        """Number of users, items and interactions."""
        return {"users": len(self.users), "items": len(self.items), "interactions": len(self)}

    def matrix(self) -> sp.csr_matrix:
        """The interactions as a float32 CSR matrix (n_users, n_items)."""
        shape = (len(self.users), len(self.items))
        return csr_from_pairs(self.user, self.item, self.weight, shape)


def csr_from_pairs(
    user: Int32Array, item: Int32Array, weight: Float32Array | None, shape: tuple[int, int]
) -> sp.csr_matrix:
    """A CSR matrix (float32) of pairs that are sorted by user, then item, without duplicates.

    Sorted pairs are in CSR order, so that only the row pointers have to be computed.
    """
    indptr = np.zeros(shape[0] + 1, dtype=np.int32 if len(user) < 2**31 else np.int64)
    np.cumsum(np.bincount(user, minlength=shape[0]), out=indptr[1:])
    data = np.ones(len(user), dtype=np.float32) if weight is None else weight
    return sp.csr_matrix((data, item.astype(np.int32, copy=False), indptr), shape=shape)


def read_interactions(
    source: Source,
    columns: InteractionColumns = InteractionColumns(),
    text: TextFormat = TextFormat(),
) -> tuple[Interactions, pa.Array | None, dict[str, int]]:
    """Read a table of interactions.

    Ids are compared as text. Indices follow the sorted ids, so that the result does not depend on
    the order of the rows. Of duplicate pairs the first row is kept.

    Returns
    -------
    interactions : Interactions
    names : pyarrow string array (n_items,) or None
        The name in the first row of each item.
    rejected : dict of str to int
        Rows left out, by reason.

    Raises
    ------
    InputError
        As `recsys.data.tables.read_table`, or when no row is left.
    """
    table, malformed = read_table(source, columns.present(), ("user", "item", "name"), text)
    rows = table.num_rows + malformed
    keep, rejected = valid_rows(table, CHECKS)
    rejected = {"wrong number of fields": malformed, **rejected}
    if not keep.any():
        raise InputError(
            f"{label(source)} has {rows:,} rows and none is usable ({reasons(rejected)})",
            "at least one row with a user and an item",
            "check the columns and the delimiter",
        )
    table = table if keep.all() else table.filter(pa.array(keep))
    user, users = sorted_codes(table.column("user"), "user")
    item, items = sorted_codes(table.column("item"), "item")
    names = _first_names(table, item, len(items))
    weight = timestamp = None
    if "weight" in table.column_names:
        weight = numbers(table.column("weight")).astype(np.float32)
    if "timestamp" in table.column_names:
        timestamp = seconds(table.column("timestamp")).astype(np.int64)
    interactions = _distinct(user, item, weight, timestamp, users, items)
    rejected["duplicate"] = len(user) - len(interactions)
    return interactions, names, {reason: count for reason, count in rejected.items() if count}


def _first_names(table: pa.Table, item: Int32Array, n_items: int) -> pa.Array | None:
    """The name in the first row of each item: string array (n_items,)."""
    if "name" not in table.column_names:
        return None
    first = np.zeros(n_items, dtype=np.int64)
    # Assigned in reverse, so that the first row of an item is assigned last.
    first[item[::-1]] = np.arange(len(item) - 1, -1, -1)
    names = table.column("name").take(pa.array(first)).cast(pa.string())
    return pc.fill_null(names, "").combine_chunks()


def _distinct(
    user: Int32Array,
    item: Int32Array,
    weight: Float32Array | None,
    timestamp: Int64Array | None,
    users: IdMap,
    items: IdMap,
) -> Interactions:
    key = user.astype(np.int64) * len(items) + item
    if weight is None and timestamp is None:
        # Sorting values alone is several times faster than `np.unique` or sorting with positions.
        key.sort()
        key = key[np.flatnonzero(np.diff(key, prepend=-1))]
    else:
        key, first = np.unique(key, return_index=True)
        weight = None if weight is None else weight[first]
        timestamp = None if timestamp is None else timestamp[first]
    user, item = (part.astype(np.int32) for part in np.divmod(key, len(items)))
    return Interactions(user, item, weight, timestamp, users, items)
