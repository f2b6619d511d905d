"""Redaction: secrets removed from addresses in text, and text made to fit one line."""

from __future__ import annotations

import logging
import re
import traceback
from types import TracebackType
from typing import Any

LONGEST = 400  # characters of one part of a message
_HIDDEN = "***"
_SCHEME = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")
# Another address in the same line; not one that follows a letter, which may be of a password.
_NEXT = re.compile(r"(?<=[\s\"'`<>()\[\]{},;=|])[A-Za-z][A-Za-z0-9+.-]*://")
# Bounded, for a line may have thousands of addresses and no end.
_LINE = re.compile(r"[^\n\r]{0,2000}")
_AUTHORITY = re.compile(r"[^/?#\s\"'`<>]*")
_BRACKETED = re.compile(r"\[[0-9A-Fa-f:.]*\]")  # an IPv6 address
# A port ends at a path, or at the end of a word, perhaps with a sentence's mark behind it.
_PORT = re.compile(r"\d{1,5}(?=$|[/?#\s\"'`<>]|[,;:.)\]}!]+(?:\s|$))")
# What follows the question mark of an address: signed URLs carry their keys there.
_QUERY = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>?#]*\?)[^\s\"'<>#)]+")
# Clients of these end the host at the first slash: what follows a port is a path.
_WEB = frozenset({"http", "https", "ws", "wss"})
# SQLAlchemy leaves blanks in passwords as they are, the first one as well.
_DATABASES = frozenset({"postgresql", "postgres", "mysql", "mariadb", "mssql", "oracle"})


def redacted(text: str) -> str:
    """A text whose addresses have neither user, password nor query: `s3://***@bucket/key?***`.

    A password is found wherever the text has `scheme://user:` and, later in the line, an `@`,
    whatever is between them: people do not quote the slashes, blanks and at signs of their
    passwords. Where there is more than one `@`, everything up to the last one is hidden, be it a
    part of the path. What reads as a host with its port (`http://host:5000/a@b`) and a colon that
    ends an address (`s3://bucket: no answer`) are left. A text without an address comes back as it
    is; redacting twice changes nothing.

    Parameters
    ----------
    text : str
        An address, or a message with any number of them.

    Returns
    -------
    str

    Examples
    --------
    >>> redacted("no answer from 'postgresql://ann:p/w@db:5432/mlflow'")
    "no answer from 'postgresql://***@db:5432/mlflow'"
    """
    if "://" not in text:
        return text
    parts: list[str] = []
    position = 0
    while found := _SCHEME.search(text, position):
        line = _LINE.match(text, found.end())
        assert line is not None, "it matches the empty text as well"
        scheme = found.group().removesuffix("://").lower()
        at = _end_of_credentials(
            scheme, line.group(), text[max(found.start() - 1, 0) : found.start()]
        )
        parts += [text[position : found.end()], _HIDDEN if at >= 0 else ""]
        position = found.end() + max(at, 0)
    return _QUERY.sub(rf"\g<1>{_HIDDEN}", "".join(parts) + text[position:])


def _end_of_credentials(scheme: str, line: str, before: str) -> int:
    """Where the `@` behind the credentials of an address is; -1 if there are none.

    Parameters
    ----------
    scheme : str
    line : str
        What follows the `://`, up to the end of the line.
    before : str
        The character before the address.
    """
    if "@" not in line:
        return -1
    following = _NEXT.search(line)
    ends = [following.start()] if following else []
    if before and before in "\"'`":
        closed = re.search(rf"{before}(?=$|[\s,;:.)\]}}>!?])", line)
        ends += [closed.start()] if closed else []
    # As an address ends, unless a password has such a mark or address in it.
    for end in sorted(ends):
        at, certain = _last_at(scheme, line[:end])
        if certain:
            return at
    return _last_at(scheme, line)[0]


def _last_at(scheme: str, address: str) -> tuple[int, bool]:
    """Where the last `@` is that may belong to credentials, or -1; whether that is certain.

    It is not if the address ends in what reads as the beginning of a password.
    """
    authority = _AUTHORITY.match(address)
    assert authority is not None, "it matches the empty text as well"
    # The colons of an IPv6 address are no colon before a password.
    host = _BRACKETED.sub(lambda found: "x" * len(found.group()), authority.group())
    user, colon, password = host.partition(":")
    rest = address[len(user) + 1 :]
    if colon and ("@" in password or _is_password(scheme, rest)):
        return (address if "@" in rest else host).rfind("@"), "@" in rest
    at = host.rfind("@")
    return at, at >= 0


def _is_password(scheme: str, rest: str) -> bool:
    """Whether what follows `scheme://name:` begins with a password, if there is an `@` later."""
    database = scheme.partition("+")[0] in _DATABASES
    if rest[:1].isspace():
        return database
    port = _PORT.match(rest)
    if not port:
        return True
    if database and rest[port.end() :][:1].isspace():
        return True
    return scheme not in _WEB and "@" in rest.split(maxsplit=1)[0]


def one_line(text: str) -> str:
    """A text for a message: redacted, control characters escaped, its middle left out if long."""
    text = redacted(text)
    if len(text) > LONGEST:
        half = LONGEST // 2
        text = f"{text[:half]}… ({len(text):,} characters) …{text[-half:]}"
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def redact_logs() -> None:
    """Remove secrets from all log records of this process, of any logger."""
    make = logging.getLogRecordFactory()
    if getattr(make, "redacts", False):
        return

    def factory(*args: Any, **kwargs: Any) -> logging.LogRecord:
        record = make(*args, **kwargs)
        if "://" in record.getMessage():
            record.msg, record.args = redacted(record.getMessage()), None
        if record.exc_info and record.exc_info[1] is not None:
            # Formatters take the text that is there already.
            record.exc_text = redacted(_formatted(record.exc_info))
        return record

    factory.redacts = True  # type: ignore[attr-defined]
    logging.setLogRecordFactory(factory)


def _formatted(
    fault: tuple[type[BaseException] | None, BaseException | None, TracebackType | None],
) -> str:
    return "".join(traceback.format_exception(*fault)).rstrip()
