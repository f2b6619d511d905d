"""Interactions: read, validated, deduplicated, with ids mapped to int32 indices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import scipy.sparse as sp

from recsys.base.arrays import BoolArray, Float32Array, Int32Array, Int64Array
from recsys.base.durations import seconds_of
from recsys.base.errors import InputError
from recsys.data.accounts import remedies
from recsys.data.baskets import of_text, refuse_baskets
from recsys.data.column_names import by_position, find_columns, find_opinions
from recsys.data.columns import Sieve, ValueFormat, reasons, sorted_codes
from recsys.data.dialects import TextFormat
from recsys.data.footers import total_rows
from recsys.data.idmap import IdMap
from recsys.data.ids import missing, missing_words, occurring
from recsys.data.repeats import combine
from recsys.data.signals import InteractionRules, Outside, Signals
from recsys.data.tables import OpenTable, Source, TableRows, open_table, require_columns
from recsys.data.weights import damped, halved_with_age
from recsys.data.windows import units_in_a_second

HEADER_AGAIN, TOTAL, MALFORMED = "the header again", "a total", "wrong number of fields"


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

    def where(self, rows: BoolArray) -> Interactions:
        """Some of the interactions, bool (n,), of the same users and items."""
        return replace(
            self,
            user=self.user[rows],
            item=self.item[rows],
            weight=None if self.weight is None else self.weight[rows],
            timestamp=None if self.timestamp is None else self.timestamp[rows],
        )

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
class InteractionsRead:
    """What was read of a table of interactions, each of its rows accounted for.

    Parameters
    ----------
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


@dataclass(frozen=True)
class InteractionTable(InteractionsRead):
    """A table of interactions that is in memory.

    Parameters
    ----------
    interactions : Interactions
    outside : Outside
        Pairs that are no interactions, of which something is known.
    """

    interactions: Interactions = field(kw_only=True)
    outside: Outside = Outside()


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
    when = columns.timestamp or (None if rules.need_time else "")
    wanted = columns.given() | {"weight": columns.weight or "", "time": when}
    del wanted["timestamp"]
    if rules.need_time:
        required["time"] = "data.timestamp_column"
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
        a column looks like ratings and nobody says from which on they are likes, also one that is
        not among `columns` where the table names none, or names it vote, label or the like.
    """
    return read_opened(open_interactions(source, columns, text), columns, rules)


def open_interactions(source: Source, columns: InteractionColumns, text: TextFormat) -> OpenTable:
    """Open a table of interactions; see `read_interaction_table`."""
    return open_table(source, text, [name for name in columns.given().values() if name])


def read_opened(
    opened: OpenTable, columns: InteractionColumns, rules: InteractionRules
) -> InteractionTable:
    """Read a table of interactions that is open; see `read_interaction_table`."""
    present = find_interaction_columns(opened, columns, rules)
    unread = unread_opinions(opened, columns, present, rules)
    found = opened.read(present | unread, ("user", "item", "name"))
    notes = list(found.said_of_types(rules.values.one_type))
    found = _one_item_a_row(found, present["item"], opened.label, rules.item_separator, notes)
    sieve = Sieve(found.table.num_rows)
    _sift_headers(found.table, sieve, present, opened, notes)
    _sift_totals(found, sieve, opened.label, notes)
    sieve.rejected[MALFORMED] = found.malformed
    values = replace(rules.values, likely_decimal="." if found.delimiter == "," else None)
    set_aside = _sift_ids(found.table, sieve, values, opened.label, notes)
    signals = Signals(found.table, present, opened.label, values)
    for ours, own in unread.items():
        signals.question(ours, own, sieve)
    set_aside |= signals.sift(sieve, rules, notes)
    if not sieve.keep.any():
        raise nothing_usable(opened.label, found.rows, sieve.rejected, set_aside)
    used, likes = signals.used(sieve), sieve.keep
    table = found.table
    if not used.all():
        table, likes = table.filter(pa.array(used)), likes[used]
        signals.choose(used)
    user, users = sorted_codes(table.column("user"), "user")
    item, items = sorted_codes(table.column("item"), "item")
    key = user.astype(np.int64) * len(items) + item
    outside = signals.resolve(key, len(items), likes, set_aside)
    if not likes.all():
        key = key[likes]
        signals.choose(likes)
    pairs = combine(key, len(items), signals.weight, signals.timestamp, rules.repeats)
    interactions = Interactions(*pairs, users, items)
    interactions, told = _weighed(interactions, rules, opened.label)
    return InteractionTable(
        _names(table, item, len(items), values),
        found.rows,
        {reason: count for reason, count in sieve.rejected.items() if count},
        set_aside,
        int(likes.sum()) - len(interactions),
        (*notes, *told),
        found.read_as,
        outside,
        interactions=interactions,
    )


def nothing_usable(
    label: str, rows: int, rejected: Mapping[str, int], set_aside: Mapping[str, int]
) -> InputError:
    """The error of a table of which no row is an interaction."""
    return InputError(
        f"{label} has {rows:,} rows and none is usable ({reasons({**rejected, **set_aside})})",
        "at least one row with a user and an item",
        remedies(rejected) or "check the columns and the delimiter",
    )


def unread_opinions(
    table: OpenTable,
    columns: InteractionColumns,
    present: Mapping[str, str],
    rules: InteractionRules,
) -> dict[str, str]:
    """Columns that nobody named and that may tell likes from dislikes: the table's names, by ours.

    None where something says what a row counts: a rating, a kind of event or a weight, or that
    there is no rating.
    """
    if columns.rating is not None or rules.liked_from is not None:
        return {}
    if {"rating", "event", "weight"} & set(present):
        return {}
    free = [name for name in table.names if name not in present.values()]
    return {f"opinion {place}": name for place, name in enumerate(find_opinions(free))}


def _weighed(
    interactions: Interactions, rules: InteractionRules, label: str
) -> tuple[Interactions, tuple[str, ...]]:
    """The interactions with the weights that they are trained with, and what was done to them."""
    weight, notes = damped(interactions.weight, rules.damping, label)
    half_life = seconds_of(rules.half_life or "")
    if half_life is not None and len(interactions):
        times = interactions.timestamp
        assert times is not None
        half_life *= units_in_a_second(times, f"the time of {label}")
        weight = halved_with_age(weight, (times.max() - times).astype(np.float64), half_life)
    return replace(interactions, weight=weight), notes


def _one_item_a_row(
    found: TableRows, own: str, label: str, separator: str | None, notes: list[str]
) -> TableRows:
    """The rows, where each cell with several items has become as many."""
    if separator is None:
        refuse_baskets(found.table.column("item"), f"the column {own} of {label}")
    if not separator:
        return found
    table = of_text(found.table, separator)
    notes.append(
        f"the {found.table.num_rows:,} rows of {label} are read as {table.num_rows:,}, one for "
        f"each item between {separator!r}"
    )
    return replace(found, table=table, rows=table.num_rows + found.malformed)


def _sift_headers(
    table: pa.Table,
    sieve: Sieve,
    present: Mapping[str, str],
    opened: OpenTable,
    notes: list[str],
) -> None:
    """Leave out headers between the rows, as files have that were joined to one."""
    same = header_rows(table, present, opened)
    if same is not None and (number := int(same.sum())):
        sieve.require(HEADER_AGAIN, ~same)
        notes.append(headers_noted(opened.label, number))


def header_rows(table: pa.Table, present: Mapping[str, str], opened: OpenTable) -> BoolArray | None:
    """Which rows are the header again: bool (n_rows,); None if none can be.

    Parameters
    ----------
    table : pyarrow.Table
        With the columns ``user`` and ``item``, dictionary-encoded.
    present : mapping of str to str
        The table's own names, by ours.
    opened : OpenTable

    Raises
    ------
    InputError
        If one of them has the columns in another order.
    """
    names = [name for name in opened.names if name and not name.isdigit()]
    own = {"user": present["user"], "item": present["item"]}
    if not set(own.values()) <= set(names):
        return None
    if not all(missing_words(table.column(kind), names) for kind in own):
        return None
    named = np.logical_and.reduce([occurring(table.column(kind), names) for kind in own])
    same = np.logical_and.reduce(
        [occurring(table.column(kind), [name]) for kind, name in own.items()]
    )
    if (named & ~same).any():
        row = int(np.flatnonzero(named & ~same)[0])
        fields = ", ".join(repr(table.column(kind)[row].as_py()) for kind in own)
        raise InputError(
            f"{opened.label} has a second header with another order of columns: {fields} in the "
            f"columns {', '.join(own.values())}",
            "one header, or the same one again",
            "keep the files apart that were joined, in a folder",
        )
    return np.asarray(same)


def headers_noted(label: str, number: int) -> str:
    """The note of so many headers between the rows."""
    return f"{label} has its header again below, {number:,} of its rows, which are left out"


def _sift_totals(found: TableRows, sieve: Sieve, label: str, notes: list[str]) -> None:
    """Leave out a row that says how many rows there are."""
    totals = total_rows({kind: found.table.column(kind) for kind in ("user", "item")}, found.rows)
    if totals.any():
        row = int(np.flatnonzero(totals)[0])
        sieve.require(TOTAL, ~totals)
        notes.append(total_noted(label, found.table.slice(row, 1)))


def total_noted(label: str, row: pa.Table) -> str:
    """The note of a row, with its user and item, that is a total."""
    fields = ", ".join(repr(row.column(kind)[0].as_py()) for kind in ("user", "item"))
    return f"{label} has a row with the number of the others ({fields}), left out"


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
            notes.append(words_noted(label, kind, words, number))
    return set_aside


def words_noted(label: str, kind: str, words: Sequence[str], number: int) -> str:
    """The note of so many users or items whose id is a word for a missing value."""
    return (
        f"{kind}s called {', '.join(map(repr, words))} in {label} are taken for missing "
        f"values, and {number:,} rows left out; set data.missing = [] if they are ids"
    )


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
        pair, count = np.unique(
            item[rows] * np.int64(len(encoded.dictionary)) + codes[rows], return_counts=True
        )
        choose_commonest(chosen, pair, count, encoded.dictionary)
    return names_of(chosen, encoded.dictionary)


def choose_commonest(
    chosen: Int64Array, pair: Int64Array, count: Int64Array, dictionary: pa.Array
) -> None:
    """Give items their most frequent names, of equals the first in the alphabet.

    Parameters
    ----------
    chosen : int64 (n_items,)
        The place of each item's name in `dictionary`; changed here.
    pair, count : int64 (n,)
        item * len(dictionary) + name, each once, and how often it is.
    dictionary : pyarrow string array
        Distinct names.
    """
    rank = np.argsort(pc.sort_indices(dictionary).to_numpy())
    owner, name = np.divmod(pair, len(dictionary))
    # The last one to be assigned stays.
    by = np.lexsort((-rank[name], count))
    chosen[owner[by]] = name[by]


def names_of(chosen: Int64Array, dictionary: pa.Array) -> pa.Array:
    """Names by their place in a dictionary; '' for the place behind its end."""
    texts = pa.concat_arrays([dictionary.cast(pa.string()), pa.array([""], pa.string())])
    return texts.take(pa.array(chosen))
