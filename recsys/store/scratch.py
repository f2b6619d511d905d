"""Scratch folders: temporary folders that do not outlast their process, even if it is killed.

A lock beside each says that its process lives. Whoever makes one removes those of free locks first,
so that what a killed process left is gone with the next one that does the same.
"""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from recsys.store.locks import try_lock

ABANDONED_SECONDS = 24 * 3600
"""Age at which a folder is removed where no lock says whether its process lives."""
_LOCK = ".lock"


@contextmanager
def scratch_folder(
    parent: Path,
    prefix: str,
    *,
    pattern: str | None = None,
    abandon: Callable[[str], object] = lambda name: None,
) -> Iterator[Path]:
    """Make an empty folder that is removed in the end, with those that killed processes left.

    Parameters
    ----------
    parent : Path
        A folder that exists.
    prefix : str
        Of its name.
    pattern : str or None
        Of the names of all scratch folders there; by default they have the same prefix.
    abandon : callable
        Called with the name of each folder whose process was killed, before it is removed.

    Raises
    ------
    OSError
        If it cannot be made.
    """
    _remove_abandoned(parent, pattern or f"{prefix}*", abandon)
    path = parent / f"{prefix}{uuid.uuid4().hex[:12]}"
    # Before the folder, so that nobody finds it without; a file system without locks has others.
    lock = try_lock(path.with_name(path.name + _LOCK))
    assert lock is not None, "a new name's lock is its own"
    try:
        path.mkdir(mode=0o700)
        yield path
    finally:
        shutil.rmtree(path, ignore_errors=True)
        lock.release()


def _remove_abandoned(
    parent: Path, pattern: str, abandon: Callable[[str], object] = lambda name: None
) -> None:
    """Remove the scratch folders of processes that are gone, and locks that nobody holds."""
    for path in parent.glob(f"{pattern}{_LOCK}"):
        folder = path.with_name(path.name.removesuffix(_LOCK))
        if not _is_own(path) or (lock := try_lock(path)) is None:
            continue
        gone = False
        try:
            if lock.exclusive or _is_old(path):
                abandon(folder.name)
                shutil.rmtree(folder, ignore_errors=True)
                gone = True
        finally:
            lock.release(remove=gone)
    for folder in parent.glob(pattern):
        known = folder.with_name(folder.name + _LOCK).exists()
        if folder.is_dir() and not known and _is_old(folder):
            shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def own_temporary_folder(*, inherited: bool = True) -> Iterator[None]:
    """Have all temporary files of this process, and of those that it starts, in one scratch folder.

    MLflow and Prefect make folders of their own, which stay if their process is killed. It is for
    programs: whoever calls a function has files of their own in the folder that was set before.

    Parameters
    ----------
    inherited : bool
        False: processes that are started inside have the folder that was set before. They may
        outlast this one, whose folder is removed then.
    """
    outer, named = tempfile.gettempdir(), os.environ.get("TMPDIR")
    prefix = f"recsys-{os.getuid()}-"
    with scratch_folder(Path(outer), prefix) as folder:
        tempfile.tempdir = str(folder)
        if inherited:
            os.environ["TMPDIR"] = str(folder)
        try:
            yield
        finally:
            tempfile.tempdir = outer
            if named is None:
                os.environ.pop("TMPDIR", None)
            else:
                os.environ["TMPDIR"] = named
    # Once more, for one that was killed just before this began: the system keeps its lock until
    # the last of its threads has ended, which may wait for a disk.
    _remove_abandoned(Path(outer), f"{prefix}*")


def _is_own(path: Path) -> bool:
    """Whether it is a file of this user: others write to the system's temporary folder as well."""
    try:
        found = path.lstat()
    except OSError:
        return False
    return stat.S_ISREG(found.st_mode) and found.st_uid == os.getuid()


def _is_old(path: Path) -> bool:
    with suppress(OSError):
        return time.time() - path.lstat().st_mtime > ABANDONED_SECONDS
    return False
