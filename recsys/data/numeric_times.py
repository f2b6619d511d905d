"""Times that are numbers: of one unit, or a stop that says what to do."""

from __future__ import annotations

import numpy as np

from recsys.base.arrays import Float64Array
from recsys.base.errors import InputError

SPREADSHEET = "spreadsheet"
"""The format of dates that a spreadsheet wrote as numbers: days since 1899-12-30."""

_EPOCH = 25_569  # 1970-01-01 in a spreadsheet
_DAY = 86_400.0  # seconds
_EARLIEST, _LATEST = 20_000, 80_000  # days of a spreadsheet from 1954 to 2119
# From which number on which unit since 1970 is meant; what is below the first is of any kind.
_UNITS = ("seconds", "milliseconds", "microseconds", "nanoseconds")
_FROM = (1e8, 1e11, 1e14, 1e17)
_STRAY = 0.01  # share of numbers of another unit that are unreadable, and no other unit


def of_spreadsheet(days: Float64Array) -> Float64Array:
    """Seconds since 1970 of days as a spreadsheet counts them, to the second."""
    return np.round((days - _EPOCH) * _DAY)


def unit_of(number: float) -> int:
    """The unit that a number since 1970 is of, counted from 1 for seconds; 0 if any may be."""
    return int(np.searchsorted(_FROM, number, side="right"))


def of_one_unit(number: Float64Array, named: str) -> Float64Array:
    """The numbers; NaN for the few that are of another unit than the others.

    Parameters
    ----------
    number : float64 (n,)
        NaN for what is none.
    named : str
        The column and its table, for messages.

    Raises
    ------
    InputError
        If they are of several units, or of an unknown one that has fractions.
    """
    known = number[np.isfinite(number)]
    if not len(known):
        return number
    _refuse_fractions(known, named)
    ends = unit_of(known.min()), unit_of(known.max())
    if ends[0] == ends[1]:
        return number
    # Small numbers may be of any unit, soon after 1970.
    unit = np.searchsorted(_FROM, np.nan_to_num(number), side="right")
    counts = np.bincount(unit, minlength=len(_UNITS) + 1)[1:]
    most, second = np.argsort(-counts, kind="stable")[:2]
    if counts.sum() - counts[most] <= _STRAY * counts.sum():
        return np.where((unit == 0) | (unit == most + 1), number, np.nan)
    examples = [f"{number[unit == each + 1][0]:.0f}" for each in (most, second)]
    raise InputError(
        f"{named} has {counts[most]:,} numbers such as {examples[0]}, {_UNITS[most]} since 1970, "
        f"and {counts[second]:,} such as {examples[1]}, {_UNITS[second]}",
        "one unit in a column",
        "convert them, or leave data.timestamp_column out",
    )


def _refuse_fractions(known: Float64Array, named: str) -> None:
    """A stop where most times would become equal, as they are kept as whole numbers."""
    middle, whole = float(np.median(known)), np.floor(known)
    if middle >= _FROM[0] or bool((known == whole).all()):
        return
    of_days = _EARLIEST <= middle <= _LATEST
    if not of_days and 2 * len(np.unique(whole)) >= len(np.unique(known)):
        return
    example = known[known != whole][0]
    way = "convert them"
    if of_days:
        way = (
            f'set data.timestamp_format = "{SPREADSHEET}" if they are days of a spreadsheet, '
            "convert them"
        )
    raise InputError(
        f"{named} has numbers with fractions, such as {example:.10g}, that are no seconds since "
        "1970",
        "dates, or whole numbers",
        f"{way}, or leave data.timestamp_column out",
    )
