"""Interactions: read, validated, deduplicated, with ids mapped to int32 indices."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Literal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from recsys.base.arrays import BoolArray, Float32Array, Float64Array, Int32Array, Int64Array
from recsys.base.errors import InputError
from recsys.data.column_names import by_position, find_columns
from recsys.data.columns import (
    Sieve,
    ValueFormat,
    numbers,
    positive,
    reasons,
    seconds,
    sorted_codes,
)
from recsys.data.dialects import TextFormat
from recsys.data.idmap import IdMap
from recsys.data.ids import missing, missing_words
from recsys.data.tables import OpenTable, Source, open_table, require_columns
from recsys.data.weights import Damping, damped

Repeats = Literal["sum", "last", "max", "count"]
# More distinct values than a scale of ratings has.
_MOST_RATINGS = 21
_MOST_KINDS = 50


@dataclass(frozen=True)
class InteractionColumns:
    """Names of the columns in the source.

    Parameters
    ----------
    user, item : str or None
        None: found by names such as user_id, userId, customer; item_id, movieId, product.
    name : str or None
        The item's name; None: found by its name; '' if there is no such column.
    weight, timestamp : str or None
        None if there is no such column.
    rating : str or None
        Whose values `InteractionRules.liked_from` is compared with; None: found by names such as
        rating and stars; '' if there is no such column.
    event : str or None
        With the kind of each row, see `InteractionRules.event_weights`; None: found, as above.
    """

    user: str | None = None
    item: str | None = None
    name: str | None = None
    weight: str | None = None
    timestamp: str | None = None
    rating: str | None = None
    event: str | None = None

    def given(self) -> dict[str, str | None]:
        """The names as they were given, by ours."""
        return asdict(self)


@dataclass(frozen=True)
class InteractionRules:
    """Which rows are interactions, and what they weigh.

    Parameters
    ----------
    values : ValueFormat
    repeats : {"sum", "last", "max", "count"}
        What a pair weighs that occurs more than once: its weights added up, the latest one, the
        largest one, or the number of rows. Its time is always the latest.
    liked_from : float or None
        The lowest rating that is an interaction.
    event_weights : mapping of str to float, or None
        What a row of each kind weighs; 0 leaves it out.
    damping : {"auto", "as_given", "log1p", "none"}
        What becomes of the weights of distinct pairs, see `recsys.data.weights.damped`.
    """

    values: ValueFormat = ValueFormat()
    repeats: Repeats = "sum"
    liked_from: float | None = None
    event_weights: Mapping[str, float] | None = None
    damping: Damping = "as_given"


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


@dataclass(frozen=True)
class InteractionTable:
    """What was read of a table of interactions, each of its rows accounted for.

    Parameters
    ----------
    interactions : Interactions
    names : pyarrow string array (n_items,) or None
        What each item is called most often; of equals, the first in the alphabet.
    rows : int
        Rows of the source: interactions, and those of the three following together.
    rejected : mapping of str to int
        Rows that could not be used, by reason.
    set_aside : mapping of str to int
        Rows left out as settings say, by reason.
    repeated : int
        Rows that say again what another does.
    notes : tuple of str
        What a person should know.
    read_as : tuple of str
        What was found of how the source is written.
    """

    interactions: Interactions
    names: pa.Array | None
    rows: int
    rejected: Mapping[str, int]
    set_aside: Mapping[str, int]
    repeated: int
    notes: tuple[str, ...] = ()
    read_as: tuple[str, ...] = ()

    def left_out(self) -> dict[str, int]:
        """All rows that are no interaction of their own, by reason."""
        every = {**self.rejected, **self.set_aside, "duplicate": self.repeated}
        return {reason: count for reason, count in every.items() if count}


def read_interactions(
    source: Source,
    columns: InteractionColumns = InteractionColumns(),
    text: TextFormat = TextFormat(),
    rules: InteractionRules = InteractionRules(),
) -> tuple[Interactions, pa.Array | None, dict[str, int]]:
    """Read a table of interactions; see `read_interaction_table`, which says more of it.

    Returns
    -------
    interactions : Interactions
    names : pyarrow string array (n_items,) or None
    left_out : dict of str to int
        Rows left out, by reason.
    """
    found = read_interaction_table(source, columns, text, rules)
    return found.interactions, found.names, found.left_out()


def find_interaction_columns(
    table: OpenTable, columns: InteractionColumns, rules: InteractionRules = InteractionRules()
) -> dict[str, str]:
    """The table's name of each column that is read, by ours.

    Parameters
    ----------
    table : OpenTable
    columns : InteractionColumns
    rules : InteractionRules

    Raises
    ------
    InputError
        If there is no column of users or items, or one that was given is not there.
    """
    required = {"user": "data.user_column", "item": "data.item_column"}
    if rules.liked_from is not None:
        required["rating"] = "data.rating_column"
    if rules.event_weights is not None:
        required["event"] = "data.event_column"
    # A weight and a time are read only where a setting says so.
    wanted = columns.given() | {"weight": columns.weight or "", "time": columns.timestamp or ""}
    del wanted["timestamp"]
    found = find_columns(table.names, wanted, required, table.label)
    if found["weight"] is not None and columns.rating is None and rules.liked_from is None:
        # What is a weight is not asked about.
        found["rating"] = None
    found["timestamp"] = found.pop("time")
    present = {ours: by_position(theirs, table.names) for ours, theirs in found.items() if theirs}
    require_columns(table.names, present, table.label)
    return present


def read_interaction_table(
    source: Source,
    columns: InteractionColumns = InteractionColumns(),
    text: TextFormat = TextFormat(),
    rules: InteractionRules = InteractionRules(),
) -> InteractionTable:
    """Read a table of interactions.

    Ids are compared as text. The result does not depend on the order of the rows: indices follow
    the sorted ids.

    Parameters
    ----------
    source : path, URL or object
        See `recsys.data.tables.open_table`.
    columns : InteractionColumns
    text : TextFormat
    rules : InteractionRules

    Raises
    ------
    InputError
        As `open_table`; when no row is left; when a column can be read in more than one way; when
        a column looks like ratings and nobody says from which on they are likes.
    """
    wanted = [name for name in columns.given().values() if name]
    opened = open_table(source, text, wanted)
    present = find_interaction_columns(opened, columns, rules)
    found = opened.read(present, ("user", "item", "name"))
    notes = list(found.notes)
    sieve = Sieve(found.table.num_rows)
    sieve.rejected["wrong number of fields"] = found.malformed
    values = replace(rules.values, likely_decimal="." if found.delimiter == "," else None)
    set_aside = _sift_ids(found.table, sieve, values, opened.label, notes)
    kept = _Measured(found.table, present, opened.label, values)
    set_aside |= kept.sift(sieve, rules, notes)
    if not sieve.keep.any():
        raise InputError(
            f"{opened.label} has {found.rows:,} rows and none is usable "
            f"({reasons(sieve.rejected | set_aside)})",
            "at least one row with a user and an item",
            "check the columns and the delimiter",
        )
    keep = None if sieve.keep.all() else sieve.keep
    table = found.table if keep is None else found.table.filter(pa.array(keep))
    user, users = sorted_codes(table.column("user"), "user")
    item, items = sorted_codes(table.column("item"), "item")
    if keep is not None:
        kept.choose(keep)
    interactions = _distinct(user, item, kept.weight, kept.timestamp, users, items, rules.repeats)
    weight, told = damped(interactions.weight, rules.damping, opened.label)
    interactions, notes = replace(interactions, weight=weight), [*notes, *told]
    return InteractionTable(
        interactions,
        _names(table, item, len(items), values),
        found.rows,
        {reason: count for reason, count in sieve.rejected.items() if count},
        set_aside,
        len(user) - len(interactions),
        tuple(notes),
        found.read_as,
    )


def _sift_ids(
    table: pa.Table, sieve: Sieve, values: ValueFormat, label: str, notes: list[str]
) -> dict[str, int]:
    """Leave out rows without an id; returns those left out for a word that stands for none."""
    set_aside: dict[str, int] = {}
    for kind in ("user", "item"):
        column = table.column(kind)
        sieve.require(f"no {kind}", ~missing(column, ()))
        words = missing_words(column, values.missing)
        if not words:
            continue
        named = sieve.keep & missing(column, values.missing)
        sieve.keep &= ~named
        if number := int(named.sum()):
            set_aside[f"{kind} called {', '.join(words)}"] = number
            notes.append(
                f"{kind}s called {', '.join(map(repr, words))} in {label} are taken for missing "
                f"values, and {number:,} rows left out; set data.missing = [] if they are ids"
            )
    return set_aside


class _Measured:
    """Weights and times of rows, as float64 and int64 (n_rows,)."""

    def __init__(
        self, table: pa.Table, names: Mapping[str, str], label: str, values: ValueFormat
    ) -> None:
        self._table, self._names, self._label, self._values = table, names, label, values
        self.weight: Float64Array | None = None
        self.timestamp: Int64Array | None = None

    def sift(self, sieve: Sieve, rules: InteractionRules, notes: list[str]) -> dict[str, int]:
        """Leave out rows that are no interactions; returns those that settings leave out."""
        set_aside: dict[str, int] = {}
        if "rating" in self._names:
            self._by_rating(sieve, rules.liked_from, set_aside)
        if "event" in self._names:
            self._by_event(sieve, rules.event_weights, set_aside, notes)
        if "weight" in self._names:
            weight = numbers(self._column("weight"), self._values, self._named("weight"))
            sieve.require("weight not a positive number", positive(weight))
            self.weight = weight if self.weight is None else weight * self.weight
        if "timestamp" in self._names:
            moments = seconds(self._column("timestamp"), self._values, self._named("timestamp"))
            sieve.require("unreadable timestamp", np.isfinite(moments))
            with np.errstate(invalid="ignore"):
                self.timestamp = moments.astype(np.int64)
        return {reason: count for reason, count in set_aside.items() if count}

    def choose(self, keep: BoolArray) -> None:
        """Keep some of the rows."""
        self.weight = None if self.weight is None else self.weight[keep]
        self.timestamp = None if self.timestamp is None else self.timestamp[keep]

    def _column(self, name: str) -> pa.ChunkedArray:
        return self._table.column(name)

    def _named(self, name: str) -> str:
        return f"the column {self._names[name]} of {self._label}"

    def _by_rating(self, sieve: Sieve, liked_from: float | None, set_aside: dict[str, int]) -> None:
        rating = numbers(self._column("rating"), self._values, self._named("rating"))
        if liked_from is None:
            self._question_ratings(rating[sieve.keep])
            return
        sieve.require("no rating", np.isfinite(rating))
        low = sieve.keep & (rating < liked_from)
        set_aside[f"rating below {liked_from:g}"] = int(low.sum())
        sieve.keep &= ~low

    def _question_ratings(self, rating: Float64Array) -> None:
        """A stop where a column looks like ratings, of which the low ones are no likes."""
        known = rating[np.isfinite(rating)]
        scale = np.unique(known)
        if len(known) < 0.5 * len(rating) or not 2 <= len(scale) <= _MOST_RATINGS:
            return
        if scale[0] < -10 or scale[-1] > 100:
            return
        proposed = scale[np.searchsorted(scale, scale[0] + 0.6 * (scale[-1] - scale[0]))]
        liked = int((known >= proposed).sum())
        raise InputError(
            f"{self._named('rating')} looks like ratings from {scale[0]:g} to {scale[-1]:g}, of "
            "which low ones are no likes",
            "the lowest rating that is a like",
            f"set data.liked_from = {proposed:g} ({liked:,} of {len(known):,} rows are), or "
            'data.rating_column = "" if every row is a like',
        )

    def _by_event(
        self,
        sieve: Sieve,
        weights: Mapping[str, float] | None,
        set_aside: dict[str, int],
        notes: list[str],
    ) -> None:
        encoded = pc.fill_null(self._column("event").cast(pa.string()), "").dictionary_encode()
        encoded = encoded.unify_dictionaries().combine_chunks()
        if isinstance(encoded, pa.ChunkedArray):
            encoded = encoded.chunk(0)
        kinds = encoded.dictionary.to_pylist()
        codes = encoded.indices.to_numpy(zero_copy_only=False)
        counts = np.bincount(codes[sieve.keep], minlength=len(kinds))
        if weights is None:
            if 1 < len(kinds) <= _MOST_KINDS:
                most = ", ".join(
                    f"{kinds[place]!r} {counts[place]:,}" for place in np.argsort(-counts)[:5]
                )
                notes.append(
                    f"{self._named('event')} has rows of several kinds ({most}), which all count "
                    "alike; set data.event_weights to what each weighs, 0 to leave it out"
                )
            return
        unknown = [kind for kind, n in zip(kinds, counts, strict=True) if n and kind not in weights]
        if unknown:
            raise InputError(
                f"{self._named('event')} has rows of the kind {', '.join(map(repr, unknown[:5]))}",
                f"{', '.join(map(repr, weights))}, as in data.event_weights",
                "add what they weigh, 0 to leave them out",
            )
        each = np.array([weights.get(kind, 0.0) for kind in kinds])[codes]
        for kind, n in zip(kinds, counts, strict=True):
            if n and not weights[kind]:
                set_aside[f"event {kind}"] = int(n)
        sieve.keep &= each > 0
        self.weight = each


def _names(table: pa.Table, item: Int32Array, n_items: int, values: ValueFormat) -> pa.Array | None:
    """What each item is called most often: string array (n_items,), '' where it has no name."""
    if "name" not in table.column_names:
        return None
    column = table.column("name")
    encoded = column.combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0)
    codes = np.asarray(pc.fill_null(encoded.indices, len(encoded.dictionary))).astype(np.int64)
    without = np.append(
        np.asarray(pc.is_in(encoded.dictionary, pa.array(["", *values.missing], pa.string()))), True
    )
    named = np.flatnonzero(~without[codes])
    chosen = np.full(n_items, len(encoded.dictionary), dtype=np.int64)
    chosen[item[named]] = codes[named]
    # Most items have one name only.
    several = np.zeros(n_items, dtype=bool)
    several[item[named[codes[named] != chosen[item[named]]]]] = True
    rows = named[several[item[named]]]
    if len(rows):
        order = np.append(pc.sort_indices(encoded.dictionary).to_numpy(), len(encoded.dictionary))
        rank = np.argsort(order)
        pair, count = np.unique(
            item[rows] * np.int64(len(order)) + rank[codes[rows]], return_counts=True
        )
        owner, place = np.divmod(pair, len(order))
        # The last one to be assigned stays: the most frequent, the first in the alphabet.
        by = np.lexsort((-place, count))
        chosen[owner[by]] = order[place[by]]
    texts = pa.concat_arrays([encoded.dictionary.cast(pa.string()), pa.array([""], pa.string())])
    return texts.take(pa.array(chosen))


def _distinct(
    user: Int32Array,
    item: Int32Array,
    weight: Float64Array | None,
    timestamp: Int64Array | None,
    users: IdMap,
    items: IdMap,
    repeats: Repeats,
) -> Interactions:
    """Each pair once, whatever the order of the rows."""
    key = user.astype(np.int64) * len(items) + item
    if weight is None and timestamp is None and repeats != "count":
        # Sorting values alone is several times faster than `np.unique` or sorting with positions.
        key.sort()
        key = key[np.flatnonzero(np.diff(key, prepend=-1))]
        user, item = (part.astype(np.int32) for part in np.divmod(key, len(items)))
        return Interactions(user, item, None, None, users, items)
    if repeats == "last" and weight is not None and timestamp is None:
        raise InputError(
            'data.repeats is "last", and the interactions have no timestamp',
            "one, to know which weight is the last",
            "name the column in data.timestamp_column",
        )
    # Sorted by weight as well, for sums of floating-point numbers depend on their order.
    by_time = repeats == "last" and timestamp is not None
    order = np.lexsort(
        [part for part in (weight, timestamp if by_time else None, key) if part is not None]
    )
    key = key[order]
    first = np.flatnonzero(np.diff(key, prepend=-1))
    if timestamp is not None:
        timestamp = np.maximum.reduceat(timestamp[order], first)
    if repeats == "count":
        weight = np.diff(np.append(first, len(key))).astype(np.float64)
    elif weight is not None:
        weight = weight[order]
        if repeats == "sum":
            weight = np.add.reduceat(weight, first)
        else:
            # Of the largest, and of the latest, it is the last one of each pair.
            weight = weight[np.append(first[1:], len(weight)) - 1]
    user, item = (part.astype(np.int32) for part in np.divmod(key[first], len(items)))
    single = None if weight is None else _as_float32(weight)
    return Interactions(user, item, single, timestamp, users, items)


def _as_float32(weight: Float64Array) -> Float32Array:
    return np.minimum(weight, np.finfo(np.float32).max).astype(np.float32)
