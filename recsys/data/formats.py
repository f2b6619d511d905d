"""Formats: how the files of a configuration are written, as its settings say."""

from __future__ import annotations

from typing import Any

from recsys.base import config
from recsys.data.columns import ValueFormat
from recsys.data.dialects import TextFormat

TEXT_SETTINGS = ("delimiter", "quote", "escape", "encoding", "header")


def text_format(
    data: config.Data, own: config.Text | None = None, section: str = "data"
) -> TextFormat:
    """How a text file of a configuration is written.

    Parameters
    ----------
    data : config.Data
    own : config.Text or None
        What is set for this file alone; what is set for all of them holds otherwise.
    section : str
        Where its settings are, for messages. That of another file than the interactions' may have
        another delimiter in its first line than was set for all.
    """
    lenient = section != "data" and (own is None or own.delimiter is None)
    given = {name: _own(own, name, getattr(data, name)) for name in TEXT_SETTINGS}
    return TextFormat(**given, setting=section, lenient=lenient)


def value_format(data: config.Data, own: config.Text | None = None) -> ValueFormat:
    """How the values in a file of a configuration are written."""
    return ValueFormat(
        missing=tuple(data.missing),
        decimal=_own(own, "decimal", data.decimal),
        dates=_own(own, "timestamp_format", data.timestamp_format),
        timezone=data.timezone,
        one_type=data.ids == "one_type",
    )


def _own(own: config.Text | None, name: str, otherwise: Any) -> Any:
    """What is set for one file; what is set for all of them where nothing is."""
    given = getattr(own, name, None)
    return otherwise if given is None else given
