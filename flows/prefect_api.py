"""The Prefect API that is configured: its address, whether it answers, and who has set it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from urllib.parse import urlsplit

import httpx

from recsys.base.errors import RegistryError
from recsys.base.proxies import require_usable_proxies, spare_loopback
from recsys.base.redaction import redacted

LOCAL = "http://127.0.0.1:4200/api"
VARIABLE = "PREFECT_API_URL"
# A server with much to do is slow to answer; one that is not there does not take a connection.
TIMEOUT = httpx.Timeout(60.0, connect=5.0)
# It answers "not found" here, as it has no such page below the address of a workspace.
_CLOUD = ".prefect.cloud"


def configured() -> str | None:
    """The address that the environment, Prefect's profile or its files set; None if none does."""
    from prefect.settings import PREFECT_API_URL

    return PREFECT_API_URL.value()


def require_api(address: str) -> None:
    """Ask a Prefect API once whether it is there; Prefect itself would fail with a traceback.

    Raises
    ------
    RegistryError
        If nothing answers, or something else; says who has set the address.
    """
    spare_loopback()
    require_usable_proxies()
    if fault := _fault(address):
        set_by, action = _setter(address)
        raise RegistryError(
            redacted(f"no Prefect server answers at {address} ({fault}){set_by}"),
            "a running server, its address with /api at the end",
            action,
        )


@contextmanager
def reached(address: str | None = None) -> Iterator[str]:
    """The address of a server that answers; inside, Prefect's client uses it.

    Unless one is given, that is PREFECT_API_URL, or what `prefect config set` has set, or what
    `recsys up` starts: without an address Prefect would start a server of its own, which knows no
    deployment.

    Raises
    ------
    RegistryError
        If nothing answers.
    """
    from prefect.settings import PREFECT_API_URL, temporary_settings

    address = address or configured() or LOCAL
    require_api(address)
    with temporary_settings({PREFECT_API_URL: address}):
        yield address


def _fault(address: str) -> str | None:
    """What is wrong with a server; None if it answers."""
    try:
        status = httpx.get(f"{address.rstrip('/')}/health", timeout=TIMEOUT).status_code
    except (httpx.HTTPError, httpx.InvalidURL) as fault:
        return str(fault) or type(fault).__name__
    cloud = (urlsplit(address).hostname or "").endswith(_CLOUD)
    # One that wants to know who asks is there.
    if status < 400 or status in (401, 403) or (cloud and status < 500):
        return None
    return f"it answers {status}"


def _setter(address: str) -> tuple[str, str]:
    """Who has set an address, for a message, and what to do about it."""
    if os.environ.get(VARIABLE) == address:
        return (
            f"; the environment variable {VARIABLE} has this address",
            f"start it, or unset {VARIABLE}: a run then has a server of its own",
        )
    if configured() != address:
        return "", f"start one (make up), or set {VARIABLE}"
    from prefect.settings import PREFECT_API_URL
    from prefect.settings.profiles import load_current_profile

    profile = load_current_profile()
    if profile.settings.get(PREFECT_API_URL) != address:
        return (
            "; a file of Prefect's settings has this address (.env, prefect.toml, pyproject.toml)",
            "start it, or take the address out of that file",
        )
    return (
        f"; Prefect's profile {profile.name} has this address ({profile.source})",
        f"start it, or unset it (prefect config unset {VARIABLE})",
    )
