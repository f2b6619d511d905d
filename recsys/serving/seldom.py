"""Seldom: warnings of what goes on failing, said once in a while and not with every request."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

EVERY = 60.0  # seconds


@dataclass
class SeldomWarnings:
    """Warnings of one kind; the first is said at once, then one in so many seconds.

    Parameters
    ----------
    log : Logger
    every : float
        Seconds.
    clock : callable
        Gives seconds.
    """

    log: logging.Logger
    every: float = EVERY
    clock: Callable[[], float] = time.monotonic
    _said: float = field(default=float("-inf"), init=False)
    _unsaid: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()

    def say(self, what: str, why: object) -> None:
        """Warn, with how many warnings were left out since the last one."""
        now = self.clock()
        with self._lock:
            if now - self._said < self.every:
                self._unsaid += 1
                return
            more = f", {self._unsaid} more since the last warning" if self._unsaid else ""
            self._said, self._unsaid = now, 0
        self.log.warning("%s%s: %s", what, more, why)
