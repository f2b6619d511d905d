"""Cores: how many threads a computation may use beside the others of this process."""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_most: ContextVar[int | None] = ContextVar("most threads", default=None)
_here = threading.local()
_lock = threading.Lock()
_sharing = 0  # computations that take an equal share of the processors
_taken = 0  # processors of those that have a number of their own


def available() -> int:
    """How many processors this process may run on."""
    if hasattr(os, "sched_getaffinity"):  # not on macOS
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@contextmanager
def at_most(threads: int) -> Iterator[None]:
    """Within it, `shared` gives computations of this thread no more than so many threads.

    For one of several processes of a machine, which do not know of one another.
    """
    token = _most.set(threads)
    try:
        yield
    finally:
        _most.reset(token)


@contextmanager
def shared(threads: int | None = None) -> Iterator[Callable[[], int]]:
    """Take part in sharing the processors, for a computation whose result no thread changes.

    Parameters
    ----------
    threads : int or None
        Just so many; None for an equal share of the processors that these leave.

    Yields
    ------
    callable
        How many threads there are at the moment, at least one: more once others have ended.
    """
    global _sharing, _taken
    most = _most.get()
    shares, own = (1, 0) if threads is None else (0, threads)
    with _lock:
        _sharing += shares
        _taken += own

    def now() -> int:
        if threads is not None:
            return threads
        free = max(1, (available() - _taken) // max(1, _sharing))
        return free if most is None else min(free, most)

    try:
        yield now
    finally:
        with _lock:
            _sharing -= shares
            _taken -= own


def cpu_seconds() -> float:
    """CPU seconds of this thread and of those that worked for it, see `add_seconds`."""
    return time.thread_time() + getattr(_here, "seconds", 0.0)


def add_seconds(seconds: float) -> None:
    """Count CPU seconds of threads that worked for this one."""
    _here.seconds = getattr(_here, "seconds", 0.0) + seconds
