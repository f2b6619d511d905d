"""Tracking addresses: the database of this machine, or a server; known without MLflow."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlparse

from recsys.base.errors import RegistryError

_SQLITE = "sqlite:///"


def is_server(uri: str) -> bool:
    """Whether an address is that of a server, asked over HTTP."""
    return uri.startswith(("http://", "https://"))


def database_path(uri: str) -> Path | None:
    """The absolute path of a local SQLite database; None for any other address."""
    return Path(uri.removeprefix(_SQLITE)).resolve() if uri.startswith(_SQLITE) else None


def absolute_uri(uri: str) -> str:
    """The address with a local database's path made absolute.

    MLflow keeps connections by address: a relative one would go on meaning the folder in which
    it was first used.
    """
    path = database_path(uri)
    return uri if path is None else f"{_SQLITE}{path}"


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
