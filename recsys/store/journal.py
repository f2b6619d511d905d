"""Journal: results on disk, one line of JSON each, before they are sent anywhere."""

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
        Created with the first entry, and so is its folder.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self) -> list[dict[str, Any]]:
        """The entries up to the first damaged one, which is the last if its writer was killed.

        The rest of the file is cut off, so that new entries follow the valid ones.
        """
        try:
            content = self.path.read_bytes()
        except FileNotFoundError:
            return []
        found: list[dict[str, Any]] = []
        valid = 0
        for line in content.splitlines(keepends=True):
            entry = _entry(line)
            if entry is None:
                break
            found.append(entry)
            valid += len(line)
        if valid < len(content):
            with storage_errors("the journal", self.path.parent):
                os.truncate(self.path, valid)
        return found

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write an entry, and wait until it is on disk.

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
                    # On a full disk a part may be written without an error.
                    os.ftruncate(handle, before)
                    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(self.path))
                os.fsync(handle)
            finally:
                os.close(handle)

    def remove(self) -> None:
        """Delete the file."""
        self.path.unlink(missing_ok=True)


def _sum(text: bytes) -> str:
    return hashlib.blake2b(text, digest_size=SUM // 2).hexdigest()


def _entry(line: bytes) -> dict[str, Any] | None:
    """The entry of a line; None if its checksum is wrong."""
    text = line[SUM + 1 : -1]
    if line != f"{_sum(text)} ".encode() + text + b"\n":
        return None
    entry: dict[str, Any] = json.loads(text)
    return entry
