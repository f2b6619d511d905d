"""Spilled rows: a table of interactions, read once and kept on disk as numbers.

An id is its place among those seen so far, which are in memory; a rating or a time is itself.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa

from recsys.base.arrays import AnyArray, Float64Array, Int32Array
from recsys.data.columns import ValueFormat, numbers, seconds
from recsys.data.growing_ids import GrowingIds
from recsys.data.numeric_times import unit_of
from recsys.data.spill import Spill
from recsys.data.tables import InParts, Told
from recsys.data.text import NotPlainError

IDS, SIDES = ("user", "item", "name"), ("user", "item")


@dataclass(frozen=True)
class SpilledRows:
    """A table whose rows are on disk.

    Parameters
    ----------
    ids : mapping of str to GrowingIds
        Those of each column of ids.
    renumbered : mapping of str to (int32 (n,) or None)
        What the numbers on disk became, see `GrowingIds.decided`.
    names : tuple of str
        The columns.
    spill : Spill
        int32 numbers of ids, float64 ratings and times.
    told : Told
        What was found out of the table.
    """

    ids: Mapping[str, GrowingIds]
    renumbered: Mapping[str, Int32Array | None]
    names: tuple[str, ...]
    spill: Spill
    told: Told

    @classmethod
    def of(
        cls,
        opened: InParts,
        present: Mapping[str, str],
        values: ValueFormat,
        scratch: Path,
        rows: int,
    ) -> SpilledRows:
        """Read a table.

        Parameters
        ----------
        opened : InParts
        present : mapping of str to str
            The table's name of each column that is read, by ours.
        values : ValueFormat
        scratch : Path
            An empty folder.
        rows : int
            How many are in memory at a time.

        Raises
        ------
        NotPlainError
            If that cannot be done in parts.
        """
        ids = {name: GrowingIds() for name in present if name in IDS}
        numbers_of = {name: _Numbers(name, values) for name in present if name not in ids}
        spill = Spill(scratch, {name: np.int32 if name in ids else np.float64 for name in present})
        told = Told()
        try:
            for table in _of_rows(opened.parts(present, tuple(ids), told), rows):
                spill.append(
                    *(
                        ids[name].codes(table.column(name))
                        if name in ids
                        else numbers_of[name].read(table.column(name))
                        for name in present
                    )
                )
        except NotPlainError:
            spill.remove()
            raise
        renumbered = {name: each.decided() for name, each in ids.items()}
        return cls(ids, renumbered, tuple(present), spill, told)

    def parts(self, rows: int) -> Iterator[dict[str, AnyArray]]:
        """The columns of so many rows at a time; an id that is null is -1."""
        for arrays in self.spill.parts(rows):
            found = dict(zip(self.names, arrays, strict=True))
            for name, became in self.renumbered.items():
                if became is not None:
                    found[name] = np.append(became, np.int32(-1))[found[name]]
            yield found

    def table(self, part: Mapping[str, AnyArray]) -> pa.Table:
        """Rows as a table of users and items."""
        return pa.table({name: self.ids[name].column(part[name]) for name in SIDES})


class _Numbers:
    """Ratings or times as float64, where each can be read without the others."""

    def __init__(self, name: str, values: ValueFormat) -> None:
        self._name, self._values = name, values
        self._kind: pa.DataType | None = None
        self._units: set[int] = set()

    def read(self, column: pa.ChunkedArray) -> Float64Array:
        """Some of a column; NaN for what is none.

        Raises
        ------
        NotPlainError
            If the others say how to read them.
        """
        kind = column.type
        if self._kind not in (None, kind):
            raise NotPlainError  # columns of several types are compared as text
        self._kind = kind
        timed = self._name == "timestamp"
        if timed and (pa.types.is_timestamp(kind) or pa.types.is_date(kind)):
            return seconds(column, self._values)
        if not pa.types.is_integer(kind) and (timed or not pa.types.is_floating(kind)):
            raise NotPlainError
        found = numbers(column, self._values)
        if timed:
            self._require_one_unit(found)
            found = np.where(np.abs(found) < 2**62, found, np.nan)
        return found

    def _require_one_unit(self, times: Float64Array) -> None:
        known = times[np.abs(times) < 2**62]
        if len(known):
            self._units |= {unit_of(known.min()), unit_of(known.max())}
        if self._values.dates is not None or len(self._units) > 1:
            raise NotPlainError


def _of_rows(tables: Iterator[pa.Table], rows: int) -> Iterator[pa.Table]:
    """Tables of about so many rows, of smaller and larger ones."""
    held: list[pa.Table] = []
    for table in tables:
        for start in range(0, table.num_rows, rows):
            held.append(table.slice(start, rows))
            if sum(each.num_rows for each in held) >= rows:
                yield pa.concat_tables(held)
                held = []
    if held:
        yield pa.concat_tables(held)
