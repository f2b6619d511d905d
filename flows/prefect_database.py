"""Prefect's own database, looked at before a server is started on it."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from importlib.util import find_spec
from pathlib import Path

from recsys.base.errors import RecsysError

_SQLITE = "sqlite+aiosqlite:///"
_MIGRATIONS = "prefect.server.database._migrations"


class PrefectDatabaseError(RecsysError):
    """No Prefect server can work with the database that is there."""

    exit_code = 5


def check_prefect_database() -> None:
    """Refuse a database that is none, or that a newer Prefect has written.

    An older one is brought up to date by the server. What is not on this machine is left to it.

    Raises
    ------
    PrefectDatabaseError
    """
    from prefect import __version__
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL

    address = str(PREFECT_API_DATABASE_CONNECTION_URL.value() or "")
    path = Path(address.removeprefix(_SQLITE).partition("?")[0])
    if not address.startswith(_SQLITE) or not path.is_file() or path.stat().st_size == 0:
        return
    elsewhere = "or set PREFECT_HOME to another folder: it holds past runs, and no models"
    try:
        with closing(sqlite3.connect(f"{path.as_uri()}?mode=ro", uri=True)) as database:
            found = database.execute("SELECT version_num FROM alembic_version").fetchall()
    except sqlite3.OperationalError:
        return  # it is being made, or written to
    except sqlite3.DatabaseError as fault:
        raise PrefectDatabaseError(
            f"{path} is no SQLite database ({fault})",
            "Prefect's database, or no file of that name",
            f"move it away, {elsewhere}",
        ) from fault
    known = _revisions()
    for (revision,) in found:
        if known and revision not in known:
            raise PrefectDatabaseError(
                f"{path} is of a newer Prefect, with schema {revision}",
                f"one that Prefect {__version__} knows",
                f"install the Prefect that wrote it (pip install --upgrade prefect), {elsewhere}",
            )


def _revisions() -> set[str]:
    """The revisions of the schema that this Prefect knows; empty where they cannot be found."""
    found = find_spec(_MIGRATIONS)
    if found is None or not found.submodule_search_locations:
        return set()
    scripts = Path(found.submodule_search_locations[0], "versions", "sqlite").glob("*.py")
    # As in 2026_09_15_000000_a3b9c7d2e5f1_add_an_index.py
    return {parts[4] for path in scripts if len(parts := path.stem.split("_")) > 4}
