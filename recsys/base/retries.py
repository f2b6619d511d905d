"""Outages: a server that does not answer is asked again, for as long as patience lasts."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from recsys.base.events import Note, emit

T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10.0  # seconds; each pause is twice the one before


def pauses(patience: float) -> Iterator[float]:
    """Seconds to wait between attempts; their sum is the patience."""
    pause, left = FIRST_PAUSE, patience
    while left > 0:
        yield min(pause, left)
        left -= pause
        pause = min(2 * pause, LONGEST_PAUSE)


def retry(
    call: Callable[[], T], is_outage: Callable[[Exception], bool], patience: float, who: str
) -> T:
    """Call until it answers; what is raised then, or is no outage, is passed on.

    Parameters
    ----------
    call : callable
        Safe to be made again after an attempt whose answer got lost.
    is_outage : callable
        Whether a fault may pass by itself.
    patience : float
        Seconds of waiting between the first attempt and the last; what the attempts themselves
        take comes on top.
    who : str
        Does not answer, as it is told to those who watch.
    """
    for attempt, pause in enumerate(pauses(patience)):
        try:
            return call()
        except Exception as fault:
            if not is_outage(fault):
                raise
        if attempt == 0:
            emit(Note(f"{who} does not answer; asking again for {patience:g} seconds"))
        time.sleep(pause)
    return call()
