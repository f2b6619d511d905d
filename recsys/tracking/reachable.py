"""Reachable: whether a tracking server or database answers, asked without importing MLflow."""

from __future__ import annotations

from recsys.base.errors import OutageError
from recsys.base.proxies import require_usable_proxies, spare_loopback
from recsys.base.redaction import redacted
from recsys.base.retries import retry
from recsys.tracking.address import is_server
from recsys.tracking.databases import check_database


def require_reachable(uri: str, patience: float = 0.0) -> None:
    """Ask the tracking server or database at an address, before anything long is begun.

    Parameters
    ----------
    uri : str
    patience : float
        Seconds that one which does not answer is waited for.

    Raises
    ------
    OutageError
        If nothing answers.
    RegistryError, ConfigError
        If a database at the address cannot be used; see `check_database`.
    """
    what = "server" if is_server(uri) else "database"

    def ask() -> None:
        require_server(uri)
        check_database(uri)

    who = f"the tracking {what} at {uri}"
    retry(ask, lambda fault: isinstance(fault, OutageError), patience, who)


def require_server(uri: str) -> None:
    """Ask a tracking server once whether it is there; MLflow itself would try for minutes.

    Raises
    ------
    OutageError
        If nothing answers.
    """
    if not is_server(uri):
        return
    import httpx  # the registered model imports what imports this, and is installed without it

    spare_loopback()
    require_usable_proxies()
    try:
        answer = httpx.get(f"{uri.rstrip('/')}/health", timeout=5, follow_redirects=True)
        fault = None if answer.status_code < 500 else f"it answers {answer.status_code}"
    except httpx.HTTPError as failure:
        fault = str(failure) or type(failure).__name__
    if fault:
        raise OutageError(
            redacted(f"no tracking server answers at {uri} ({fault})"),
            "an MLflow tracking address",
            "start it, or set tracking.uri",
        )
