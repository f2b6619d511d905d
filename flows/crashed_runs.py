"""Crashed runs: flow runs whose process was killed are set to Crashed by the next run.

Prefect learns that a process was killed only where a worker watched it; otherwise its run stays in
the state Running for good. Here every run holds a lock as long as its process lives. A lock that is
free belongs to a run that has ended, and the next run on the same machine (or shared file system)
sets its state.
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
KEPT = 30 * 86_400  # seconds that the lock of a run which this server does not know is kept
UNFINISHED = {StateType.RUNNING, StateType.CANCELLING, StateType.PENDING}

_locks: dict[UUID, Lock] = {}


def on_running(flow: Any, flow_run: FlowRun, state: Any) -> None:
    """Hold the lock of this run, and set the runs of free locks to Crashed."""
    config = flow_run.parameters["config"]
    storage = config["storage"] if isinstance(config, dict) else config.storage
    interim = storage["interim"] if isinstance(storage, dict) else storage.interim
    folder = Path(interim) / FOLDER
    folder.mkdir(parents=True, exist_ok=True)
    if flow_run.id not in _locks:
        # Locked before it has its name, so that nobody finds it free.
        lock = try_lock(folder / f"{flow_run.id}.new")
        assert lock is not None, "a new run's lock is its own"
        _locks[flow_run.id] = lock.rename(folder / f"{flow_run.id}.lock")
    own = _locks[flow_run.id].path
    for path in folder.glob("*.lock"):
        if path != own:
            _check(path)


def on_end(flow: Any, flow_run: FlowRun, state: Any) -> None:
    """Release the lock of this run."""
    if flow_run.id in _locks:
        _locks.pop(flow_run.id).release()


def _check(path: Path) -> None:
    """Set the run of a lock to Crashed, if the lock is free."""
    lock = try_lock(path)
    if lock is None:  # its process lives
        return
    old = time.time() - path.stat().st_mtime > KEPT
    # Where the file system has no locks, a free one says nothing of its run.
    known = lock.exclusive and _set_crashed(UUID(path.stem))
    # The run of another server is left to the runs that report there.
    lock.release(remove=known or old)


def _set_crashed(run_id: UUID) -> bool:
    """Set a run to Crashed unless it has ended; False if the server does not know it."""
    with get_client(sync_client=True) as client:
        try:
            state = client.read_flow_run(run_id).state
        except ObjectNotFound:
            return False
        if state is not None and state.type in UNFINISHED:
            crashed: Any = Crashed(message="its process was gone when the next run began")
            client.set_flow_run_state(run_id, crashed, force=True)
    return True


# Arguments of `@flow`, so that a run holds its lock until it ends in any way.
HOOKS: dict[str, Any] = {
    "on_running": [on_running],
    "on_completion": [on_end],
    "on_failure": [on_end],
    "on_crashed": [on_end],
    "on_cancellation": [on_end],
}
