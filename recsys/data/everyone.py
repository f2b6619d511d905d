"""Everyone: the likes of all users and items that were read, those of the core first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.base.arrays import Int32Array, Int64Array, IntArray
from recsys.data.idmap import IdMap
from recsys.data.interactions import Interactions


@dataclass(frozen=True)
class Everyone:
    """All likes as compressed rows; a `recsys.ranking.rows.Rows`.

    Parameters
    ----------
    users : IdMap
        The core's users, those below it, then those that only have features.
    indptr : int64 (n_users + 1,)
    indices : int32 (m,)
        Items of the catalogue, ascending in each row.
    """

    users: IdMap
    indptr: Int64Array
    indices: Int32Array


def core_first(ids: IdMap, core: IntArray, described: IdMap | None) -> tuple[pa.Array, Int32Array]:
    """Ids of one side: the core's, those below it, and those known by their features alone.

    Parameters
    ----------
    ids : IdMap
        Of all users (or items) that were read.
    core : int (n_core,)
        Their indices in the core, in its order.
    described : IdMap or None
        Those that have features.

    Returns
    -------
    ids : pyarrow string array (n,)
    place : int32 (len(ids),)
        Where each of those that were read stands among them.
    """
    below = np.setdiff1d(np.arange(len(ids), dtype=np.int32), core)
    order = np.concatenate((core, below))
    place = np.empty(len(order), np.int32)
    place[order] = np.arange(len(order), dtype=np.int32)
    parts = [ids.ids.take(pa.array(order))]
    if described is not None:
        known = pc.is_in(described.ids, value_set=ids.ids)
        parts.append(described.ids.filter(pc.invert(known)))
    return pa.concat_arrays(parts), place


def all_likes(
    interactions: Interactions, users: IdMap, user_place: IntArray, item_place: IntArray
) -> Everyone:
    """The likes with users and items at their new places.

    Parameters
    ----------
    interactions : Interactions
        All that were read.
    users : IdMap
        In their new order; those behind the users of the interactions have no likes.
    user_place, item_place : int (n,)
        See `core_first`.
    """
    user, item = user_place[interactions.user], item_place[interactions.item]
    order = np.lexsort((item, user))
    indptr = np.zeros(len(users) + 1, np.int64)
    np.cumsum(np.bincount(user, minlength=len(users)), out=indptr[1:])
    return Everyone(users, indptr, item[order].astype(np.int32))
