"""The answers log: which items were shown to whom on which day.

One SQLite file in WAL mode, which several server processes write and all ways of asking read. It
keeps a row for each user, item and day (UTC), so that asking again on the same day changes nothing.
"""

from __future__ import annotations

import json
import sqlite3
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from recsys.base.errors import StorageError
from recsys.data.sqlite_file import SqliteFile

DAY = 86_400
KEPT_DAYS = 366
"""Days for which it is remembered what was shown."""
_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS shown (user TEXT NOT NULL, day INTEGER NOT NULL, "
    "item TEXT NOT NULL, PRIMARY KEY (user, day, item)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS by_day ON shown (day)",
)


def today() -> int:
    """The day, from 1970, UTC."""
    return int(time.time() // DAY)


class AnswersLog:
    """The log in a file, which is made when something is first written.

    All methods raise a StorageError if the file cannot be used.

    Parameters
    ----------
    path : str or Path
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._file = SqliteFile(self._path, "NORMAL", _prepare)
        self._pruned = -1

    def record(self, shown: Sequence[tuple[str, Sequence[str]]], day: int | None = None) -> None:
        """Write what is shown to users, each with the ids of the items.

        It may be lost if the machine loses power in the next moment, unlike a like.
        """
        at = today() if day is None else day
        rows = [(user, at, item) for user, items in shown for item in items]
        with self._faults(), self._file.writing() as connection:
            connection.executemany("INSERT OR IGNORE INTO shown VALUES (?, ?, ?)", rows)
            if self._pruned != at:
                connection.execute("DELETE FROM shown WHERE day < ?", (at - KEPT_DAYS,))
                self._pruned = at

    def shown_before(self, user: str, days: int, day: int | None = None) -> list[str]:
        """The items that a user was shown on so many days before today, not those of today."""
        return self.shown_before_many([user], days, day).get(user, [])

    def shown_before_many(
        self, users: Collection[str], days: int, day: int | None = None
    ) -> dict[str, list[str]]:
        """The same for many users; who was shown nothing is not among them."""
        found: dict[str, list[str]] = {}
        if not self._path.exists():
            return found
        at = today() if day is None else day
        query = (
            "SELECT DISTINCT user, item FROM shown WHERE user IN (SELECT value FROM json_each(?)) "
            "AND day >= ? AND day < ?"
        )
        with self._faults():
            asked = json.dumps(list(users))
            for user, item in self._file.connection.execute(query, (asked, at - days, at)):
                found.setdefault(user, []).append(item)
        return found

    def forget(self, user: str) -> int:
        """Delete what was shown to a user, down to the bytes of the file; returns the rows."""
        if not self._path.exists():
            return 0
        with self._faults():
            self._file.connection.execute("PRAGMA secure_delete = ON")
            done = self._file.connection.execute("DELETE FROM shown WHERE user = ?", (user,))
            self._file.connection.execute("VACUUM")
            self._file.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return done.rowcount

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as fault:
            raise StorageError(
                f"the answers log {self._path} cannot be used ({fault})",
                "a file of SQLite that can be written to",
                "check the path and its permissions, or name another",
            ) from fault


def _prepare(connection: sqlite3.Connection) -> None:
    for statement in _SCHEMA:
        connection.execute(statement)
