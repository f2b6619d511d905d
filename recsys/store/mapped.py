"""Mapped arrays: arrays in files without a name, of which memory holds what is being used.

What was used last stays in memory as long as nothing else needs it, like any part of a file.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

import numpy as np

from recsys.base.arrays import Float32Array
from recsys.base.disk import storage_errors


def mapped_zeros(folder: Path, rows: int, columns: int) -> Float32Array:
    """Zeros in a file, float32 (rows, columns), that the system removes when nobody uses them.

    Parameters
    ----------
    folder : Path
        On a disk with room for all of them.
    rows, columns : int

    Raises
    ------
    StorageError
        If the disk has not that much room.
    """
    size = 4 * rows * columns
    if not size:
        return np.zeros((rows, columns), np.float32)
    what = "the vectors of all users"
    with storage_errors(what, folder), tempfile.TemporaryFile(dir=folder) as file:
        file.truncate(size)
        if hasattr(os, "posix_fallocate"):
            # A disk that is full later on would end the process, so the room is taken here.
            os.posix_fallocate(file.fileno(), 0, size)
        return np.asarray(np.memmap(file, np.float32, "r+", shape=(rows, columns)))
