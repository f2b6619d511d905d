"""Storage: what disks and folders refuse, said in one line with what to do."""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from recsys.base.errors import StorageError

FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}
FORBIDDEN = {errno.EACCES, errno.EPERM, errno.EROFS}
# What writers that do not pass the system's number on say instead: NumPy, SQLite.
FULL_SAID = ("database or disk is full", "No space left on device", "requested and")
FORBIDDEN_SAID = (
    "readonly database", "unable to open database file", "disk I/O error",
    "Permission denied", "Read-only file system",
)  # fmt: skip


@contextmanager
def storage_errors(what: str, folder: Path) -> Iterator[None]:
    """Have a disk that is full, or a folder that may not be written to, said as such.

    Parameters
    ----------
    what : str
        What is written, as in "the stage tune".
    folder : Path
        Where; a refusal concerning another place passes through as it is.

    Raises
    ------
    StorageError
    """
    try:
        yield
    except OSError as fault:
        if found := as_storage_error(fault, what, folder):
            raise found from fault
        raise


def as_storage_error(fault: BaseException, what: str, folder: Path | str) -> StorageError | None:
    """A disk's or folder's refusal as an error; None if the fault is another one."""
    number = getattr(fault, "errno", None)
    text = str(fault)
    if number in FULL or any(said in text for said in FULL_SAID):
        action = "free some space"
    elif (number in FORBIDDEN and _inside(fault, folder)) or (
        number is None and any(said in text for said in FORBIDDEN_SAID)
    ):
        action = "mend the rights of the folder or its mount"
    else:
        return None
    said = next((said for said in (*FULL_SAID, *FORBIDDEN_SAID) if said in text), text[:200])
    reason = getattr(fault, "strerror", None) or said
    return StorageError(
        f"{what} cannot be written to {folder} ({reason})",
        "room, and the right to write there",
        f"{action} and run again: what was finished is kept",
    )


def _inside(fault: BaseException, folder: Path | str) -> bool:
    """Whether a refusal is about the folder or something in it; always, where that is an address.

    What a tracking address is asked to write, it writes where it likes.
    """
    name = getattr(fault, "filename", None)
    if name is None or "://" in str(folder):
        return True
    path, root = Path(str(name)).absolute(), Path(folder).absolute()
    return path == root or root in path.parents or path in root.parents
