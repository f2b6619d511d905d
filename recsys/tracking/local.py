"""The local registry: versions in MLflow's SQLite database, read without importing MLflow.

Importing MLflow takes seconds, which a single question to a model does not have. Its tables of
versions, aliases and tags have kept their columns since MLflow 2.3; a database that is different
is left to MLflow itself. Why this way, and what was measured: docs/experiments/local-registry.md.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from pathlib import Path

from recsys.tracking.address import database_path, require_registry
from recsys.tracking.versions import (
    CHAMPION,
    PREVIOUS,
    ModelAddress,
    Version,
    missing_version,
)

_DELETED = "Deleted_Internal"  # the stage of versions that were deleted; their rows stay
_WORKSPACE = "default"
_SECONDS = 5.0  # that a database which is being written to is waited for


class UnreadableError(Exception):
    """The database cannot be read without MLflow."""


def read_version(uri: str, address: ModelAddress) -> Version | None:
    """A version of a local registry; None if the registry has no such version.

    Parameters
    ----------
    uri : str
        The registry.
    address : ModelAddress

    Raises
    ------
    UnreadableError
        If the registry is no local database, or has other tables than are known here.
    """
    path = database_path(uri)
    if path is None or not path.is_file():
        raise UnreadableError(f"{uri} is no database of this machine")
    if os.environ.get("MLFLOW_WORKSPACE", _WORKSPACE) != _WORKSPACE:
        raise UnreadableError("a workspace is set, which MLflow has to resolve")
    try:
        with closing(_opened(path)) as database:
            return _version(database, address)
    except sqlite3.Error as fault:
        raise UnreadableError(f"{path} cannot be read ({fault})") from fault


def require_version(uri: str, address: ModelAddress) -> Version | None:
    """A version that a local registry has to have; None where only MLflow can tell.

    Where it is missing, that is known before anything long is begun. What a server has is found
    when it is asked.

    Raises
    ------
    NotFoundError
        If there is no such model, alias or version; names the models that there are.
    RegistryError
        If the database is not there.
    """
    require_registry(uri)
    try:
        found = read_version(uri, address)
    except UnreadableError:
        return None
    if found is None:
        before = None
        if address.alias == CHAMPION:
            before = read_version(uri, ModelAddress(address.model, alias=PREVIOUS))
        previous = None if before is None else before.number
        raise missing_version(str(address), uri, read_model_names(uri), previous)
    return found


def read_model_names(uri: str) -> list[str]:
    """The names of the models of a local registry, sorted; empty if it cannot be read."""
    path = database_path(uri)
    if path is None or not path.is_file():
        return []
    try:
        with closing(_opened(path)) as database:
            found = database.execute("SELECT name FROM registered_models ORDER BY name")
            return list(dict.fromkeys(str(name) for (name,) in found))
    except sqlite3.Error:
        return []


def _opened(path: Path) -> sqlite3.Connection:
    """A connection that cannot write."""
    return sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True, timeout=_SECONDS)


def _version(database: sqlite3.Connection, address: ModelAddress) -> Version | None:
    number = address.number
    if number is None:
        query = "SELECT version FROM registered_model_aliases WHERE name = ? AND alias = ?"
        found = _one(database, query, address.model, address.alias)
        if found is None:
            return None
        number = str(found[0])
    row = _one(
        database,
        "SELECT run_id, status, current_stage, storage_location, source, creation_time"
        " FROM model_versions WHERE name = ? AND version = ?",
        address.model,
        int(number),
    )
    if row is None or row[2] == _DELETED:
        return None
    run_id, status, _, stored, source, created = row
    if status != "READY":
        raise UnreadableError(f"version {number} of {address.model} is {status}")
    tags = database.execute(
        "SELECT key, value FROM model_version_tags WHERE name = ? AND version = ?",
        (address.model, int(number)),
    )
    return Version(
        str(int(number)),
        run_id or "",
        dict(tags.fetchall()),
        stored or source or "",
        None if created is None else int(created),
    )


def _one(
    database: sqlite3.Connection, query: str, *values: str | int | None
) -> tuple[str, ...] | None:
    """The only row of a query; None if there is none."""
    rows: list[tuple[str, ...]] = database.execute(query, values).fetchmany(2)
    if len(rows) > 1:  # the same name in several workspaces
        raise UnreadableError(f"{values[0]} is there more than once")
    return rows[0] if rows else None
