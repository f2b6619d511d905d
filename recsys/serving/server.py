"""Server: connections accepted and answered until interrupted, by one process."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

import h11
import uvicorn
import uvicorn.lifespan.off
import uvicorn.loops.auto
from uvicorn.config import LOGGING_CONFIG
from uvicorn.protocols.http.h11_impl import H11Protocol

from recsys.base.redaction import redact_logs
from recsys.serving.champion import Champion
from recsys.serving.http import make_app
from recsys.serving.limits import Limits
from recsys.serving.listening import WAITING, address_of, listen
from recsys.serving.observing import Observing
from recsys.serving.request_log import log_requests


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


class Server(uvicorn.Server):
    """A server that shares its socket with others, and says when it answers.

    Parameters
    ----------
    config : uvicorn.Config
    told_to : callable or None
        Called once connections are accepted.
    """

    def __init__(self, config: uvicorn.Config, told_to: Callable[[], None] | None = None) -> None:
        super().__init__(config)
        self._told_to = told_to

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Accept connections."""
        await super().startup(sockets)
        for listener in sockets or ():
            # asyncio accepts as many at once as may wait, and one worker would get them all. It was
            # told 1, so the number of those that may wait is set again.
            listener.listen(WAITING)
        if self._told_to is not None:
            self._told_to()


def make_server(
    champion: Champion,
    model: str,
    limits: Limits,
    told_to: Callable[[], None] | None = None,
    observing: Observing = Observing(),
) -> Server:
    """What answers on a socket; see `serve`."""
    log_requests(observing.log)
    config = uvicorn.Config(
        make_app(champion, model, limits, observing),
        http=type("Protocol", (TimedProtocol,), {"seconds": limits.seconds}),
        ws="none",
        lifespan="off",
        log_level="warning",
        log_config=LOGGING_CONFIG if observing.log is None else None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        backlog=1,
        limit_concurrency=limits.connections,
        timeout_graceful_shutdown=int(3 * limits.seconds) + 1,
    )
    return Server(config, told_to)


def serve(
    champion: Champion,
    model: str,
    host: str,
    port: int,
    limits: Limits,
    ready: Callable[[str, str], None],
    observing: Observing = Observing(),
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
        Told the version that answers and the address, once connections are accepted.
    observing : Observing
        What is recorded of answers and of the server itself.

    Raises
    ------
    NotFoundError, RegistryError
        If there is no champion to begin with.
    ConfigError
        If the address cannot be had.
    """
    redact_logs()
    version, _ = champion.current_version()
    server = make_server(champion, model, limits, observing=observing)
    with listen(host, port) as listener, champion.followed():
        ready(version, address_of(host, listener))
        server.run(sockets=[listener])
