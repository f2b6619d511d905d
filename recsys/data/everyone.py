"""Everyone: the likes of all users and items that were read, those of the core first."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.base.arrays import Int32Array, Int64Array, IntArray
from recsys.data.idmap import IdMap
from recsys.data.interactions import Interactions
from recsys.data.signals import Outside, Pairs


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
    hidden_indptr, hidden_indices : int64 (n_users + 1,) and int32 (h,), or None
        Items that are never recommended to each user: disliked, or liked before the window.
    """

    users: IdMap
    indptr: Int64Array
    indices: Int32Array
    hidden_indptr: Int64Array | None = None
    hidden_indices: Int32Array | None = None


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
    interactions: Interactions,
    users: IdMap,
    user_place: IntArray,
    item_place: IntArray,
    outside: Outside = Outside(),
    trained: tuple[int, int] = (0, 0),
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
    outside : Outside
        What a trained user liked before the window of the trained items is not counted among the
        likes, as nothing was learned of it; the item is only not recommended again.
    trained : (int, int)
        How many users and items are trained, which come first.
    """
    user, item = user_place[interactions.user], item_place[interactions.item]
    hidden = [_placed(pairs, user_place, item_place) for pairs in (outside.disliked,) if pairs]
    if outside.earlier is not None:
        old_user, old_item = _placed(outside.earlier, user_place, item_place)
        untrained = (old_user >= trained[0]) | (old_item >= trained[1])
        user = np.concatenate([user, old_user[untrained]])
        item = np.concatenate([item, old_item[untrained]])
        hidden.append((old_user[~untrained], old_item[~untrained]))
    likes = compressed_rows(user, item, len(users))
    if not sum(len(owners) for owners, _ in hidden):
        return Everyone(users, *likes)
    owners, items = (np.concatenate(part) for part in zip(*hidden, strict=True))
    return Everyone(users, *likes, *compressed_rows(owners, items, len(users)))


def _placed(pairs: Pairs, user_place: IntArray, item_place: IntArray) -> tuple[IntArray, IntArray]:
    return user_place[pairs[0]], item_place[pairs[1]]


def compressed_rows(user: IntArray, item: IntArray, n_users: int) -> tuple[Int64Array, Int32Array]:
    """Pairs as compressed rows, each pair once."""
    order = np.lexsort((item, user))
    user, item = user[order], item[order]
    first = np.ones(len(user), dtype=bool)
    first[1:] = (user[1:] != user[:-1]) | (item[1:] != item[:-1])
    indptr = np.zeros(n_users + 1, np.int64)
    np.cumsum(np.bincount(user[first], minlength=n_users), out=indptr[1:])
    return indptr, item[first].astype(np.int32)
