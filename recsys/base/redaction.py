"""Redaction: addresses without what must not be read in logs, and text that fits one line."""

from __future__ import annotations

import logging
import re
import traceback
from types import TracebackType
from typing import Any

LONGEST = 400  # characters of one part of a message
_HIDDEN = "***"
# Everything between :// and the last @ before the path: a token may stand where a user's name does.
_USERINFO = re.compile(r"(?<=://)[^/?#\s\"'<>]*@")
# What follows the question mark of an address: signed URLs carry their keys there.
_QUERY = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*://[^\s\"'<>?#]*\?)[^\s\"'<>#)]+")


def redacted(text: str) -> str:
    """A text whose addresses have neither user, password nor query: `s3://***@bucket/key?***`.

    A text without an address comes back as it is; redacting twice changes nothing.
    """
    if "://" not in text:
        return text
    return _QUERY.sub(rf"\g<1>{_HIDDEN}", _USERINFO.sub(f"{_HIDDEN}@", text))


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
    """From now on no log record of this process, whosever logger it is, says a secret address."""
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
