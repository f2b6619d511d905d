"""Moved projects: where files are that a local registry has under the folder they were made in.

MLflow keeps absolute addresses of artifacts, those of each experiment, run, model and version. A
project that is renamed, moved or restored elsewhere takes its database along, whose addresses lead
to where it was.
"""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from recsys.base.disk import storage_errors
from recsys.base.events import Note, emit
from recsys.tracking.address import database_path, local_folder

ARTIFACTS = "artifacts"  # the folder beside a local database
_SHORTEST = 3  # last parts of a path that have to be the same: experiment, models, one model
# Columns of addresses; tables and columns that a release of MLflow does not have are left out.
_ADDRESSES = (
    ("experiments", "artifact_location"),
    ("runs", "artifact_uri"),
    ("logged_models", "artifact_location"),
    ("model_versions", "source"),
    ("model_versions", "storage_location"),
)


def find_moved(folder: Path, database: Path) -> Path | None:
    """Where a folder of artifacts is that is not where the database says.

    Parameters
    ----------
    folder : Path
        Absolute, as the database has it.
    database : Path
        The database's own path.

    Returns
    -------
    Path or None
        A folder near the database whose path ends alike; None where there is none.
    """
    parts = folder.parts[1:]
    for start in range(len(parts) - _SHORTEST + 1):
        for near in (database.parent, database.parent.parent):
            candidate = near.joinpath(*parts[start:])
            if candidate.is_dir():
                return candidate
    return None


def follow_move(uri: str) -> None:
    """Correct the addresses in a local database that was moved with the artifacts beside it.

    Nothing is changed where the old folder is still there: then it was copied, or the artifacts
    are elsewhere on purpose.

    Parameters
    ----------
    uri : str
        The registry; of a server nothing is done.

    Raises
    ------
    StorageError
        If the database cannot be written.
    """
    path = database_path(uri)
    if path is None or not path.is_file():
        return
    with storage_errors("the tracking database", path.parent):
        try:
            with closing(sqlite3.connect(path)) as database:
                moved = {old for old in _roots(database) if _is_moved(old, path)}
                for old in sorted(moved):
                    with database:
                        count = _correct(database, old, path.parent / ARTIFACTS)
                    where = f"from {old.parent} to {path.parent}"
                    emit(Note(f"the registry was moved {where}; {count} addresses are corrected"))
        except sqlite3.DatabaseError:
            return  # no database, or one that is busy: MLflow says so


def _roots(database: sqlite3.Connection) -> set[Path]:
    """The folders beside a database that experiments have their artifacts in."""
    found = set()
    for name, location in database.execute("SELECT name, artifact_location FROM experiments"):
        folder = local_folder(location or "")
        if folder is not None and folder.parts[-2:] == (ARTIFACTS, name):
            found.add(folder.parent)
    return found


def _is_moved(artifacts: Path, database: Path) -> bool:
    return artifacts != database.parent / ARTIFACTS and not artifacts.parent.exists()


def _correct(database: sqlite3.Connection, old: Path, new: Path) -> int:
    """Replace the beginning of all addresses below a folder; how many there were."""
    count = 0
    for table, column in _ADDRESSES:
        known = {row[1] for row in database.execute(f"PRAGMA table_info({table})")}
        if column not in known:
            continue
        for before, after in ((old.as_uri(), new.as_uri()), (quote(str(old)), quote(str(new)))):
            # Names of tables and columns are those above.
            changed = database.execute(
                f"UPDATE {table} SET {column} = ? || substr({column}, ?)"  # noqa: S608  # nosec B608
                f" WHERE substr({column}, 1, ?) = ?",
                (after, len(before) + 1, len(before) + 1, f"{before}/"),
            )
            count += changed.rowcount
    return count
