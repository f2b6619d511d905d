"""Locks: one process at a time; the system lets go of them when their holder dies, however."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


@contextmanager
def locked(path: Path, waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """Hold the lock that a path names, after whoever holds it.

    Processes and threads exclude one another. The file is there as long as the lock is held or a
    killed holder's successor has not come. On a file system without locks nobody is excluded.

    Parameters
    ----------
    path : Path
        In a folder that is there.
    waiting : callable or None
        Called once if somebody else holds it.

    Raises
    ------
    OSError
        If the file cannot be made.
    """
    held = claim(path)
    if held is None:
        if waiting is not None:
            waiting()
        held = _claim(path, fcntl.LOCK_EX)
        assert held is not None, "a lock that is waited for comes"
    try:
        yield
    finally:
        release(path, held)


def claim(path: Path) -> int | None:
    """Take a lock until `release` or the death of this process; None if somebody holds it."""
    return _claim(path, fcntl.LOCK_EX | fcntl.LOCK_NB)


def release(path: Path, held: int, *, remove: bool = True) -> None:
    """Let go of a lock, and of the file that stands for it."""
    if remove:
        # While it is held, so that nobody's lock but ours goes.
        with suppress(OSError):
            path.unlink()
    os.close(held)


def _claim(path: Path, how: int) -> int | None:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, how)
        except BlockingIOError:
            os.close(handle)
            return None
        except OSError:  # a file system that has no locks
            return handle
        except BaseException:
            os.close(handle)
            raise
        if _same(handle, path):
            return handle
        # The holder before removed the file: what was locked is no longer what the path names.
        os.close(handle)


def _same(handle: int, path: Path) -> bool:
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
