"""Journal: what happened, a line of JSON each, on disk before anybody else hears of it."""

from __future__ import annotations

import errno
import hashlib
import json
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from recsys.base.disk import storage_errors

SUM = 16  # hex digits of a line's checksum


class Journal:
    """An append-only file of entries, each with a checksum.

    Parameters
    ----------
    path : Path
        Made with the first entry; its folder as well.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """The entries up to the first that is damaged, as the last is if its writer was killed.

        What is behind them is cut off, so that new entries follow the sound ones.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        found: list[dict[str, Any]] = []
        sound = 0
        for line in content.splitlines(keepends=True):
            entry = _entry(line)
            if entry is None:
                break
            found.append(entry)
            sound += len(line)
        if sound < len(content):
            with storage_errors("the journal", self.path.parent):
                os.truncate(self.path, sound)
        return found

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write an entry; it is on disk when this returns.

        Raises
        ------
        StorageError
            If the disk is full or may not be written to.
        """
        text = json.dumps(entry)
        line = f"{_sum(text.encode())} {text}\n".encode()
        with storage_errors("the journal", self.path.parent):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
            try:
                before = os.fstat(handle).st_size
                written = os.write(handle, line)
                if written < len(line):
                    # A full disk takes a part and refuses the rest only then.
                    os.ftruncate(handle, before)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
                os.fsync(handle)
            finally:
                os.close(handle)

    def remove(self) -> None:
        """Forget everything."""
        self.path.unlink(missing_ok=True)


def _sum(text: bytes) -> str:
    return hashlib.blake2b(text, digest_size=SUM // 2).hexdigest()


def _entry(line: bytes) -> dict[str, Any] | None:
    """The entry of a line; None if it is not as it was written."""
    text = line[SUM + 1 : -1]
    if line != f"{_sum(text)} ".encode() + text + b"\n":
        return None
    entry: dict[str, Any] = json.loads(text)
    return entry
