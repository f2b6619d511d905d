"""Locks: one process at a time; the system releases them when their holder dies, however.

Why this is not a library's: docs/experiments/libraries.md.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

# What a file system says if another process holds the lock; NFS may say the latter.
HELD = {errno.EAGAIN, errno.EWOULDBLOCK, errno.EACCES}


@dataclass(frozen=True)
class Lock:
    """A lock that this process holds.

    Parameters
    ----------
    path : Path
        The file that stands for it.
    handle : int
        The open file that the system locks; it releases the lock when the file is closed.
    exclusive : bool
        Whether the lock keeps others out. False on a file system without locks, where anybody
        gets it at any time, so that getting it says nothing about others.
    """

    path: Path
    handle: int
    exclusive: bool

    def rename(self, path: Path) -> Lock:
        """The lock under another name, held all the while."""
        self.path.rename(path)
        return replace(self, path=path)

    def release(self, *, remove: bool = True) -> None:
        """Release the lock and, unless `remove` is False, remove its file."""
        if remove:
            # While it is held, so that no lock but this one is removed.
            with suppress(OSError):
                self.path.unlink()
        os.close(self.handle)


@contextmanager
def locked(
    path: Path, waiting: Callable[[], None] | None = None, *, keep: bool = False
) -> Iterator[None]:
    """Hold a lock during the block; waits until it is free.

    Processes and threads exclude one another. A file that a killed process left is taken over. On
    a file system without locks nobody is excluded.

    Parameters
    ----------
    path : Path
        The lock's file, in a folder that exists. It is made if it is not there.
    waiting : callable or None
        Called once if another process holds the lock.
    keep : bool
        Whether the file stays when the lock is released.

    Raises
    ------
    OSError
        If the file cannot be made.
    """
    lock = try_lock(path)
    if lock is None:
        if waiting is not None:
            waiting()
        lock = _acquire(path, fcntl.LOCK_EX)
        assert lock is not None, "waiting ends with the lock"
    try:
        yield
    finally:
        lock.release(remove=not keep)


def try_lock(path: Path) -> Lock | None:
    """Take a lock until it is released or this process dies; None if another process holds it.

    Parameters
    ----------
    path : Path
        The lock's file, in a folder that exists.

    Raises
    ------
    OSError
        If the file cannot be made.
    """
    return _acquire(path, fcntl.LOCK_EX | fcntl.LOCK_NB)


def _acquire(path: Path, how: int) -> Lock | None:
    while True:
        handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
        try:
            fcntl.flock(handle, how)
        except OSError as fault:
            if how & fcntl.LOCK_NB and fault.errno in HELD:
                os.close(handle)
                return None
            return Lock(path, handle, exclusive=False)
        except BaseException:
            os.close(handle)
            raise
        if _is_at(handle, path):
            return Lock(path, handle, exclusive=True)
        # The holder before removed the file: what was locked is no longer what the path names.
        os.close(handle)


def _is_at(handle: int, path: Path) -> bool:
    """Whether an open file is the one that a path names."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False
