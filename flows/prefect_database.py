"""Prefect's own database, looked at before a server is started on it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from importlib.util import find_spec
from pathlib import Path

from recsys.base.disk import storage_errors
from recsys.base.errors import RecsysError
from recsys.store.locks import locked
from recsys.store.templates import copy_template, with_logs

_SQLITE = "sqlite+aiosqlite:///"
_MIGRATIONS = "prefect.server.database._migrations"


class PrefectDatabaseError(RecsysError):
    """No Prefect server can work with the database that is there."""

    exit_code = 5


@contextmanager
def starting_alone() -> Iterator[None]:
    """Keep other servers with this home from starting meanwhile, with a database to start from.

    Two servers that bring one database up to date at the same moment get into each other's way.
    Where there is no database the template is copied; without a template Prefect makes it.

    Raises
    ------
    StorageError, PrefectDatabaseError
        If Prefect's home, or the folder of the database, cannot be written to.
    """
    from prefect.settings import PREFECT_HOME

    home = Path(PREFECT_HOME.value())
    with ExitStack() as held:
        try:
            with storage_errors("Prefect's database", home):
                home.mkdir(parents=True, exist_ok=True)
                held.enter_context(locked(home / ".starting.lock"))
                _copy_template()
        except OSError as fault:
            raise PrefectDatabaseError(
                f"{home} cannot be Prefect's home ({fault})",
                "a folder that may be written to",
                "set PREFECT_HOME to another folder",
            ) from fault
        yield


def _copy_template() -> None:
    path = _file()
    if path is None or any(map(Path.exists, with_logs(path))):
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.unfinished")
    if copy_template("prefect", unfinished):
        unfinished.replace(path)


def check_prefect_database() -> None:
    """Refuse a database that is none, or that a newer Prefect has written.

    An older one is brought up to date by the server. What is not on this machine is left to it.

    Raises
    ------
    PrefectDatabaseError
    """
    from prefect import __version__

    path = _file()
    if path is None or not path.is_file() or path.stat().st_size == 0:
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


def _file() -> Path | None:
    """The file of Prefect's database, there or not.

    None if it is in memory or on a server, and for addresses that only the server can resolve: a
    relative one, which is relative to its folder, and one of the form file:.
    """
    from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL

    address = str(PREFECT_API_DATABASE_CONNECTION_URL.value() or "")
    path, _, options = address.removeprefix(_SQLITE).partition("?")
    on_disk = Path(path).is_absolute() and "mode=memory" not in options
    return Path(path) if address.startswith(_SQLITE) and on_disk else None


def _revisions() -> set[str]:
    """The revisions of the schema that this Prefect knows; empty where they cannot be found."""
    found = find_spec(_MIGRATIONS)
    if found is None or not found.submodule_search_locations:
        return set()
    scripts = Path(found.submodule_search_locations[0], "versions", "sqlite").glob("*.py")
    # As in 2026_09_15_000000_a3b9c7d2e5f1_add_an_index.py
    return {parts[4] for path in scripts if len(parts := path.stem.split("_")) > 4}
