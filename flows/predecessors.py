"""Predecessors: runs whose process died without a word are said to have crashed.

Prefect hears of a killed process only if a worker watched it; otherwise its run stays in the state
Running for good. Here every run holds a lock as long as its process lives. A lock that is free
belongs to a run that is over, and the next run on the same machine (or shared file system) says so.
"""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any
from uuid import UUID

from prefect.client.orchestration import get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from recsys.store.locks import Lock, try_lock

FOLDER = ".runs"  # of locks, in the folder for products
FORGOTTEN = 30 * 86_400  # seconds after which a run that no server knows is nobody's business
UNFINISHED = {StateType.RUNNING, StateType.CANCELLING, StateType.PENDING}

_held: dict[UUID, Lock] = {}


def begun(flow: Any, flow_run: FlowRun, state: Any) -> None:
    """Hold the lock of this run; tell of those that ended without a word (for `on_running`)."""
    config = flow_run.parameters["config"]
    storage = config["storage"] if isinstance(config, dict) else config.storage
    interim = storage["interim"] if isinstance(storage, dict) else storage.interim
    folder = Path(interim) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    if flow_run.id not in _held:
        # Locked before it has its name, so that nobody finds it free.
        lock = try_lock(folder / f"{flow_run.id}.new")
        assert lock is not None, "a new run's lock is its own"
        _held[flow_run.id] = lock.rename(folder / f"{flow_run.id}.lock")
    own = _held[flow_run.id].path
    for path in folder.glob("*.lock"):
        if path != own:
            _look(path)


def over(flow: Any, flow_run: FlowRun, state: Any) -> None:
    """Release this run's lock (for the hooks of every end)."""
    if flow_run.id in _held:
        _held.pop(flow_run.id).release()


def _look(path: Path) -> None:
    """Say that the run of a lock has crashed, if the lock is free."""
    lock = try_lock(path)
    if lock is None:  # its process lives
        return
    old = time.time() - path.stat().st_mtime > FORGOTTEN
    # Where locks keep nobody out, a free one says nothing of its run.
    known = lock.exclusive and _told(UUID(path.stem))
    # One of another server is kept: there it may be asked for some day.
    lock.release(remove=known or old)


def _told(run_id: UUID) -> bool:
    """Say that a run has crashed, if it is not known to have ended; False if it is not known."""
    with get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(run_id).state
        except ObjectNotFound:
            return False
        if state is not None and state.type in UNFINISHED:
            crashed: Any = Crashed(message="its process was gone when the next run began")
            client.set_flow_run_state(run_id, crashed, force=True)
    return True


# What a flow is given so that its runs are told from dead ones, however they end.
HOOKS: dict[str, Any] = {
    "on_running": [begun],
    "on_completion": [over],
    "on_failure": [over],
    "on_crashed": [over],
    "on_cancellation": [over],
}
