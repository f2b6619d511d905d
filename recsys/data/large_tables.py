"""Large tables: interactions that memory does not hold, read in parts and put in order on disk.

Ids are kept in memory, the rows are not: each is a few numbers on disk until all ids are known.
Pairs of user and item, as one number each, are then divided among files by ranges of users, and
each file is sorted for itself. What comes of it is what `read_interaction_table` returns.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.base.arrays import AnyArray, BoolArray, Float64Array, Int32Array, Int64Array
from recsys.base.events import Note, emit
from recsys.data.baskets import refuse_baskets
from recsys.data.columns import Sieve, ValueFormat, sorted_ranks
from recsys.data.footers import NAMES, total_rows
from recsys.data.growing_ids import GrowingIds
from recsys.data.idmap import IdMap
from recsys.data.ids import missing, missing_words, occurring
from recsys.data.interactions import (
    HEADER_AGAIN,
    MALFORMED,
    TOTAL,
    InteractionColumns,
    InteractionsRead,
    choose_commonest,
    find_interaction_columns,
    header_rows,
    headers_noted,
    names_of,
    nothing_usable,
    total_noted,
    unread_opinions,
    words_noted,
)
from recsys.data.large_files import InteractionsFile
from recsys.data.memory_bound import rows_of_a_part
from recsys.data.repeats import combine
from recsys.data.signals import UNREADABLE_TIME, InteractionRules, Signals
from recsys.data.spill import Buckets
from recsys.data.spilled_rows import IDS, SIDES, SpilledRows
from recsys.data.tables import InParts, OpenTable
from recsys.data.text import NotPlainError

# In the order of `read_interaction_table`.
_REASONS = (HEADER_AGAIN, TOTAL, MALFORMED, "no user", "no item", "no rating", UNREADABLE_TIME)
_VALUES = ("rating", "timestamp")
# Takes sorted interactions, a part at a time: users, items, and times if there are any.
Take = Callable[..., None]


@dataclass(frozen=True)
class LargeRead(InteractionsRead):
    """What was read in parts of a table of interactions, which were handed on sorted.

    Parameters
    ----------
    users, items : IdMap
    interactions : int
        Distinct pairs.
    """

    users: IdMap = field(kw_only=True)
    items: IdMap = field(kw_only=True)
    interactions: int = field(kw_only=True)


def read_in_parts(
    opened: OpenTable,
    columns: InteractionColumns,
    rules: InteractionRules,
    memory: int | None,
    folder: Path,
) -> LargeRead | None:
    """Read a table of interactions that exceeds the memory, into a folder's interactions.parquet.

    Parameters
    ----------
    opened, columns, rules
        See `recsys.data.interactions.read_opened`.
    memory : int or None
        See `recsys.data.memory_bound.rows_of_a_part`.
    folder : Path
        While the table is read, 16 bytes a row are in it besides, up to 44 with names, ratings
        and times.

    Returns
    -------
    LargeRead or None
        None where the table is not that large, or where it, or what is asked of it, needs all
        rows at once, of which a note tells: weights, kinds of events, dislikes and windows of time;
        times and ratings but for those that Parquet has as such; files other than Parquet and plain
        text; cells with several items.

    Raises
    ------
    InputError
        As `read_opened` does.
    """
    if not hasattr(opened, "parts"):
        return None
    in_parts = cast("InParts", opened)
    about = in_parts.rows_about()
    rows = rows_of_a_part(about, memory)
    if rows is None:
        return None
    present = find_interaction_columns(opened, columns, rules)
    if not _needs_all(present, rules) and not unread_opinions(opened, columns, present, rules):
        with TemporaryDirectory(dir=folder) as scratch, suppress(NotPlainError):
            table = SpilledRows.of(in_parts, present, rules.values, Path(scratch), rows)
            sifted = _Sifted(table, opened, present, rules)
            timed = "timestamp" in present
            with InteractionsFile(folder / "interactions.parquet", timed) as file:
                return sifted.read(Path(scratch), rows, file.append)
    emit(
        Note(
            f"{opened.label} has about {about:,} rows, which may take more than storage.memory, "
            "and is read at once: in parts are read users, items and names of plain text and "
            "Parquet, and ratings and times that Parquet has as numbers or dates"
        )
    )
    return None


def _needs_all(present: Mapping[str, str], rules: InteractionRules) -> bool:
    """Whether what a row counts is found by all of them, or by those of its pair."""
    return bool(
        not set(present) <= {*IDS, *_VALUES}
        or ("rating" in present and rules.liked_from is None)
        or rules.disliked_to is not None
        or rules.need_time
        or rules.repeats == "count"
        or rules.item_separator
    )


@dataclass
class _Sifted:
    """What becomes of the rows of a table, as `read_interaction_table` decides it."""

    table: SpilledRows
    opened: OpenTable
    present: Mapping[str, str]
    rules: InteractionRules
    notes: list[str] = field(default_factory=list)
    rejected: dict[str, int] = field(default_factory=dict)
    set_aside: dict[str, int] = field(default_factory=dict)

    def read(self, scratch: Path, rows: int, take: Take) -> LargeRead:
        """Sift the rows, and hand on the pairs of those that are left."""
        told, label = self.table.told, self.opened.label
        refuse_baskets(
            self.table.ids["item"].each(), f"the column {self.present['item']} of {label}"
        )
        verdicts = _Verdicts(self, rows)
        counts = {name: np.zeros(len(self.table.ids[name].values), np.int64) for name in SIDES}
        named = _Names(self.table.ids, self.rules.values)
        for part, keep in verdicts.parts():
            kept = {name: column[keep] for name, column in part.items()}
            for name in SIDES:
                counts[name] += np.bincount(kept[name], minlength=len(counts[name]))
            named.count(kept)
        likes = int(counts["user"].sum())
        if not likes:
            raise nothing_usable(label, told.counted.rows, self.rejected, self.set_aside)
        ranks, ids = {}, {}
        for name in SIDES:
            ranks[name], found = sorted_ranks(self.table.ids[name].values, counts[name] > 0)
            ids[name] = IdMap(found, name)
        names = named.chosen(ranks["item"], len(ids["item"]))
        by_user = np.zeros(len(ids["user"]), np.int64)
        by_user[ranks["user"][counts["user"] > 0]] = counts["user"][counts["user"] > 0]
        pairs = self._sorted(verdicts, ranks, by_user, len(ids["item"]), scratch, rows, take)
        return LargeRead(
            names,
            told.counted.rows,
            {reason: count for reason, count in self.rejected.items() if count},
            self.set_aside,
            likes - pairs,
            tuple(self.notes),
            told.read_as,
            users=ids["user"],
            items=ids["item"],
            interactions=pairs,
        )

    def _sorted(
        self,
        verdicts: _Verdicts,
        ranks: Mapping[str, Int32Array],
        by_user: Int64Array,
        n_items: int,
        scratch: Path,
        rows: int,
        take: Take,
    ) -> int:
        """Hand on the distinct pairs, sorted; returns how many they are."""
        folder = scratch / "buckets"
        folder.mkdir()
        buckets = Buckets(folder, by_user, rows)
        for part, keep in verdicts.parts():
            user, item = (ranks[name][part[name][keep]] for name in SIDES)
            times = [part["timestamp"][keep].astype(np.int64)] if "timestamp" in part else []
            buckets.append(user, user.astype(np.int64) * n_items + item, *times)
        self.table.spill.remove()
        number = 0
        for key, *times in buckets.take():
            when = times[0] if times else None
            user, item, _, when = combine(key, n_items, None, when, self.rules.repeats)
            number += len(user)
            take(*(column for column in (user, item, when) if column is not None))
        folder.rmdir()
        return number


class _Verdicts:
    """Which rows are kept; all rows were looked at once, and counted, when it is made."""

    def __init__(self, sifted: _Sifted, rows: int) -> None:
        self._sifted, self._table, self._rows = sifted, sifted.table, rows
        values = sifted.rules.values
        # By the number of an id; one more, for null.
        columns = {name: self._table.ids[name].each() for name in SIDES}
        self._empty = {name: np.append(missing(c, ()), True) for name, c in columns.items()}
        self._words = {name: missing_words(c, values.missing) for name, c in columns.items()}
        self._called = {
            name: np.append(missing(columns[name], values.missing), True)
            for name, words in self._words.items()
            if words
        }
        self._total = self._find_total(columns)
        self._headers = self._has_headers(columns)
        self._counted = False

    def parts(self) -> Iterator[tuple[dict[str, AnyArray], BoolArray]]:
        """The rows, some at a time, and which of these are kept; the first time, counts them."""
        start, rejected, aside = 0, dict.fromkeys(_REASONS, 0), dict.fromkeys(SIDES, 0)
        for part in self._table.parts(self._rows):
            sieve = Sieve(len(part["user"]))
            self._require(sieve, part, start, aside)
            start += len(part["user"])
            for reason, count in sieve.rejected.items():
                rejected[reason] += count
            yield part, sieve.keep
        if not self._counted:
            self._counted = True
            self._tell(rejected, aside)

    def _require(
        self, sieve: Sieve, part: Mapping[str, AnyArray], start: int, aside: dict[str, int]
    ) -> None:
        """Sift the rows of a part in the order of `read_interaction_table`."""
        if self._headers:
            table = self._table.table(part)
            same = header_rows(table, self._sifted.present, self._sifted.opened)
            if same is not None:
                sieve.require(HEADER_AGAIN, ~same)
        if self._total is not None and start <= self._total < start + len(sieve.keep):
            sieve.require(TOTAL, np.arange(start, start + len(sieve.keep)) != self._total)
        for name in SIDES:
            sieve.require(f"no {name}", ~self._empty[name][part[name]])
            if name in self._called:
                called = sieve.keep & self._called[name][part[name]]
                sieve.keep &= ~called
                aside[name] += int(called.sum())
        if "rating" in part:
            low = self._sift_ratings(sieve, part["rating"])
            for reason, number in low.items():
                aside[reason] = aside.get(reason, 0) + number
        if "timestamp" in part:
            sieve.require(UNREADABLE_TIME, np.isfinite(part["timestamp"]))

    def _sift_ratings(self, sieve: Sieve, rating: Float64Array) -> dict[str, int]:
        sifted = self._sifted
        own = {"rating": sifted.present["rating"]}
        signals = Signals(
            pa.table({"rating": rating}), own, sifted.opened.label, sifted.rules.values
        )
        return signals.sift(sieve, sifted.rules, sifted.notes)

    def _tell(self, rejected: dict[str, int], aside: Mapping[str, int]) -> None:
        """Write down the counts and notes, in the order of `read_interaction_table`."""
        sifted, label = self._sifted, self._sifted.opened.label
        rejected[MALFORMED] = self._table.told.counted.malformed
        sifted.rejected.update(rejected)
        if rejected[HEADER_AGAIN]:
            sifted.notes.append(headers_noted(label, rejected[HEADER_AGAIN]))
        if self._total is not None:
            sifted.notes.append(total_noted(label, self._row(self._total)))
        for name, number in aside.items():
            if name not in SIDES:
                sifted.set_aside[name] = number
            elif number:
                words = self._words[name]
                sifted.set_aside[f"{name} called {', '.join(words)}"] = number
                sifted.notes.append(words_noted(label, name, words, number))

    def _has_headers(self, columns: Mapping[str, pa.ChunkedArray]) -> bool:
        """Whether some user and some item are called like a column."""
        names = [name for name in self._sifted.opened.names if name and not name.isdigit()]
        return all(missing_words(columns[name], names) for name in SIDES)

    def _find_total(self, columns: Mapping[str, pa.ChunkedArray]) -> int | None:
        """The row that is a total; see `recsys.data.footers.total_rows`."""
        if not any(missing_words(columns[name], NAMES) for name in SIDES):
            return None
        marks = {name: np.append(occurring(columns[name], NAMES), False) for name in SIDES}
        places, rows, start = [], [], 0
        for part in self._table.parts(self._rows):
            found = np.flatnonzero(
                np.logical_or.reduce([marks[name][part[name]] for name in SIDES])
            )
            places.append(found + start)
            rows.append({name: part[name][found] for name in SIDES})
            start += len(part["user"])
        table = self._table.table(
            {name: np.concatenate([row[name] for row in rows]) for name in SIDES}
        )
        ids = {name: table.column(name) for name in SIDES}
        total = total_rows(ids, self._table.told.counted.rows)
        return int(np.concatenate(places)[total][0]) if total.any() else None

    def _row(self, place: int) -> pa.Table:
        """A single row."""
        start = 0
        for part in self._table.parts(self._rows):
            if place < start + len(part["user"]):
                at = place - start
                return self._table.table({name: part[name][at : at + 1] for name in SIDES})
            start += len(part["user"])
        raise IndexError(place)


class _Names:
    """How often each item is called what, counted a part at a time."""

    def __init__(self, ids: Mapping[str, GrowingIds], values: ValueFormat) -> None:
        self._known = "name" in ids
        if not self._known:
            return
        self._dictionary = ids["name"].values
        without = pa.array(["", *values.missing], pa.string())
        # One more, for null.
        self._no_name = np.append(np.asarray(pc.is_in(self._dictionary, without)), True)
        self._pair, self._count = np.empty(0, np.int64), np.empty(0, np.int64)

    def count(self, kept: Mapping[str, AnyArray]) -> None:
        """Count the names of some rows, which have an item."""
        if not self._known:
            return
        rows = ~self._no_name[kept["name"]]
        key = kept["item"][rows] * np.int64(len(self._dictionary)) + kept["name"][rows]
        pair, count = np.unique(key, return_counts=True)
        self._pair, place = np.unique(np.append(self._pair, pair), return_inverse=True)
        added = np.append(self._count, count)
        self._count = np.zeros(len(self._pair), np.int64)
        np.add.at(self._count, place, added)

    def chosen(self, rank: Int32Array, n_items: int) -> pa.Array | None:
        """The commonest name of each item, by its rank; None without a column of names."""
        if not self._known:
            return None
        chosen = np.full(n_items, len(self._dictionary), np.int64)
        if len(self._pair):
            item, name = np.divmod(self._pair, len(self._dictionary))
            pair = rank[item] * np.int64(len(self._dictionary)) + name
            choose_commonest(chosen, pair, self._count, self._dictionary)
        return names_of(chosen, self._dictionary)
