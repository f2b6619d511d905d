"""SQLite files that several threads and processes write: a connection a thread, transactions."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

_PATIENCE = 10.0  # seconds that a writer waits for another one


class SqliteFile:
    """A file in WAL mode, opened by each thread when it first needs it.

    Parameters
    ----------
    path : Path
    synchronous : {"FULL", "NORMAL"}
        FULL if what is committed has to survive the machine, too.
    prepare : callable
        Makes the tables, with each new connection.
    """

    def __init__(
        self,
        path: Path,
        synchronous: Literal["FULL", "NORMAL"],
        prepare: Callable[[sqlite3.Connection], None],
    ) -> None:
        self._path, self._synchronous, self._prepare = path, synchronous, prepare
        self._local = threading.local()

    @property
    def connection(self) -> sqlite3.Connection:
        """The connection of this thread."""
        if not hasattr(self._local, "connection"):
            connection = sqlite3.connect(self._path, timeout=_PATIENCE, isolation_level=None)
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute(f"PRAGMA synchronous = {self._synchronous}")
            self._prepare(connection)
            self._local.connection = connection
        connection = self._local.connection
        assert isinstance(connection, sqlite3.Connection)
        return connection

    @contextmanager
    def writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction: all of it is in the file at the end, or nothing."""
        self._path.parent.mkdir(parents=True, exist_ok=True)
        connection = self.connection
        connection.execute("BEGIN IMMEDIATE")
        try:
            yield connection
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
