"""Databases: the few things that a log asks of SQLite or PostgreSQL, each in its own words."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from recsys.base.errors import ConfigError, StorageError
from recsys.base.redaction import redacted
from recsys.data.sqlite_file import SqliteFile

if TYPE_CHECKING:
    import psycopg

Row = tuple[Any, ...]


class Transaction(Protocol):
    """Statements of which all count or none; their values are at question marks."""

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        """Do one; returns how many rows it changed."""
        ...

    def read(self, query: str, values: Sequence[Any] = ()) -> list[Row]:
        """The rows of a query."""
        ...


class Database(Protocol):
    """Where a log is kept; all methods raise a StorageError if it cannot be used."""

    def read(self, query: str, values: Sequence[Any] = ()) -> list[Row]:
        """The rows of a query; none if there is no log yet."""
        ...

    def rows(self, query: str, block: int = 10_000) -> Iterator[list[Row]]:
        """The rows of a query in blocks, for results that are large."""
        ...

    def writing(self, durable: bool) -> AbstractContextManager[Transaction]:
        """A transaction; if it is `durable`, it survives the machine once it has ended."""
        ...

    def size(self) -> int:
        """Bytes in use."""
        ...

    def shred(self) -> None:
        """Leave nothing on disk of what was deleted."""
        ...


class _SqliteTransaction:
    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        return self._connection.execute(statement, tuple(values)).rowcount

    def read(self, query: str, values: Sequence[Any] = ()) -> list[Row]:
        return self._connection.execute(query, tuple(values)).fetchall()


class SqliteDatabase:
    """A file in WAL mode, written by several threads and processes.

    Two connections lead to it. What is written over the durable one waits for the disk, and with it
    whatever was written before: the file of the WAL is one.

    Parameters
    ----------
    path : Path
    schema : iterable of str
    """

    def __init__(self, path: Path, schema: Iterable[str]) -> None:
        statements = tuple(schema)

        def prepare(connection: sqlite3.Connection) -> None:
            connection.execute("PRAGMA secure_delete = ON")
            for statement in statements:
                connection.execute(statement)

        self._path = path
        self._quick, self._safe = (
            SqliteFile(path, synchronous, prepare) for synchronous in ("NORMAL", "FULL")
        )

    def read(self, query: str, values: Sequence[Any] = ()) -> list[Row]:
        """See `Database`."""
        if not self._path.exists():
            return []
        with self._faults():
            return self._quick.connection.execute(query, tuple(values)).fetchall()

    def rows(self, query: str, block: int = 10_000) -> Iterator[list[Row]]:
        """See `Database`."""
        if not self._path.exists():
            return
        with self._faults():
            cursor = self._quick.connection.execute(query)
            while found := cursor.fetchmany(block):
                yield found

    @contextmanager
    def writing(self, durable: bool) -> Iterator[Transaction]:
        """See `Database`."""
        with self._faults(), (self._safe if durable else self._quick).writing() as connection:
            yield _SqliteTransaction(connection)

    def size(self) -> int:
        """See `Database`; pages that are free are written again before the file grows."""
        pages, free, bytes_each = (
            self.read(f"PRAGMA {name}") for name in ("page_count", "freelist_count", "page_size")
        )
        return (pages[0][0] - free[0][0]) * bytes_each[0][0] if pages else 0

    def shred(self) -> None:
        """See `Database`."""
        if self._path.exists():
            with self._faults():
                self._safe.connection.execute("VACUUM")
                self._safe.connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")

    @contextmanager
    def _faults(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError) as fault:
            raise StorageError(
                f"the online log {self._path} cannot be used ({fault})",
                "a file of SQLite that can be written to",
                "check the path and its permissions, or set online.log",
            ) from fault


class _PostgresTransaction:
    def __init__(self, connection: psycopg.Connection[Row]) -> None:
        self._connection = connection

    def execute(self, statement: str, values: Sequence[Any] = ()) -> int:
        return self._connection.execute(_placed(statement), tuple(values)).rowcount

    def read(self, query: str, values: Sequence[Any] = ()) -> list[Row]:
        return self._connection.execute(_placed(query), tuple(values)).fetchall()


class PostgresDatabase:
    """Tables in a PostgreSQL, which servers on several machines write.

    Parameters
    ----------
    address : str
        As `postgresql://user:password@host/database`.
    schema : iterable of str

    Raises
    ------
    ConfigError
        If the driver is not installed.
    """

    def __init__(self, address: str, schema: Iterable[str]) -> None:
        try:
            import psycopg  # noqa: F401 (it is only looked whether it is there)
        except ImportError as fault:
            raise ConfigError(
                "online.log in PostgreSQL without its driver",
                "the package psycopg",
                "pip install 'liked-this[postgres]'",
            ) from fault
        # MLflow's addresses name the driver, which PostgreSQL's own do not.
        self._address = address.replace("+psycopg://", "://", 1)
        self._schema, self._local = tuple(schema), threading.local()

    def read(self, query: str, values: Sequence[Any] = ()) -> list[Row]:
        """See `Database`."""
        with self._transaction(durable=False) as connection:
            return connection.execute(_placed(query), tuple(values)).fetchall()

    def rows(self, query: str, block: int = 10_000) -> Iterator[list[Row]]:
        """See `Database`."""
        with self._transaction(durable=False) as connection, connection.cursor("rows") as cursor:
            cursor.execute(_placed(query))
            while found := cursor.fetchmany(block):
                yield found

    @contextmanager
    def writing(self, durable: bool) -> Iterator[Transaction]:
        """See `Database`."""
        with self._transaction(durable) as connection:
            yield _PostgresTransaction(connection)

    def size(self) -> int:
        """See `Database`; rows that were deleted do not count, whose room is used again."""
        return int(
            self.read(
                "SELECT coalesce((SELECT sum(pg_column_size(a.*)) FROM answers a), 0) + "
                "coalesce((SELECT sum(pg_column_size(o.*)) FROM outcomes o), 0) + "
                "coalesce((SELECT sum(pg_column_size(s.*)) FROM shadows s), 0)"
            )[0][0]
        )

    def shred(self) -> None:
        """See `Database`; of PostgreSQL's own log and backups it says nothing."""
        with self._faults():
            connection = self._connection()
            connection.autocommit = True
            try:
                connection.execute("VACUUM answers, outcomes, shadows")
            finally:
                connection.autocommit = False

    @contextmanager
    def _transaction(self, durable: bool) -> Iterator[psycopg.Connection[Row]]:
        with self._faults():
            connection = self._connection()
            with connection.transaction():
                if not durable:
                    connection.execute("SET LOCAL synchronous_commit = off")
                yield connection

    def _connection(self) -> psycopg.Connection[Row]:
        """The connection of this thread, made again if it has ended."""
        import psycopg

        held: psycopg.Connection[Row] | None = getattr(self._local, "connection", None)
        if held is None or held.closed:
            held = psycopg.connect(self._address, connect_timeout=10, autocommit=False)
            held.autocommit = True  # transactions are begun by hand
            # Two servers that begin at once make the tables one after the other.
            with held.transaction():
                held.execute("SELECT pg_advisory_xact_lock(20160519)")
                for statement in self._schema:
                    held.execute(statement.replace("WITHOUT ROWID", ""))
            self._local.connection = held
        return held

    @contextmanager
    def _faults(self) -> Iterator[None]:
        import psycopg

        try:
            yield
        except psycopg.Error as fault:
            raise StorageError(
                f"the online log {redacted(self._address)} cannot be used "
                f"({str(fault).strip() or type(fault).__name__})",
                "a database that can be written to",
                "check the address and its permissions, or set online.log",
            ) from fault


def _placed(statement: str) -> str:
    """A statement with PostgreSQL's marks for values."""
    return statement.replace("?", "%s")
