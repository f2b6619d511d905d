"""Request log: a line for each request, as text or JSON, under an id that goes through the server.

The id is the one that a proxy or client sent as `X-Request-ID`, or a new one; the response has it,
and so has every record that is logged meanwhile. Of people the log has nothing but ids: no
addresses of clients, no bodies, no queries of addresses.
"""

from __future__ import annotations

import json
import logging
import os
import re
import sys
import time
from collections.abc import Callable
from contextvars import ContextVar
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from recsys.base.redaction import one_line
from recsys.serving.metrics import Metrics
from recsys.serving.observing import LogFormat

_requests = logging.getLogger("recsys.requests")
_current: ContextVar[str] = ContextVar("request", default="")
_HEADER = b"x-request-id"
_SANE = re.compile(rb"[A-Za-z0-9._:/+=-]{1,128}")
_FIELDS = ("request", "method", "path", "status", "milliseconds")


class RequestLog:
    """A layer around the application that counts, times and names each request.

    Parameters
    ----------
    app : ASGI application
    metrics : callable
        Returns the metrics of the process, which are made after the application.
    known : frozenset of str
        The addresses that the server has; all others are counted together.
    """

    def __init__(self, app: ASGIApp, metrics: Callable[[], Metrics], known: frozenset[str]) -> None:
        self._app, self._metrics, self._known = app, metrics, known

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            return await self._app(scope, receive, send)
        request, begun, status = _id_of(scope), time.perf_counter(), 500
        token = _current.set(request)

        async def signed(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = [*message.get("headers", ()), (_HEADER, request.encode())]
                message = {**message, "headers": headers}
            await send(message)

        try:
            await self._app(scope, receive, signed)
        finally:
            took = time.perf_counter() - begun
            address = _address(scope["path"], self._known)
            self._metrics().requests.labels(address, str(status)).inc()
            if _requests.isEnabledFor(logging.INFO):
                path = one_line(scope["path"])
                values = (request, scope["method"], path, status, round(1000 * took, 2))
                _requests.info(
                    "%s %s %d in %.2f ms", *values[1:],
                    extra=dict(zip(_FIELDS, values, strict=True)),
                )  # fmt: skip
            _current.reset(token)


def _id_of(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == _HEADER and _SANE.fullmatch(value):
            return str(value.decode("ascii"))
    return os.urandom(16).hex()


def _address(path: str, known: frozenset[str]) -> str:
    """The address without ids and version, so that there are as many as the server has."""
    path = path.removeprefix("/v1") if path.startswith("/v1/") else path
    if path.startswith("/users/") and path.endswith("/likes"):
        return "/users/ID/likes"
    return path if path in known else "other"


def current_request() -> str:
    """The id of the request that is being answered; empty outside of one."""
    return _current.get()


class _Lines(logging.Formatter):
    """A record as a line of text."""

    def format(self, record: logging.LogRecord) -> str:
        """Time, level, the request's id and the message."""
        request = getattr(record, "request", "") or current_request()
        text = f"{_moment(record)} {record.levelname} {record.name}"
        text += f" [{request}] " if request else " "
        text += one_line(record.getMessage())
        if record.exc_info:
            text += "\n" + (record.exc_text or self.formatException(record.exc_info))
        return text


class _Json(logging.Formatter):
    """A record as an object of JSON in one line."""

    def format(self, record: logging.LogRecord) -> str:
        """The record as JSON."""
        found: dict[str, Any] = {
            "time": _moment(record),
            "level": record.levelname,
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request := getattr(record, "request", "") or current_request():
            found["request"] = request
        found |= {name: getattr(record, name) for name in _FIELDS if hasattr(record, name)}
        if record.exc_info:
            found["exception"] = record.exc_text or self.formatException(record.exc_info)
        return json.dumps(found, separators=(",", ":"))


def _moment(record: logging.LogRecord) -> str:
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
    return f"{whole}.{int(record.msecs):03d}Z"


def log_requests(form: LogFormat | None) -> None:
    """Log requests, and all else from warnings on, to standard error.

    Parameters
    ----------
    form : {"lines", "json"} or None
        None: nothing is changed; warnings are plain text, and requests are not logged.
    """
    if form is None:
        return
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Json() if form == "json" else _Lines())
    root = logging.getLogger()
    root.handlers = [handler]
    _requests.setLevel(logging.INFO)
