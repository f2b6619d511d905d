"""Retries: a call to a server that does not answer is repeated, with growing pauses.

Why this is not a library's: docs/experiments/libraries.md.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import TypeVar

from recsys.base.events import Note, emit

T = TypeVar("T")
FIRST_PAUSE, LONGEST_PAUSE = 0.25, 10.0  # seconds; every pause doubles


def pauses(patience: float) -> Iterator[float]:
    """Seconds of waiting between attempts; they add up to `patience`."""
    pause, left = FIRST_PAUSE, patience
    while left > 0:
        yield min(pause, left)
        left -= pause
        pause = min(2 * pause, LONGEST_PAUSE)


def retry(
    call: Callable[[], T], is_outage: Callable[[Exception], bool], patience: float, who: str
) -> T:
    """Call until there is an answer, or no patience left.

    Parameters
    ----------
    call : callable
        Must be safe to repeat after an attempt whose answer was lost.
    is_outage : callable
        Whether an exception may be temporary.
    patience : float
        Seconds of waiting between the first attempt and the last; the duration of the attempts
        themselves does not count.
    who : str
        Name of the server, for messages.

    Returns
    -------
    T
        What the call returns.

    Raises
    ------
    Exception
        That of the last attempt, or the first one that is no outage.
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
