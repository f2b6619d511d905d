"""Templates: new databases that are made once for an environment, and copied where one is needed.

Prefect and MLflow bring a new database to its schema by all migrations that they ever had, which
takes longer than reading the likes. A template is of one release of its package: with any other
one the database is made as ever.
"""

from __future__ import annotations

import shutil
import sqlite3
import sys
from contextlib import closing, suppress
from importlib.metadata import version
from pathlib import Path

from recsys.store.syncing import sync


def template_of(package: str) -> Path:
    """Where the template of the release of a package that is installed is, or would be."""
    return Path(sys.prefix, "share", "liked-this", f"{package}-{version(package)}.db")


def keep_template(package: str, made: Path) -> None:
    """Keep a database that nobody writes to as a template; those of other releases are removed.

    One process at a time may do so for a package.

    Parameters
    ----------
    package : str
    made : Path
        An SQLite database.

    Raises
    ------
    OSError, sqlite3.Error
        If there is no such database, or the folder of the environment cannot be written to.
    """
    kept = template_of(package)
    kept.parent.mkdir(parents=True, exist_ok=True)
    unfinished = kept.with_name(f".{kept.name}.unfinished")
    unfinished.unlink(missing_ok=True)
    try:
        with closing(sqlite3.connect(f"{made.absolute().as_uri()}?mode=ro", uri=True)) as database:
            database.execute("VACUUM INTO ?", (str(unfinished),))  # with what is in its log
        sync(unfinished)
        unfinished.replace(kept)
    finally:
        unfinished.unlink(missing_ok=True)
    for other in kept.parent.glob(f"{package}-*.db"):
        if other != kept:
            other.unlink(missing_ok=True)


def copy_template(package: str, place: Path) -> bool:
    """Copy the template to a place that the caller renames; False if there is no template.

    A copy that cannot be made leaves nothing, and is no error: the database is made as ever then,
    which reports the fault.
    """
    try:
        template = template_of(package)
        if not template.is_file():
            return False
        shutil.copyfile(template, place)
        sync(place)
    except OSError:
        with suppress(OSError):
            place.unlink(missing_ok=True)
        return False
    return True


def with_logs(path: Path) -> list[Path]:
    """A database and its logs, which SQLite would write into whatever database is at the path."""
    return [path, *(path.with_name(f"{path.name}{end}") for end in ("-journal", "-wal", "-shm"))]
