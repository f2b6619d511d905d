"""Dates written as text: one format a column, decided by all of it."""

from __future__ import annotations

from collections.abc import Sequence
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from recsys.base.arrays import BoolArray, Float64Array
from recsys.base.errors import InputError

# The years that ISO 8601 and Python can write: 1 to 9999.
EARLIEST, LATEST = (
    np.datetime64(year, "s").astype(np.int64).item() for year in ("0001-01-01", "+10000-01-01")
)
ORDERS = ("dmy", "mdy", "ymd")
_NUMERIC = r"^\s*(\d{1,2})([./-])(\d{1,2})[./-](\d{4}|\d{2})(?!\d)[T,\s]*(.*?)\s*$"
_YEAR_FIRST = r"^\s*(\d{4})[./-](\d{1,2})[./-](\d{1,2})(?!\d)[T,\s]*(.*?)\s*$"
_MONTH_NAMED = r"(?i)(?:jan|feb|m[aä]r|apr|ma[iy]|jun|jul|aug|sep|o[ck]t|nov|de[cz])"
_ZONED = r"(?i)\d\s*(?:z|utc|gmt|[+-]\d{2}(?::?\d{2})?)\s*$"


def parse_dates(
    written: Sequence[str | None], style: str | None, timezone: str, named: str
) -> Float64Array:
    """Dates as seconds since 1970, float64 (n,); NaN for what is no date.

    Parameters
    ----------
    written : sequence of (str or None)
        Distinct values of a column.
    style : str or None
        "dmy", "mdy", "ymd" or a format of `strptime`; None: found by all of the column.
    timezone : str
        Of dates that do not name one.
    named : str
        The column and its table, for messages.

    Raises
    ------
    InputError
        If day and month cannot be told apart, or dates are written in more than one way.
    """
    texts = pd.Series(list(written), dtype="string").fillna("")
    # pandas would also read "now" and "today", with another result in every run.
    texts = texts.where(texts.str.contains(r"\d", na=False), "")
    if style is not None and style not in ORDERS:
        return _seconds(_parsed(texts, style), texts, timezone)
    return _seconds(_parsed(_normalised(texts, style, named)), texts, timezone)


def local_seconds(naive: Float64Array, timezone: str) -> Float64Array:
    """Seconds since 1970 of moments given as seconds of a zone's clock."""
    if timezone == "UTC" or not len(naive):
        return naive
    clock = pd.Series(naive).mul(1e6).round().astype("Int64").astype("datetime64[us]")
    zone = ZoneInfo(timezone)
    # Of an hour that comes twice the first is meant; one that is left out is the next.
    moved = clock.dt.tz_localize(
        zone, ambiguous=np.ones(len(clock), dtype=bool), nonexistent="shift_forward"
    )
    ticks = moved.dt.tz_convert("UTC").dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    return np.where(np.isnat(ticks), np.nan, ticks.astype(np.int64) / 1e6)


def _seconds(parsed: pd.Series, texts: pd.Series, timezone: str) -> Float64Array:
    # In microseconds, because nanoseconds do not reach the year 1.
    ticks = parsed.dt.tz_localize(None).to_numpy().astype("datetime64[us]")
    elapsed = np.where(np.isnat(ticks), np.nan, ticks.astype(np.int64) / 1e6)
    if timezone != "UTC":
        naive = np.isfinite(elapsed) & ~texts.str.contains(_ZONED, regex=True).to_numpy(bool)
        elapsed[naive] = local_seconds(elapsed[naive], timezone)
    return np.where((elapsed >= EARLIEST) & (elapsed < LATEST), elapsed, np.nan)


def _parsed(texts: pd.Series, style: str = "ISO8601") -> pd.Series:
    parsed = pd.to_datetime(texts, errors="coerce", utc=True, format=style)
    if style == "ISO8601":
        # Dates with the name of a month, or with a time as people write it.
        rest = parsed.isna() & (
            texts.str.match(r"^\d{4}-\d") | texts.str.contains(_MONTH_NAMED, regex=True)
        )
        if rest.any():
            others = pd.to_datetime(texts[rest], errors="coerce", utc=True, format="mixed")
            parsed = parsed.astype("datetime64[us, UTC]")
            parsed[rest] = others.astype("datetime64[us, UTC]")
    return parsed


def _normalised(texts: pd.Series, style: str | None, named: str) -> pd.Series:
    """The dates with the year first, then month and day."""
    if texts.str.match(r"\d{4}-\d{2}-\d{2}").all():
        return texts
    numeric = texts.str.extract(_NUMERIC)
    short = numeric[0].notna().to_numpy(bool)
    year_first = texts.str.extract(_YEAR_FIRST)
    long = year_first[0].notna().to_numpy(bool)
    if short.any() and long.any():
        raise InputError(
            f"{named} has dates in more than one format, such as {texts[long].iloc[0]!r} and "
            f"{texts[short].iloc[0]!r}",
            "one format a column",
            "write them in one, or set data.timestamp_format to the one that counts",
        )
    if long.any():
        parts = year_first[long]
        texts = texts.copy()
        texts[long] = _joined(parts[0], parts[1], parts[2], parts[3])
    if short.any():
        parts = numeric[short]
        order = style or _order(parts, texts[short], named)
        places = {letter: (0, 2, 3)[place] for place, letter in enumerate(order)}
        year = parts[places["y"]]
        # As POSIX has it: 69 to 99 are of the last century.
        century = pd.Series(np.where(year.astype(int) < 69, "20", "19"), year.index, dtype="string")
        year = year.where(year.str.len() == 4, century + year.str.zfill(2))
        texts = texts.copy()
        texts[short] = _joined(year, parts[places["m"]], parts[places["d"]], parts[4])
    return texts


def _joined(year: pd.Series, month: pd.Series, day: pd.Series, rest: pd.Series) -> pd.Series:
    date = year + "-" + month.str.zfill(2) + "-" + day.str.zfill(2)
    time = rest.fillna("")
    return date + time.where(time == "", " " + time)


def _order(parts: pd.DataFrame, texts: pd.Series, named: str) -> str:
    """Which of day, month and year comes first, by all dates of a column."""
    first, second, third = (parts[place].astype(int).to_numpy() for place in (0, 2, 3))
    two_digits = bool((parts[3].str.len() == 2).all())
    possible: dict[str, BoolArray] = {
        "dmy": (second <= 12) & (first <= 31),
        "mdy": (first <= 12) & (second <= 31),
    }
    if two_digits and not (parts[1] == "/").all():
        possible["ymd"] = (second <= 12) & (third <= 31)
    # What is a date in no way does not say how the others are written.
    dates = np.logical_or.reduce(list(possible.values()))
    fitting = [order for order, fits in possible.items() if fits[dates].all()]
    if (parts[1] == ".").all() and "dmy" in fitting:
        return "dmy"
    if "dmy" in fitting and (first == second)[dates].all() and not two_digits:
        return "dmy"
    if len(fitting) == 1:
        return fitting[0]
    if not fitting:
        one = texts[possible["dmy"] & ~possible["mdy"]].iloc[0]
        other = texts[possible["mdy"] & ~possible["dmy"]].iloc[0]
        raise InputError(
            f"{named} has dates with the day first and with the month first, such as {one!r} and "
            f"{other!r}",
            "one format a column",
            "write them in one format, or set data.timestamp_format to the one that counts",
        )
    raise InputError(
        f"{named} has dates such as {texts.iloc[0]!r}, in which day and month cannot be told apart",
        "dates of which some have a day above 12, or their format",
        'set data.timestamp_format = "dmy" or "mdy" (or "%d/%m/%y")',
    )
