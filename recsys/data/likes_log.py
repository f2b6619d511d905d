"""The likes log: likes that come in between two trainings, on disk before they are acknowledged.

One SQLite file in WAL mode, which several server processes and a training read and write at once.
It keeps the newest entry of each user about each item: liked, no longer liked, or not interested.

Every entry has a position, which grows with each write. A training reads a snapshot up to a
position, and the model remembers that; from then on the entries up to it are no longer fresh.
`compact` moves them into an archive inside the same file, where the next trainings find them: they
are nowhere else. A model that knows less, such as one that was rolled back to, still finds what it
does not know.

Whoever is forgotten leaves no entry, only a keyed hash of the id, by which the id is recognised
if the files of a training, or a post, name it again.
"""

from __future__ import annotations

import hashlib
import secrets
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from recsys.base.errors import InputError, StorageError
from recsys.data.sqlite_file import SqliteFile

if TYPE_CHECKING:  # a client of a server has likes as well, and no Arrow
    import pyarrow as pa

State = Literal["liked", "removed", "hidden"]
"""What a user said last of an item; `hidden` is "not interested"."""

_COLUMNS = (
    "(user TEXT NOT NULL, item TEXT NOT NULL, state TEXT NOT NULL, time REAL NOT NULL, "
    "weight REAL NOT NULL, position INTEGER NOT NULL DEFAULT 1, PRIMARY KEY (user, item)) "
    "WITHOUT ROWID"
)
_SCHEMA = (
    f"CREATE TABLE IF NOT EXISTS entries {_COLUMNS}",
    f"CREATE TABLE IF NOT EXISTS archive {_COLUMNS}",
    "CREATE INDEX IF NOT EXISTS by_item ON entries (item)",
    "CREATE INDEX IF NOT EXISTS archive_by_item ON archive (item)",
    "CREATE INDEX IF NOT EXISTS archive_by_position ON archive (position)",
    "CREATE INDEX IF NOT EXISTS archive_hidden ON archive (state) WHERE state = 'hidden'",
    "CREATE TABLE IF NOT EXISTS received (id BLOB PRIMARY KEY, time REAL NOT NULL) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS forgotten (hash BLOB PRIMARY KEY) WITHOUT ROWID",
    "CREATE TABLE IF NOT EXISTS about (name TEXT PRIMARY KEY, value NOT NULL) WITHOUT ROWID",
)
_ALL = "SELECT * FROM entries UNION ALL SELECT * FROM archive ORDER BY user, item"
_ALL_OF_USER = (
    "SELECT * FROM entries WHERE user = ? UNION ALL SELECT * FROM archive WHERE user = ? "
    "ORDER BY user, item"
)
# The last value is the position up to which the model knows the entries.
_FRESH = (
    "SELECT * FROM entries UNION ALL "
    "SELECT * FROM archive WHERE state = 'hidden' OR position > ? ORDER BY user, item"
)
_FRESH_OF_USER = (
    "SELECT * FROM entries WHERE user = ? UNION ALL SELECT * FROM archive WHERE user = ? "
    "AND (state = 'hidden' OR position > ?) ORDER BY item"
)
_FRESH_OF_ITEM = (
    "SELECT * FROM entries WHERE item = ? UNION ALL SELECT * FROM archive WHERE item = ? "
    "AND (state = 'hidden' OR position > ?) ORDER BY user"
)
KEPT_POSTS = 30 * 86_400.0
"""Seconds for which the id of a post is remembered at least."""


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
class Entry:
    """What a user said last of an item, and where in the log."""

    user: str
    item: str
    state: State
    time: float
    weight: float
    position: int = 0

    def as_dict(self) -> dict[str, Any]:
        """The entry as plain values, for people: its position is left out."""
        names = ("user", "item", "state", "time", "weight")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True)
class FreshLikes:
    """What a user said since the model was trained: items liked, no longer liked, and hidden."""

    liked: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    hidden: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.liked or self.removed or self.hidden)

    @classmethod
    def of(cls, entries: Iterable[Entry]) -> FreshLikes:
        """The entries of one user, sorted by what they say."""
        parts: dict[str, list[str]] = {"liked": [], "removed": [], "hidden": []}
        for entry in entries:
            parts[entry.state].append(entry.item)
        return cls(*(tuple(parts[name]) for name in ("liked", "removed", "hidden")))


@dataclass(frozen=True)
class LogPosition:
    """How far a log was read.

    Parameters
    ----------
    log : str
        Which log: each has an id of its own.
    position : int
        Of the last entry.
    """

    log: str
    position: int


class FreshEntries(Protocol):
    """Whatever says what users have said since a model was trained: a log, or a snapshot of it.

    Methods take the position up to which the model knows the entries. Entries of "not interested"
    are given in any case, as models do not know them.
    """

    def of(self, user: str, since: LogPosition | None = None) -> FreshLikes:
        """What a user said."""
        ...

    def of_item(self, item: str, since: LogPosition | None = None) -> list[Entry]:
        """What users said of one item, by user."""
        ...

    def by_user(self, since: LogPosition | None = None) -> Mapping[str, FreshLikes]:
        """What everybody said, users sorted."""
        ...

    def are_forgotten(self, users: Sequence[str]) -> list[bool]:
        """Which of these ids belong to users who were forgotten."""
        ...

    def mark(self) -> object:
        """Something that changes whenever the entries do."""
        ...


@dataclass(frozen=True)
class Snapshot:
    """All entries of a log at one moment, those in its archive too, sorted by user and item.

    Parameters
    ----------
    log : str
        The log's id, which is also the key of its hashes.
    position : int
        Of the last entry.
    entries : tuple of Entry
    forgotten : frozenset of bytes
        Hashes of the ids of users who were forgotten.
    """

    log: str
    position: int
    entries: tuple[Entry, ...]
    forgotten: frozenset[bytes]

    @property
    def reached(self) -> LogPosition:
        """How far the log was read."""
        return LogPosition(self.log, self.position)

    @cached_property
    def digest(self) -> str:
        """A hash of the content, which compaction does not change (32 hex digits)."""
        found = hashlib.blake2b(self.log.encode(), digest_size=16)
        for entry in self.entries:
            found.update(repr((entry.as_dict(), entry.position)).encode("utf-8", "surrogatepass"))
        for one in sorted(self.forgotten):
            found.update(one)
        return found.hexdigest()

    def table(self) -> pa.Table:
        """The entries as columns user, item, state, time and weight."""
        import pyarrow as pa

        text = pa.string()
        kinds = {"user": text, "item": text, "state": text, "time": pa.float64()}
        kinds["weight"] = pa.float64()
        columns = {
            name: pa.array([getattr(entry, name) for entry in self.entries], kind)
            for name, kind in kinds.items()
        }
        return pa.table(columns)

    def of(self, user: str, since: LogPosition | None = None) -> FreshLikes:
        """What a user said."""
        after = _after(self.log, since)
        return FreshLikes.of(w for w in self._of_users.get(user, ()) if _is_fresh(w, after))

    def of_item(self, item: str, since: LogPosition | None = None) -> list[Entry]:
        """What users said of one item, by user."""
        after = _after(self.log, since)
        return [entry for entry in self._of_items.get(item, ()) if _is_fresh(entry, after)]

    def by_user(self, since: LogPosition | None = None) -> Mapping[str, FreshLikes]:
        """What everybody said, users sorted."""
        after = _after(self.log, since)
        return _by_user(entry for entry in self.entries if _is_fresh(entry, after))

    def are_forgotten(self, users: Sequence[str]) -> list[bool]:
        """Which of these ids belong to users who were forgotten."""
        if not self.forgotten:
            return [False] * len(users)
        return [_hashed(self.log, user) in self.forgotten for user in users]

    def mark(self) -> object:
        """Its content never changes."""
        return self.digest

    @cached_property
    def _of_users(self) -> Mapping[str, list[Entry]]:
        return _grouped(self.entries, "user")

    @cached_property
    def _of_items(self) -> Mapping[str, list[Entry]]:
        return _grouped(self.entries, "item")


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
        # FULL, or the log of a commit might not be on disk when it is acknowledged.
        self._file = SqliteFile(self._path, "FULL", _prepare)

    @property
    def path(self) -> Path:
        """The file."""
        return self._path

    def add(self, likes: Sequence[Like]) -> int:
        """Write likes, all of them or none; they are on disk when this returns.

        Returns
        -------
        int
            How many were new; one whose id was there already changes nothing.

        Raises
        ------
        InputError
            If one is of a user who was forgotten.
        """
        now, added = time.time(), 0
        with self._writing() as connection:
            self._require_remembered(connection, {like.user for like in likes})
            for like in likes:
                if like.id is not None:
                    # Hashed: programs may make ids of posts from those of users.
                    post = _hashed(self._log(connection), like.id), now
                    found = connection.execute("INSERT OR IGNORE INTO received VALUES (?, ?)", post)
                    if not found.rowcount:
                        continue
                at = now if like.time is None else like.time
                _say(connection, like.user, like.item, "liked", at, like.weight)
                added += 1
        return added

    def remove(self, user: str, item: str) -> None:
        """The user no longer likes the item, whether a post or the training data said so."""
        self._write_one(user, item, "removed")

    def hide(self, user: str, item: str) -> None:
        """The user is not interested: the item is never shown to them again."""
        self._write_one(user, item, "hidden")

    def forget(self, user: str) -> int:
        """Delete all that a user said, and refuse to store anything of them again.

        Nothing of it stays in the file, but a keyed hash of the id: trainings leave out whoever has
        it, whatever their other files say, and servers do not know them.

        Returns
        -------
        int
            How many entries were deleted.
        """
        with self._writing() as connection:
            connection.execute("PRAGMA secure_delete = ON")
            hashed = (_hashed(self._log(connection), user),)
            connection.execute("INSERT OR IGNORE INTO forgotten VALUES (?)", hashed)
            count = 0
            for query in (
                "DELETE FROM entries WHERE user = ?",
                "DELETE FROM archive WHERE user = ?",
            ):
                count += connection.execute(query, (user,)).rowcount
        with self._faults():  # what was deleted is also in free pages and the log of writes
            self._connection.execute("VACUUM")
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return count

    def of(self, user: str, since: LogPosition | None = None) -> FreshLikes:
        """What a user said, in the order of the items' ids."""
        rows = self._read(_FRESH_OF_USER, since, (user, user))
        return FreshLikes.of(Entry(*row) for row in rows)

    def of_item(self, item: str, since: LogPosition | None = None) -> list[Entry]:
        """What users said of one item, by user."""
        rows = self._read(_FRESH_OF_ITEM, since, (item, item))
        return [Entry(*row) for row in rows]

    def by_user(self, since: LogPosition | None = None) -> Mapping[str, FreshLikes]:
        """What everybody said, users sorted."""
        return _by_user(Entry(*row) for row in self._read(_FRESH, since))

    def users(self) -> list[str]:
        """All users of whom something is stored, sorted."""
        query = "SELECT user FROM entries UNION SELECT user FROM archive ORDER BY user"
        return [row[0] for row in self._read(query)]

    def entries(self, user: str | None = None) -> list[Entry]:
        """All that is stored, or what is stored of one user, by user and item."""
        if user is None:
            return [Entry(*row) for row in self._read(_ALL)]
        return [Entry(*row) for row in self._read(_ALL_OF_USER, None, (user, user))]

    def are_forgotten(self, users: Sequence[str]) -> list[bool]:
        """Which of these ids belong to users who were forgotten."""
        if not self._read("SELECT 1 FROM forgotten LIMIT 1"):
            return [False] * len(users)
        log = self._log(self._connection)
        if len(users) == 1:
            query = "SELECT 1 FROM forgotten WHERE hash = ?"
            return [bool(self._read(query, None, (_hashed(log, users[0]),)))]
        hashes = {row[0] for row in self._read("SELECT hash FROM forgotten")}
        return [_hashed(log, user) in hashes for user in users]

    def mark(self) -> object:
        """Something that changes whenever the entries do, or somebody is forgotten."""
        query = (
            "SELECT value, (SELECT count(*) FROM forgotten), (SELECT max(position) FROM archive) "
            "FROM about WHERE name = 'position'"
        )
        return tuple(self._read(query))

    def oldest(self) -> float | None:
        """The time of the oldest entry that no champion has read; None if there is none."""
        found = self._read("SELECT min(time) FROM entries")
        return found[0][0] if found else None

    def snapshot(self) -> Snapshot | None:
        """All entries at this moment, those in the archive too; None if there is no file yet."""
        if not self._path.exists():
            return None
        with self._faults():
            connection = self._connection
            connection.execute("BEGIN")  # one moment for all that is read
            try:
                entries = tuple(self.entries())
                forgotten = frozenset(row[0] for row in self._read("SELECT hash FROM forgotten"))
                about = dict(self._read("SELECT name, value FROM about"))
            finally:
                connection.execute("COMMIT")
        return Snapshot(about["id"], about["position"], entries, forgotten)

    def compact(self, reached: LogPosition) -> int:
        """Move the entries up to a position into the archive, in one transaction.

        Nothing is lost, whenever it is cut off: a entry is in one of the two places. Ids of posts
        are remembered for a month.

        Parameters
        ----------
        reached : LogPosition
            How far the entries are in the champion; one of another log moves nothing.

        Returns
        -------
        int
            How many entries were moved.
        """
        if not self._path.exists() or self._log(self._connection) != reached.log:
            return 0
        with self._writing() as connection:
            old = (time.time() - KEPT_POSTS,)
            connection.execute("DELETE FROM received WHERE time < ?", old)
            connection.execute(
                "INSERT OR REPLACE INTO archive SELECT * FROM entries WHERE position <= ?",
                (reached.position,),
            )
            moved = connection.execute(
                "DELETE FROM entries WHERE position <= ?", (reached.position,)
            )
        with self._faults():
            self._connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        return moved.rowcount

    def _write_one(self, user: str, item: str, state: State) -> None:
        with self._writing() as connection:
            self._require_remembered(connection, {user})
            _say(connection, user, item, state, time.time(), 0.0)

    def _require_remembered(self, connection: sqlite3.Connection, users: set[str]) -> None:
        if connection.execute("SELECT 1 FROM forgotten LIMIT 1").fetchone() is None:
            return
        named = sorted(users)
        for user, forgotten in zip(named, self.are_forgotten(named), strict=True):
            if forgotten:
                raise InputError(
                    f"user {user!r}, who was forgotten",
                    "a user of whom something may be stored",
                    "leave this user out",
                )

    def _read(
        self,
        query: str,
        since: LogPosition | None = None,
        values: tuple[Any, ...] = (),
    ) -> list[tuple[Any, ...]]:
        """Rows of a query; where it asks for one value more, it is the position of `since`."""
        if not self._path.exists():
            return []
        with self._faults():
            if query.count("?") > len(values):
                values = (*values, _after(self._log(self._connection), since))
            return self._connection.execute(query, values).fetchall()

    def _log(self, connection: sqlite3.Connection) -> str:
        """The id of the log that a connection leads to."""
        if not hasattr(self._local, "log"):
            found = connection.execute("SELECT value FROM about WHERE name = 'id'").fetchone()
            self._local.log = str(found[0])
        return str(self._local.log)

    @property
    def _connection(self) -> sqlite3.Connection:
        return self._file.connection

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as fault:
            raise _storage_error(self._path, fault) from fault

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is on disk at the end, or nothing."""
        with self._faults(), self._file.writing() as connection:
            yield connection


def _tables(connection: sqlite3.Connection) -> set[str]:
    return {str(row[0]) for row in connection.execute("SELECT name FROM sqlite_master")}


def _prepare(connection: sqlite3.Connection) -> None:
    """Make the tables of a new log, and bring those of an older one up to date."""
    names = _tables(connection)
    begun = "about" in names and connection.execute("SELECT 1 FROM about").fetchone()
    if begun and "words" not in names:
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        names = _tables(connection)  # another process may have made them meanwhile
        if "words" in names:  # what entries were called, at first without positions
            connection.execute("ALTER TABLE words RENAME TO entries")
            if "about" not in names:
                column = "position INTEGER NOT NULL DEFAULT 1"
                connection.execute(f"ALTER TABLE entries ADD COLUMN {column}")
        for statement in _SCHEMA:
            connection.execute(statement)
        made = ("id", secrets.token_hex(16)), ("position", 1)
        connection.executemany("INSERT OR IGNORE INTO about VALUES (?, ?)", made)
    except BaseException:
        connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


def _say(
    connection: sqlite3.Connection, user: str, item: str, state: State, at: float, weight: float
) -> None:
    """Write the newest entry about an item, in place of any older one."""
    connection.execute("UPDATE about SET value = value + 1 WHERE name = 'position'")
    connection.execute("DELETE FROM archive WHERE user = ? AND item = ?", (user, item))
    connection.execute(
        "INSERT OR REPLACE INTO entries SELECT ?, ?, ?, ?, ?, value FROM about "
        "WHERE name = 'position'",
        (user, item, state, at, weight),
    )


def _after(log: str, since: LogPosition | None) -> int:
    """The position after which the entries of a log are fresh: 0 if another one was read."""
    return since.position if since is not None and since.log == log else 0


def _is_fresh(entry: Entry, after: int) -> bool:
    return entry.position > after or entry.state == "hidden"


def _hashed(key: str, text: str) -> bytes:
    plain = text.encode("utf-8", "surrogatepass")
    return hashlib.blake2b(plain, key=key.encode(), digest_size=16).digest()


def _by_user(entries: Iterable[Entry]) -> Mapping[str, FreshLikes]:
    return {user: FreshLikes.of(said) for user, said in _grouped(entries, "user").items()}


def _grouped(entries: Iterable[Entry], name: str) -> Mapping[str, list[Entry]]:
    found: dict[str, list[Entry]] = {}
    for entry in entries:
        found.setdefault(getattr(entry, name), []).append(entry)
    return found


def _storage_error(path: Path, fault: Exception) -> StorageError:
    return StorageError(
        f"the likes log {path} cannot be used ({fault})",
        "a file of SQLite that can be written to",
        "check the path and its permissions, or name another",
    )
