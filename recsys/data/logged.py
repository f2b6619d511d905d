"""Logged likes: the entries of a likes log as one more source beside the files of interactions.

The log has the final say on a pair of user and item. What it says is no longer liked, or not of
interest, is no interaction whatever the files say, and what is not of interest is not recommended;
what is liked in both counts once, with the weight of the files and the later time. Users who were
forgotten are left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.base.arrays import AnyArray, BoolArray, Float32Array, Int64Array
from recsys.base.errors import InputError
from recsys.data.features import FeatureTable
from recsys.data.idmap import IdMap
from recsys.data.interactions import Interactions
from recsys.data.likes_log import Snapshot
from recsys.data.signals import Outside, Pairs

# Times of files beyond these are in milli-, micro- and nanoseconds: as seconds, they would be of
# the year 5138 and later.
_UNITS = ((1e11, 1e3), (1e14, 1e6), (1e17, 1e9))


@dataclass(frozen=True)
class Logged:
    """Interactions of the files and the log together.

    Parameters
    ----------
    interactions : Interactions
    names : pyarrow string array (n_items,) or None
        '' for an item that only the log knows.
    outside : Outside
    removed : dict of str to int
        Interactions of the files that are none any more, by reason.
    rejected : dict of str to int
        Entries of the log that are no interaction of their own, by reason.
    """

    interactions: Interactions
    names: pa.Array | None
    outside: Outside
    removed: dict[str, int]
    rejected: dict[str, int]


def with_log(
    interactions: Interactions,
    names: pa.Array | None,
    said: Snapshot,
    missing: Sequence[str] = (),
    outside: Outside = Outside(),
) -> Logged:
    """The interactions as the log has left them.

    Parameters
    ----------
    interactions : Interactions
        Of the files.
    names : pyarrow string array (n_items,) or None
        What their items are called.
    said : Snapshot
    missing : sequence of str
        Words that stand for no id.
    outside : Outside
        Of the files.

    Raises
    ------
    InputError
        If no interaction is left.
    """
    table = said.table()
    usable = _usable(table, missing)
    entries = table.filter(pa.array(usable))
    users, file_user, log_user = _united(interactions.users, entries.column("user"))
    items, file_item, log_item = _united(interactions.items, entries.column("item"))
    width = np.int64(len(items))
    of_files = file_user[interactions.user] * width + file_item[interactions.item]
    of_log = log_user * width + log_item
    state = np.asarray(entries.column("state").to_pylist(), dtype=object)
    liked, hidden = state == "liked", state == "hidden"
    forgotten = np.array(said.are_forgotten(interactions.users.ids.to_pylist()), bool)
    by_forgotten = forgotten[interactions.user]
    undone = np.isin(of_files, of_log[~liked]) & ~by_forgotten
    kept = ~(undone | by_forgotten)
    place = np.searchsorted(of_files, of_log) if len(of_files) else np.zeros(len(of_log), np.int64)
    both = liked & _at(of_files, place, of_log)
    new = liked & ~both
    weight = _weights(interactions, entries, new)
    timestamp = _times(interactions, entries, place, both, new)
    key = np.concatenate([of_files[kept], of_log[new]])
    if not len(key):
        raise InputError(
            "no interaction is left of the files after what the likes log says",
            "at least one",
            "check the file of the likes log",
        )
    order = np.argsort(key, kind="stable")
    mask = np.concatenate([kept, new[new]])

    def chosen(values: AnyArray | None) -> AnyArray | None:
        return None if values is None else values[mask][order]

    def placed(pairs: Pairs | None) -> Int64Array:
        if pairs is None:
            return np.empty(0, np.int64)
        left = ~forgotten[pairs[0]]
        return file_user[pairs[0][left]] * width + file_item[pairs[1][left]]

    earlier = placed(outside.earlier)
    earlier = earlier[~np.isin(earlier, of_log)]
    disliked = placed(outside.disliked)
    disliked = disliked[~np.isin(disliked, of_log[~hidden])]
    together, outside = _compact(
        key[order],
        (earlier, disliked, of_log[hidden]),
        (users, items),
        chosen(weight),
        chosen(timestamp),
    )
    removed = {
        "no longer liked, by the likes log": int(undone.sum()),
        "of a forgotten user": int(by_forgotten.sum()),
    }
    rejected = {
        "no id": int((~usable).sum()),
        "no longer liked": int((~liked & ~hidden).sum()),
        "not interested": int(hidden.sum()),
        "duplicate": int(both.sum()),
    }
    return Logged(
        together,
        _names(interactions.items, names, together.items),
        outside,
        {reason: count for reason, count in removed.items() if count},
        {reason: count for reason, count in rejected.items() if count},
    )


def without_forgotten(features: FeatureTable, said: Snapshot) -> FeatureTable:
    """Features of users without those who were forgotten."""
    forgotten = np.array(said.are_forgotten(features.owners.ids.to_pylist()), bool)
    if not forgotten.any():
        return features
    kept = ~forgotten
    place = np.cumsum(kept) - 1
    rows = kept[features.owner]
    return replace(
        features,
        owner=place[features.owner[rows]].astype(np.int32),
        feature=features.feature[rows],
        weight=features.weight[rows],
        owners=features.owners.select(np.flatnonzero(kept)),
    )


def _usable(table: pa.Table, missing: Sequence[str]) -> BoolArray:
    """Which entries have a user and an item."""
    found = np.ones(table.num_rows, bool)
    absent = pa.array(["", *missing], pa.string())
    for name in ("user", "item"):
        found &= ~np.asarray(
            pc.is_in(pc.utf8_trim_whitespace(table.column(name)), value_set=absent)
        )
    return found


def _united(ids: IdMap, more: pa.ChunkedArray) -> tuple[pa.Array, Int64Array, Int64Array]:
    """Sorted ids of both, and where those of each stand among them."""
    together = pc.unique(pa.chunked_array([ids.ids, *more.chunks], pa.string()))
    united = together.take(pc.sort_indices(together))
    places = [
        np.asarray(pc.index_in(part, value_set=united)).astype(np.int64) for part in (ids.ids, more)
    ]
    return united, places[0], places[1]


def _at(keys: Int64Array, place: Int64Array, wanted: Int64Array) -> BoolArray:
    """Whether the wanted key is at its place among sorted keys."""
    inside = place < len(keys)
    found = np.zeros(len(wanted), bool)
    found[inside] = keys[place[inside]] == wanted[inside]
    return found


def _weights(interactions: Interactions, entries: pa.Table, new: BoolArray) -> Float32Array | None:
    """Weights of the interactions and the new likes; None if all are one."""
    own = entries.column("weight").to_numpy()[new].astype(np.float32)
    if interactions.weight is None:
        if (own == 1).all():
            return None
        return np.concatenate([np.ones(len(interactions), np.float32), own])
    return np.concatenate([interactions.weight, own])


def _times(
    interactions: Interactions,
    entries: pa.Table,
    place: Int64Array,
    both: BoolArray,
    new: BoolArray,
) -> Int64Array | None:
    """Times of the interactions and the new likes, in the files' unit; None without."""
    if interactions.timestamp is None:
        return None
    times = interactions.timestamp.copy()
    largest = float(np.abs(times).max(initial=0))
    unit = max((factor for bound, factor in _UNITS if largest > bound), default=1.0)
    own = (entries.column("time").to_numpy() * unit).astype(np.int64)
    np.maximum.at(times, place[both], own[both])
    return np.concatenate([times, own[new]])


def _compact(
    key: Int64Array,
    outside: tuple[Int64Array, Int64Array, Int64Array],
    ids: tuple[pa.Array, pa.Array],
    weight: AnyArray | None,
    timestamp: AnyArray | None,
) -> tuple[Interactions, Outside]:
    """Interactions of sorted keys, and pairs that are none, with the ids that occur in them.

    The pairs are those of before, those disliked, and those that the log says are not of interest,
    where their users and items occur otherwise.
    """
    width = np.int64(len(ids[1]))
    earlier, disliked, hidden = outside
    occurring = [
        np.unique(part) for part in np.divmod(np.concatenate([key, earlier, disliked]), width)
    ]
    user, item = np.divmod(hidden, width)
    hidden = hidden[np.isin(user, occurring[0]) & np.isin(item, occurring[1])]
    disliked = np.union1d(disliked, hidden)

    def pairs(keys: Int64Array) -> Pairs:
        both = zip(occurring, np.divmod(keys, width), strict=True)
        user, item = (np.searchsorted(used, part).astype(np.int32) for used, part in both)
        return user, item

    user_ids, item_ids = (
        all_ids.take(pa.array(used)) for all_ids, used in zip(ids, occurring, strict=True)
    )
    interactions = Interactions(
        *pairs(key), weight, timestamp, IdMap(user_ids, "user"), IdMap(item_ids, "item")
    )
    return interactions, Outside(
        pairs(earlier) if len(earlier) else None, pairs(disliked) if len(disliked) else None
    )


def _names(before: IdMap, names: pa.Array | None, items: IdMap) -> pa.Array | None:
    if names is None:
        return None
    place = pc.index_in(items.ids, value_set=before.ids)
    return pc.fill_null(names.take(place), "")
