"""Watched files: what a file says, read again when the file changes."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Generic, TypeVar

from recsys.base.errors import RecsysError

T = TypeVar("T")
_log = logging.getLogger(__name__)


class Watched(Generic[T]):
    """The content of a file, read again when the file changes.

    A file that cannot be read any more changes nothing: what it said last stays, and the log says
    so once.

    Parameters
    ----------
    path : str or Path
    read : callable
        From the path to the content.
    subject : str
        What the file is about, for the log.

    Raises
    ------
    InputError, NotFoundError
        If it cannot be read to begin with.
    """

    def __init__(self, path: str | Path, read: Callable[[Path], T], subject: str) -> None:
        self._path, self._read, self._subject = Path(path), read, subject
        self._lock = threading.Lock()
        self._seen = self._stamp()
        self._content = read(self._path)

    def current(self) -> T:
        """What it says now."""
        stamp = self._stamp()
        if stamp != self._seen and self._lock.acquire(blocking=False):
            try:
                self._seen = stamp
                self._content = self._read(self._path)
            except RecsysError as fault:
                _log.warning("%s as before: %s", self._subject, fault)
            finally:
                self._lock.release()
        return self._content

    def _stamp(self) -> tuple[int, ...]:
        try:
            found = self._path.stat()
        except OSError:
            return ()
        return found.st_mtime_ns, found.st_size, found.st_ino
