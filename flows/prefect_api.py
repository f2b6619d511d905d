"""The address of the Prefect API that deployments live on, once it is known to answer."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from recsys.base.errors import RegistryError

LOCAL = "http://127.0.0.1:4200/api"


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

    address = address or PREFECT_API_URL.value() or LOCAL
    try:
        httpx.get(f"{address}/health", timeout=5).raise_for_status()
    except httpx.HTTPError as fault:
        raise RegistryError(
            f"no Prefect server answers at {address} ({str(fault) or type(fault).__name__})",
            "a running server",
            "start one (make up), or set PREFECT_API_URL",
        ) from fault
    with temporary_settings({PREFECT_API_URL: address}):
        yield address
