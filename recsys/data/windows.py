"""Time windows: which interactions are recent enough, by a date or counted back from the latest."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from recsys.base.arrays import Int64Array
from recsys.base.durations import seconds_of
from recsys.base.errors import InputError
from recsys.data.dates import parse_dates

# Units in a second of timestamps that are numbers, and from which size on they are meant.
_UNITS = ((1e17, 1e9), (1e14, 1e6), (1e11, 1e3), (1e8, 1.0))


def units_in_a_second(
    timestamp: Int64Array,
    named: str,
    otherwise: str = "leave out what goes by age: data.since, data.until, data.half_life, and "
    "half_life and window in search.space",
) -> float:
    """The unit of timestamps, by their median: seconds, milli-, micro- or nanoseconds since 1970.

    Parameters
    ----------
    timestamp : int64 (n,)
    named : str
        The column and its table, for messages.
    otherwise : str
        What to do where they cannot be converted, for messages.

    Raises
    ------
    InputError
        If they are none of these, such as numbers of weeks.
    """
    return units_by_middle(float(np.median(timestamp)), named, otherwise)


def units_by_middle(middle: float, named: str, otherwise: str = "leave them out") -> float:
    """As `units_in_a_second`, by the median of timestamps, or any number on its side of bounds."""
    for least, units in _UNITS:
        if middle >= least:
            return units
    raise InputError(
        f"{named} has numbers such as {middle:.0f}, of which nobody knows how long a day is",
        "dates, or seconds since 1970",
        f"convert them, or {otherwise}",
    )


class Middle:
    """On which side of the bounds between units the median of timestamps is, which come in parts.

    Nothing but counts is kept, and the two timestamps next to each bound.
    """

    def __init__(self) -> None:
        self._number = 0
        self._from = dict.fromkeys((least for least, _ in _UNITS), 0)
        self._below, self._above = dict[float, int](), dict[float, int]()

    def look_at(self, timestamp: Int64Array) -> None:
        """Count some of them: int64 (n,)."""
        self._number += len(timestamp)
        for least in self._from:
            high = timestamp[timestamp >= least]
            self._from[least] += len(high)
            if len(high):
                self._above[least] = min(int(high.min()), self._above.get(least, int(high.min())))
            if len(high) < len(timestamp):
                below = int(timestamp[timestamp < least].max())
                self._below[least] = max(below, self._below.get(least, below))

    def bound(self) -> float:
        """The largest bound that the median reaches; 0 if it reaches none."""
        return max((least for least in self._from if self._reaches(least)), default=0.0)

    def _reaches(self, least: float) -> bool:
        if 2 * self._from[least] != self._number:
            return 2 * self._from[least] > self._number
        # The median is in the middle of the two that are next to the bound.
        return float(np.median([self._below[least], self._above[least]])) >= least


def window(
    timestamp: Int64Array, since: str | None, until: str | None, timezone: str, named: str
) -> tuple[float, float]:
    """The first moment inside of a window, and the first one after it, in the timestamps' unit.

    Parameters
    ----------
    timestamp : int64 (n,)
    since, until : str or None
        A date, or a duration such as "365d" that is counted back from the latest timestamp, for
        `since` from the latest one before `until`.
    timezone : str
        Of dates.
    named : str
        The column and its table, for messages.

    Raises
    ------
    InputError
        If nothing is inside.
    """
    units = units_in_a_second(timestamp, named)
    high = np.inf
    if until is not None:
        back = seconds_of(until)
        high = _moment(until, timezone) * units
        if back is not None:
            high = float(timestamp.max()) + 1 - back * units
    inside = timestamp[timestamp < high]
    low = -np.inf
    if since is not None and len(inside):
        back = seconds_of(since)
        low = _moment(since, timezone) * units
        if back is not None:
            low = float(inside.max()) - back * units
    if not len(inside) or inside.max() < low:
        raise InputError(
            f"{named} goes from {_shown(timestamp.min(), units)} to "
            f"{_shown(timestamp.max(), units)}, and nothing is inside of the window"
            + (f" since {since}" if since else "")
            + (f" until {until}" if until else ""),
            "interactions in it",
            "change data.since or data.until",
        )
    return low, high


def _moment(written: str, timezone: str) -> float:
    """A date as seconds since 1970; NaN for a duration."""
    if seconds_of(written) is not None:
        return np.nan
    return float(parse_dates([written], "ymd", timezone, "the window")[0])


def _shown(when: int, units: float) -> str:
    try:
        return f"{datetime.fromtimestamp(when / units, UTC):%Y-%m-%d}"
    except (ValueError, OverflowError, OSError):
        return str(when)
