"""Server: connections accepted and answered until interrupted, by one process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import h11
import uvicorn
from uvicorn.protocols.http.h11_impl import H11Protocol

from recsys.base.errors import ConfigError
from recsys.base.redaction import redact_logs
from recsys.serving.answering import Limits
from recsys.serving.champion import Champion
from recsys.serving.http import make_app


class TimedProtocol(H11Protocol):
    """HTTP whose connections are closed if the head of a request does not arrive in time.

    Uvicorn itself waits for it without end, so that a few idle connections could fill the server.
    """

    seconds = Limits.seconds
    _timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the timer of the first request's head."""
        super().connection_made(transport)
        self._timer = self.loop.call_later(self.seconds, self.transport.close)

    def data_received(self, data: bytes) -> None:
        """Stop the timer when a head is there; start it when the next is awaited."""
        super().data_received(data)
        if self.conn.their_state is not h11.IDLE:
            self._stop()
        elif self._timer is None:
            self._timer = self.loop.call_later(self.seconds, self.transport.close)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the timer."""
        self._stop()
        super().connection_lost(exc)

    def _stop(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def serve(
    champion: Champion,
    model: str,
    host: str,
    port: int,
    limits: Limits,
    ready: Callable[[str], None],
) -> None:
    """Answer until interrupted.

    Parameters
    ----------
    champion : Champion
    model : str
        Its name.
    host : str
        An address of this machine; "127.0.0.1" is reachable from this machine only.
    port : int
        0 for any that is free.
    limits : Limits
    ready : callable
        Told the address, once connections are accepted.

    Raises
    ------
    NotFoundError, RegistryError
        If there is no champion to begin with.
    ConfigError
        If the address cannot be had.
    """
    redact_logs()
    champion.current()
    protocol = type("Protocol", (TimedProtocol,), {"seconds": limits.seconds})
    config = uvicorn.Config(
        make_app(champion, model, limits),
        http=protocol,
        ws="none",
        lifespan="off",
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        limit_concurrency=limits.connections,
        timeout_graceful_shutdown=int(3 * limits.seconds) + 1,
    )
    with listen(host, port) as listener:
        where = f"[{host}]" if ":" in host else host
        ready(f"http://{where}:{listener.getsockname()[1]}")
        uvicorn.Server(config).run(sockets=[listener])


def listen(host: str, port: int) -> socket.socket:
    # Named TCP: only then does asyncio send small answers at once instead of 40 ms later.
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(1024)
    except (OSError, UnicodeError) as fault:
        listener.close()
        raise ConfigError(
            f"no place at {host} port {port} ({fault})",
            "an address of this machine and a free port",
            "choose another with --host or --port",
        ) from fault
    return listener
