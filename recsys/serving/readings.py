"""Readings: what is read when metrics are asked for, of the version that answers and the logs."""

from __future__ import annotations

from collections.abc import Iterator

from recsys.base.errors import RecsysError
from recsys.online.online_log import OnlineLog
from recsys.serving.champion import Champion
from recsys.serving.metrics import Reading, age


def readings(champion: Champion, online: OnlineLog | None) -> Iterator[Reading]:
    """What is read when metrics are asked for: the version, its age, and how far logs lag.

    Parameters
    ----------
    champion : Champion
    online : OnlineLog or None
    """
    version, made = champion.version, champion.made
    if version is not None:
        yield Reading("version", "The version that answers, as a number.", _number(version))
    if made is not None:
        yield Reading("version_age_seconds", "Since that version was registered.", age(made) or 0.0)
    about = (
        "likes: the age of the oldest entry that no model has read; online: since the last answer "
        "was recorded."
    )
    logs = {"likes": champion.fresh, "online": online}
    for name, log in logs.items():
        if log is None:
            continue
        try:
            lag = age(log.oldest() if not isinstance(log, OnlineLog) else log.newest())
        except RecsysError:
            continue  # /ready says what is wrong with it
        yield Reading("log_lag_seconds", about, lag or 0.0, {"log": name})


def _number(version: str) -> float:
    return float(version) if version.isdecimal() else 0.0
