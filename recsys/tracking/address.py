"""Tracking addresses: the database of this machine, or a server; known without MLflow."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote, urlparse

from recsys.base.errors import RegistryError

_SQLITE = "sqlite:///"
_DIALECTS = ("postgresql", "postgres", "mysql", "mssql", "oracle")
# The driver that SQLAlchemy takes where an address names none, and the one that we bring.
_DRIVERS = {"postgresql": ("psycopg2", "psycopg"), "mysql": ("MySQLdb", "pymysql")}


def is_server(uri: str) -> bool:
    """Whether an address is that of a server, asked over HTTP."""
    return uri.startswith(("http://", "https://"))


def database_path(uri: str) -> Path | None:
    """The absolute path of a local SQLite database; None for any other address."""
    return Path(uri.removeprefix(_SQLITE)).resolve() if uri.startswith(_SQLITE) else None


def is_database(uri: str) -> bool:
    """Whether an address is that of a database on a server, such as PostgreSQL."""
    return uri.partition("://")[0].partition("+")[0] in _DIALECTS


def absolute_uri(uri: str) -> str:
    """The address as MLflow needs it: a local database's path made absolute, a driver named.

    MLflow keeps connections by address: a relative one would go on meaning the folder in which
    it was first used. An address without a driver gets the one of ours, unless the one that
    SQLAlchemy would take is installed.
    """
    path = database_path(uri)
    if path is not None:
        return f"{_SQLITE}{path}"
    scheme, separator, rest = uri.partition("://")
    dialect = "postgresql" if scheme == "postgres" else scheme
    usual, ours = _DRIVERS.get(dialect, ("", ""))
    if ours and find_spec(usual) is None and find_spec(ours) is not None:
        return f"{dialect}+{ours}://{rest}"
    return f"{dialect}{separator}{rest}"


def local_folder(location: str) -> Path | None:
    """The folder of this machine that an artifact location names; None if it is elsewhere.

    Parameters
    ----------
    location : str
        An absolute path or a URI, as MLflow records where artifacts are.
    """
    parsed = urlparse(location)
    if parsed.scheme == "file" and parsed.netloc in ("", "localhost"):
        return Path(unquote(parsed.path))
    return Path(location) if not parsed.scheme and location.startswith("/") else None


def require_registry(uri: str) -> None:
    """Refuse a local database that is not there; MLflow would make an empty one.

    Raises
    ------
    RegistryError
        If it is not there.
    """
    path = database_path(uri)
    if path is not None and not path.exists():
        raise RegistryError(
            f"no model registry at {uri}",
            "the database that training writes",
            "train first (recsys train), or set MLFLOW_TRACKING_URI",
        )
