"""Listening: the socket of a server, which several processes may accept connections of."""

from __future__ import annotations

import socket

from recsys.base.errors import ConfigError

WAITING = 1024
"""Connections that wait to be accepted, at most."""


def address_of(host: str, listener: socket.socket) -> str:
    """The address of a socket that listens, for people and clients."""
    where = f"[{host}]" if ":" in host else host
    return f"http://{where}:{listener.getsockname()[1]}"


def listen(host: str, port: int) -> socket.socket:
    """A socket to which connections may come from now on.

    Raises
    ------
    ConfigError
        If the address cannot be had.
    """
    # Named TCP: only then does asyncio send small answers at once instead of 40 ms later.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(WAITING)
    except (OSError, UnicodeError) as fault:
        listener.close()
        raise ConfigError(
            f"no place at {host} port {port} ({fault})",
            "an address of this machine and a free port",
            "choose another with --host or --port",
        ) from fault
    return listener
