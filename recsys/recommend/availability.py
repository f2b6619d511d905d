"""Availability: which items may be shown now, from a list of ids or a table, read again on change.

A list has one id a line. A table, delimited text or Parquet, such as an item table, has a column
`item` and, as it likes, `from`, `until` and `in_stock`, or with other usual names. Items that it
does not name may not be shown.
"""

from __future__ import annotations

import csv
import io
import math
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.base.arrays import BoolArray, Float64Array
from recsys.base.errors import InputError, NotFoundError
from recsys.data.column_names import find_known
from recsys.recommend.watched import Watched

_DELIMITERS = ",;|\t"
_YES = frozenset({"true", "yes", "y", "t"})
_NO = frozenset({"false", "no", "n", "f"})


@dataclass(frozen=True)
class Availability:
    """Items, and when each may be shown.

    Parameters
    ----------
    items : pyarrow string array (n,)
    begins, ends : float64 (n,)
        Seconds since 1970; -inf and inf where there is no bound. The end itself is outside.
    in_stock : bool (n,)
    """

    items: pa.Array
    begins: Float64Array
    ends: Float64Array
    in_stock: BoolArray

    @staticmethod
    def of(ids: Iterable[object]) -> Availability:
        """Of a plain list of ids, which are always available."""
        items = pa.array([str(external) for external in ids], pa.string())
        bound = np.full(len(items), np.inf)
        return Availability(items, -bound, bound, np.ones(len(items), bool))

    def current(self) -> Availability:
        """Itself, which does not change; see `WatchedAvailability`."""
        return self

    def open_at(self, moment: float) -> BoolArray:
        """Which rows may be shown at a moment, seconds since 1970: bool (n,)."""
        return self.in_stock & (self.begins <= moment) & (moment < self.ends)


class HasAvailability(Protocol):
    """Whatever says what is available at the moment."""

    def current(self) -> Availability:
        """The table as it is now."""
        ...


class WatchedAvailability(Watched[Availability]):
    """The availability of a file, read again when the file changes.

    Parameters
    ----------
    path : str or Path

    Raises
    ------
    InputError, NotFoundError
        If it cannot be read to begin with.
    """

    def __init__(self, path: str | Path) -> None:
        super().__init__(path, read_availability, "the availability stays")


def read_availability(path: str | Path) -> Availability:
    """Read a list of ids, or a table with `item` and maybe `from`, `until` and `in_stock`.

    Times are dates, dates with a time, or seconds since 1970; without a zone they are UTC. A date
    in `until` counts to its end. Stock is true or false, yes or no, or a number above 0.

    Raises
    ------
    InputError
        If a value cannot be read, or it is a table without a column `item`.
    NotFoundError
        If there is no such file.
    """
    file = Path(path)
    if not file.is_file():
        raise NotFoundError(f"no file {file}", "ids, or a table of items", "check the path")
    columns = _with_usual_names(_columns(file))
    if "item" not in columns:
        raise InputError(
            f"{file} has the columns {', '.join(columns)}", "a column item", "rename one"
        )
    items = [_id(value) for value in columns["item"]]
    rows = [row for row, value in enumerate(items) if value]

    def read(name: str, default: Any, reader: Callable[[Any], Any]) -> list[Any]:
        if name not in columns:
            return [default] * len(rows)
        return [_read(columns[name][row], default, reader, file, name) for row in rows]

    return Availability(
        pa.array([items[row] for row in rows], pa.string()),
        np.array(read("from", -math.inf, _moment), np.float64),
        np.array(read("until", math.inf, _end), np.float64),
        np.array(read("in_stock", True, _stock), bool),
    )


def _columns(file: Path) -> dict[str, Sequence[Any]]:
    """The columns by their names in lower case; a plain list is a column `item`."""
    with file.open("rb") as stream:
        if stream.read(4) == b"PAR1":
            table = pq.ParquetFile(file).read()
            return {_name(name): table.column(name).to_pylist() for name in table.column_names}
    try:
        text = file.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as fault:
        raise InputError(f"{file} is not UTF-8", "text, or Parquet", "convert it") from fault
    first = text.split("\n", 1)[0].rstrip("\r")
    delimiter = next((mark for mark in _DELIMITERS if mark in first), None)
    if delimiter is None:
        lines = [line.strip() for line in text.splitlines()]
        return {"item": lines[1:] if lines and _name(lines[0]) == "item" else lines}
    rows = [row for row in csv.reader(io.StringIO(text), delimiter=delimiter) if row]
    names = [_name(name) for name in rows[0]]
    if wrong := next((row for row in rows if len(row) != len(names)), None):
        raise InputError(
            f"{file} has a row of {len(wrong)} fields ({delimiter.join(wrong)[:60]!r})",
            f"{len(names)}, as in its first line",
            "correct it",
        )
    return {name: [row[at] for row in rows[1:]] for at, name in enumerate(names)}


def _with_usual_names(columns: dict[str, Sequence[Any]]) -> dict[str, Sequence[Any]]:
    """The columns under our names, where theirs are others that are known."""
    known = {role: find_known(columns, role) for role in ("item", "from", "until", "in_stock")}
    named = {role: columns[own] for role, own in known.items() if own and role not in columns}
    return {**columns, **named}


def _name(name: str) -> str:
    return name.strip().strip('"').lower().replace(" ", "_")


def _id(value: Any) -> str:
    whole = isinstance(value, float) and value.is_integer()
    return "" if value is None else str(int(value) if whole else value).strip()


def _read(value: Any, default: Any, reader: Callable[[Any], Any], file: Path, name: str) -> Any:
    if value is None or (isinstance(value, str) and not value.strip()):
        return default
    try:
        return reader(value.strip() if isinstance(value, str) else value)
    except (ValueError, TypeError, OverflowError) as fault:
        wanted = "true or false, or a number" if name == "in_stock" else "a date or a time"
        raise InputError(f"{file} has {name} = {value!r}", wanted, "correct it") from fault


def _moment(value: Any) -> float:
    if isinstance(value, datetime):
        found = value
    elif hasattr(value, "isoformat"):
        found = datetime.fromisoformat(value.isoformat())
    else:
        try:
            return float(value)
        except ValueError:
            found = datetime.fromisoformat(value)
    return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()


def _end(value: Any) -> float:
    """A date alone counts to its end."""
    date = isinstance(value, str) and len(value) <= len("2026-01-31") and "-" in value
    plain = hasattr(value, "isoformat") and not isinstance(value, datetime)
    day = timedelta(days=1).total_seconds() if date or plain else 0.0
    return _moment(value) + day


def _stock(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word in _YES | _NO:
        return word in _YES
    return float(word) > 0


def now() -> float:
    """The moment at which a question is asked, seconds since 1970."""
    return time.time()
