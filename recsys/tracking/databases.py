"""Databases behind a registry, asked once: MLflow would try in vain for two minutes."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

from recsys.base.errors import ConfigError, OutageError, RegistryError
from recsys.base.redaction import redacted
from recsys.tracking.address import absolute_uri, database_path, is_database
from recsys.tracking.schemas import REVISION_QUERY, check_schema

if TYPE_CHECKING:
    from sqlalchemy.engine import Connection

SECONDS = 5  # for an answer to a connection
_SQLITE = b"SQLite format 3\0"  # the first bytes of every such file
_EXTRAS = {"postgresql": "postgres", "mysql": "sql"}
# SQLSTATE classes and codes of what passes by itself: connections lost, a server that starts, too
# many connections. None where there was no answer.
_PASSING = ("08", "57P", "53300")


def check_database(uri: str) -> None:
    """Connect once to the database at an address; nothing is done for a server.

    Parameters
    ----------
    uri : str

    Raises
    ------
    OutageError
        If nothing answers.
    RegistryError
        If what is there is no database, one of another release of MLflow, or lets nobody in.
    ConfigError
        If the address cannot be read, or its driver is not installed.
    """
    path = database_path(uri)
    if path is not None:
        _check_file(path, uri)
    elif is_database(uri):
        _check_connection(uri)


def _check_file(path: Path, uri: str) -> None:
    if not path.exists() or (path.is_file() and path.stat().st_size == 0):
        return
    if path.is_file():
        with path.open("rb") as file:
            if file.read(len(_SQLITE)) == _SQLITE:
                _check_revision(path, uri)
                return
    kind = "a folder" if path.is_dir() else "a file that is no SQLite database"
    raise RegistryError(
        redacted(f"{path} is {kind} ({uri})"),
        "MLflow's database, or no file of that name",
        "move it away, put back the database, or set tracking.uri",
    )


def _check_revision(path: Path, uri: str) -> None:
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            found = database.execute(REVISION_QUERY).fetchall()
    except sqlite3.Error:
        return  # it has no tables yet, or is being written to; MLflow says what else it may be
    for (revision,) in found:
        check_schema(uri, str(revision))


def _check_connection(uri: str) -> None:
    import sqlalchemy
    from sqlalchemy.exc import ArgumentError, NoSuchModuleError, SQLAlchemyError
    from sqlalchemy.pool import NullPool

    dialect = absolute_uri(uri).partition("://")[0].partition("+")[0]
    options = {"connect_timeout": SECONDS} if dialect in _EXTRAS else {}
    try:
        engine = sqlalchemy.create_engine(
            absolute_uri(uri), poolclass=NullPool, connect_args=options
        )
        with engine.connect() as connection:
            revisions = _revisions(connection)
    except (ModuleNotFoundError, NoSuchModuleError) as fault:
        extra = _EXTRAS.get(dialect)
        raise ConfigError(
            redacted(f"no driver for the tracking address {uri} ({fault})"),
            "a driver that is installed",
            f'install one (pip install "liked-this[{extra}]")' if extra else "install one",
        ) from fault
    except (ArgumentError, ValueError) as fault:
        raise ConfigError(
            redacted(f"the tracking address {uri} cannot be read"),
            "one as postgresql://HOST:5432/DATABASE, signs in a password written as %40 and so on",
            "correct tracking.uri or MLFLOW_TRACKING_URI",
        ) from fault
    except SQLAlchemyError as fault:
        raise _unreachable(uri, fault) from fault
    for revision in revisions:
        check_schema(uri, revision)


def _revisions(connection: Connection) -> list[str]:
    """The revisions of the schema in a database; none before MLflow has used it."""
    from sqlalchemy.exc import ProgrammingError

    try:
        return [str(revision) for (revision,) in connection.exec_driver_sql(REVISION_QUERY)]
    except ProgrammingError:  # there is no such table
        return []


def _unreachable(uri: str, fault: Exception) -> RegistryError:
    cause = getattr(fault, "orig", None) or fault
    state = getattr(cause, "sqlstate", None)
    reason = next((line for line in str(cause).splitlines() if line.strip()), type(cause).__name__)
    if state is None or str(state).startswith(_PASSING):
        return OutageError(
            redacted(f"no database answers at {uri} ({reason})"),
            "an MLflow tracking address",
            "start it, or set tracking.uri",
        )
    return RegistryError(
        redacted(f"the database at {uri} refuses ({reason})"),
        "a database, a user and a password that it knows",
        "correct tracking.uri or MLFLOW_TRACKING_URI",
    )
