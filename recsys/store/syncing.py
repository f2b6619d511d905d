"""Syncing: files and folders are on disk before their names can be seen."""

from __future__ import annotations

import os
from pathlib import Path


def sync(path: Path) -> None:
    """Make sure that a file, or the names in a folder, are on disk.

    Raises
    ------
    OSError
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
