"""Proxies of the environment: programs on this machine are always asked without one.

Clients read HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY, in capitals or not. Without the
last one, a server on the loopback is asked for through the proxy, which cannot get there.
"""

from __future__ import annotations

import os
from collections.abc import MutableMapping
from importlib.util import find_spec
from urllib.parse import urlsplit

from recsys.base.errors import ConfigError

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_EXCEPTIONS = ("no_proxy", "NO_PROXY")
_SOCKS = ("socks5", "socks5h")


def spare_loopback(environment: MutableMapping[str, str] = os.environ) -> None:
    """Have this process, and those that it starts, ask programs on this machine without a proxy.

    Adds the names of the loopback to NO_PROXY where a proxy is set; repeating it changes nothing.

    Parameters
    ----------
    environment : mutable mapping of str to str
    """
    if not _set(environment):
        return
    for name in [n for n in _EXCEPTIONS if environment.get(n)] or ["NO_PROXY"]:
        listed = [host.strip() for host in environment.get(name, "").split(",") if host.strip()]
        if "*" not in listed:
            missing = [host for host in LOOPBACK if host not in listed]
            environment[name] = ",".join([*listed, *missing])


def require_usable_proxies() -> None:
    """Refuse proxies that this environment's HTTP clients cannot use at all.

    They fail with such a proxy whatever is asked for, the loopback too.

    Raises
    ------
    ConfigError
        Names the variable.
    """
    for name, value in _set(os.environ).items():
        scheme = urlsplit(value if "://" in value else f"http://{value}").scheme.lower()
        if scheme in ("http", "https") or (scheme in _SOCKS and find_spec("socksio")):
            continue
        raise ConfigError(
            f"{name} names a proxy of the kind {scheme}",
            "a proxy that is asked over HTTP, as http://HOST:PORT",
            'install support for it (pip install "httpx[socks]")'
            if scheme in _SOCKS
            else "set another one, or unset it",
        )


def _set(environment: MutableMapping[str, str]) -> dict[str, str]:
    """The variables that name a proxy, with their values."""
    return {n: value for n, value in environment.items() if n.lower() in _PROXIES and value}
