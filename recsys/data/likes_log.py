"""The likes log: likes that come in between two trainings, on disk before they are acknowledged.

One SQLite file in WAL mode, which several server processes and a training read and write at once.
It keeps the newest word of each user about each item: liked, no longer liked, or not interested.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Literal

from recsys.base.errors import StorageError

State = Literal["liked", "removed", "hidden"]
"""What a user said last of an item; `hidden` is "not interested"."""

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS words (user TEXT NOT NULL, item TEXT NOT NULL, "
    "state TEXT NOT NULL, time REAL NOT NULL, weight REAL NOT NULL, "
    "PRIMARY KEY (user, item)) WITHOUT ROWID",
    "CREATE INDEX IF NOT EXISTS by_item ON words (item)",
    "CREATE TABLE IF NOT EXISTS posts (id TEXT PRIMARY KEY) WITHOUT ROWID",
)
_PATIENCE = 10.0  # seconds that a writer waits for another one


@dataclass(frozen=True)
class Like:
    """One like as it comes in.

    Parameters
    ----------
    user, item : str
    time : float or None
        Seconds since 1970; None for the moment at which it arrives.
    weight : float
    id : str or None
        Of the post: the same one a second time changes nothing.
    """

    user: str
    item: str
    time: float | None = None
    weight: float = 1.0
    id: str | None = None


@dataclass(frozen=True)
class Word:
    """What a user said last of an item."""

    user: str
    item: str
    state: State
    time: float
    weight: float

    def as_dict(self) -> dict[str, Any]:
        """The word as plain values."""
        return asdict(self)


@dataclass(frozen=True)
class FreshLikes:
    """What a user said since the model was trained: items liked, no longer liked, and hidden."""

    liked: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.liked or self.removed or self.hidden)


class LikesLog:
    """The log in a file, which is made when something is first written.

    All methods raise a StorageError if the file cannot be used, or is no such log.

    Parameters
    ----------
    path : str or Path
    """

    def __init__(self, path: str | Path) -> None:
        self._path = Path(path)
        self._local = threading.local()

    def add(self, likes: Sequence[Like]) -> int:
        """Write likes, all of them or none; they are on disk when this returns.

        Returns
        -------
        int
            How many were new; one whose id was there already changes nothing.
        """
        now, added = time.time(), 0
        with self._writing() as connection:
            for like in likes:
                if like.id is not None:
                    found = connection.execute("INSERT OR IGNORE INTO posts VALUES (?)", (like.id,))
                    if not found.rowcount:
                        continue
                at = now if like.time is None else like.time
                self._say(connection, like.user, like.item, "liked", at, like.weight)
                added += 1
        return added

    def remove(self, user: str, item: str) -> None:
        """The user no longer likes the item, whether a post or the training data said so."""
        with self._writing() as connection:
            self._say(connection, user, item, "removed", time.time(), 0.0)

    def hide(self, user: str, item: str) -> None:
        """The user is not interested: the item is never shown to them again."""
        with self._writing() as connection:
            self._say(connection, user, item, "hidden", time.time(), 0.0)

    def of(self, user: str) -> FreshLikes:
        """What a user said, in the order of the items' ids."""
        parts: dict[str, list[str]] = {"liked": [], "removed": [], "hidden": []}
        for word in self.words(user):
            parts[word.state].append(word.item)
        return FreshLikes(*(tuple(parts[name]) for name in ("liked", "removed", "hidden")))

    def words(self, user: str | None = None) -> list[Word]:
        """All that was said, or what one user said, by user and item."""
        columns = "SELECT user, item, state, time, weight FROM words"
        if user is None:
            return self._read(f"{columns} ORDER BY user, item", ())
        return self._read(f"{columns} WHERE user = ? ORDER BY item", (user,))

    def of_item(self, item: str) -> list[Word]:
        """What users said of one item."""
        columns = "SELECT user, item, state, time, weight FROM words"
        return self._read(f"{columns} WHERE item = ? ORDER BY user", (item,))

    def users(self) -> list[str]:
        """All users who said something, sorted."""
        return sorted({word.user for word in self.words()})

    def _say(
        self,
        connection: sqlite3.Connection,
        user: str,
        item: str,
        state: State,
        at: float,
        weight: float,
    ) -> None:
        connection.execute(
            "INSERT OR REPLACE INTO words VALUES (?, ?, ?, ?, ?)", (user, item, state, at, weight)
        )

    def _read(self, query: str, values: tuple[str, ...]) -> list[Word]:
        if not self._path.exists():
            return []
        with self._faults():
            return [Word(*row) for row in self._connection.execute(query, values)]

    @property
    def _connection(self) -> sqlite3.Connection:
        """The connection of this thread."""
        if not hasattr(self._local, "connection"):
            connection = sqlite3.connect(self._path, timeout=_PATIENCE, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            # Or the log of a commit might not be on disk when it is acknowledged.
            connection.execute("PRAGMA synchronous = FULL")
            for statement in _SCHEMA:
                connection.execute(statement)
            self._local.connection = connection
        connection = self._local.connection
        assert isinstance(connection, sqlite3.Connection)
        return connection

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as fault:
            raise _storage_error(self._path, fault) from fault

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is on disk at the end, or nothing."""
        with self._faults():
            self._path.parent.mkdir(parents=True, exist_ok=True)
            connection = self._connection
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")


def _storage_error(path: Path, fault: Exception) -> StorageError:
    return StorageError(
        f"the likes log {path} cannot be used ({fault})",
        "a file of SQLite that can be written to",
        "check the path and its permissions, or name another",
    )
