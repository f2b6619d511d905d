"""Storage errors: a full disk or a forbidden folder, as one line with what to do."""

from __future__ import annotations

import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recsys.base.errors import StorageError

_SQLITE = "sqlite:///"
FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
# Messages of NumPy and SQLite, which do not pass on the system's error number.
FULL_MESSAGES = ("database or disk is full", "No space left on device", "requested and")
FORBIDDEN_MESSAGES = (
    "readonly database", "unable to open database file", "disk I/O error",
    "Permission denied", "Read-only file system",
)  # fmt: skip


@contextmanager
def storage_errors(what: str, folder: Path) -> Iterator[None]:
    """Raise a `StorageError` when a disk is full or a folder may not be written to.

    Parameters
    ----------
    what : str
        What is written, as in "the stage tune".
    folder : Path
        Where it is written; errors about other places are raised unchanged.

    Raises
    ------
    StorageError
        If the disk is full or the folder is not writable.
    """
    try:
        yield
    except OSError as fault:
        if found := as_storage_error(fault, what, folder):
            raise found from fault
        raise


def as_storage_error(
    fault: BaseException, what: str, folder: Path | str, *, copied: bool = False
) -> StorageError | None:
    """The storage error behind an exception; None if it has another cause.

    Parameters
    ----------
    fault : BaseException
        Of the system, NumPy, SQLite or what wraps them.
    what : str
        What was written, as in "the stage tune".
    folder : Path or str
        Where it was written; a folder or an address.
    copied : bool
        Whether what is written is made in the system's temporary folder first, as MLflow does it:
        the error names that folder if its disk is the full one.
    """
    number = getattr(fault, "errno", None)
    text = str(fault)
    if number in FULL or any(message in text for message in FULL_MESSAGES):
        action = "free some space"
    elif (number in FORBIDDEN and _inside(fault, folder)) or (
        number is None and any(message in text for message in FORBIDDEN_MESSAGES)
    ):
        action = "correct the permissions of the folder or its mount"
    else:
        return None
    known = (*FULL_MESSAGES, *FORBIDDEN_MESSAGES)
    message = next((message for message in known if message in text), text[:200])
    reason = getattr(fault, "strerror", None) or message
    copied = copied and (number == errno.ENOSPC or os.strerror(errno.ENOSPC) in text)
    temporary = _full_temporary_folder(fault, folder) if copied else None
    return StorageError(
        f"{what} cannot be written to {folder} ({reason})"
        if temporary is None
        else f"temporary files, for {what}, cannot be written to {temporary} ({reason})",
        "free space and permission to write there",
        f"{action} and run again: what was finished is kept",
    )


def _full_temporary_folder(fault: BaseException, folder: Path | str) -> Path | None:
    """The system's temporary folder, if its disk is the full one; None if it is another.

    An error that names no file says of no disk that it is full, so it is the one with less room.
    """
    temporary = _existing(Path(tempfile.gettempdir()))
    address = str(folder).removeprefix(_SQLITE)
    there = None if "://" in address else _existing(Path(address))
    if there is not None and there.stat().st_dev == temporary.stat().st_dev:
        return None
    name = getattr(fault, "filename", None)
    if name is not None:
        on = _existing(Path(os.fsdecode(name)))
        return temporary if on.stat().st_dev == temporary.stat().st_dev else None
    room = shutil.disk_usage(temporary).free
    return temporary if there is None or room < shutil.disk_usage(there).free else None


def _existing(path: Path) -> Path:
    """A path, or the folder above it that there is: what was unfinished may be removed already."""
    path = path.absolute()
    return next(one for one in (path, *path.parents) if one.exists())


def _inside(fault: BaseException, folder: Path | str) -> bool:
    """Whether an error is about the folder or something in it.

    True for any error if the folder is an address: a tracking server stores files elsewhere.
    """
    name = getattr(fault, "filename", None)
    if name is None or "://" in str(folder):
        return True
    path, root = Path(str(name)).absolute(), Path(folder).absolute()
    return path == root or root in path.parents or path in root.parents
