"""Durations and shares as settings write them: a number and a unit, such as 365d, or 10%."""

from __future__ import annotations

import re
from decimal import Decimal

_SECONDS = {"h": 3600.0, "d": 86_400.0, "w": 604_800.0, "y": 365.25 * 86_400.0}
DAY = 86_400.0
"""Seconds."""

AGING = ("half_life", "window")
"""The hyper-parameters that are durations: they go by the age of interactions."""

_WRITTEN = re.compile(r"(\d+(?:\.\d+)?)\s*([hdwy])")


def seconds_of(written: str) -> float | None:
    """The seconds of a duration in hours, days, weeks or years; None if it is none."""
    found = _WRITTEN.fullmatch(written.strip().lower())
    if found is None or not float(found[1]):
        return None
    return float(found[1]) * _SECONDS[found[2]]


def days_of(written: str) -> float | None:
    """The days of a duration; None if it is none."""
    seconds = seconds_of(written)
    return None if seconds is None else seconds / DAY


def as_days(days: float) -> str:
    """A number of days as a duration, to six digits."""
    return f"{Decimal(f'{days:.6g}'):f}d"


def share_of(written: str) -> float | None:
    """A share between 0 and 1, written as 0.1 or as 10%; None if it is none."""
    text = written.strip()
    percent = text.endswith("%")
    try:
        share = float(text.removesuffix("%")) / (100 if percent else 1)
    except ValueError:
        return None
    return share if 0 < share < 1 else None
