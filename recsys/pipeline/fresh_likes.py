"""Fresh likes in a run: what is read of the likes log, and what is archived at the end."""

from __future__ import annotations

from pathlib import Path

from recsys.base.errors import StorageError
from recsys.base.events import Note, emit
from recsys.data.likes_log import LikesLog, LogPosition, Snapshot
from recsys.pipeline.promotion import Decision, Ending


def read_log(file: Path | None) -> Snapshot | None:
    """What the log says at this moment; None if there is none, or it says nothing.

    Raises
    ------
    StorageError
        If it cannot be read.
    """
    said = None if file is None else LikesLog(file).snapshot()
    return said if said is not None and (said.entries or said.forgotten) else None


def archive_log(file: Path | None, reached: LogPosition | None, decision: Decision) -> int:
    """Archive what the new champion has learned; without one, everything stays fresh.

    A log that cannot be written to is said, and fails no run: the entries stay where they are.

    Parameters
    ----------
    file : Path or None
    reached : LogPosition or None
        How far the run has read the log.
    decision : Decision

    Returns
    -------
    int
        How many entries were moved.
    """
    if file is None or reached is None or decision.ending is not Ending.PROMOTED:
        return 0
    try:
        return LikesLog(file).compact(reached)
    except StorageError as fault:
        emit(Note(f"the likes log stays as long as it was: {fault}"))
        return 0
