"""A real Prefect worker that runs the training flow, in a folder, as a deployment."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path
from uuid import UUID

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.exceptions import ObjectAlreadyExists
from prefect.settings import PREFECT_API_URL

from flows.train import train
from recsys.config import load_config
from tests.conftest import ROOT
from tests.processes import SETTINGS

POOL = "processes"


def ask_for_run(folder: Path) -> UUID:
    """Have the training of a folder scheduled for a worker; the id of the flow run."""
    with get_client(sync_client=True) as client:
        with suppress(ObjectAlreadyExists):
            client.create_work_pool(WorkPoolCreate(name=POOL, type="process"))
        deployment = client._client.post(
            "/deployments/", json=_deployment(client, folder)
        ).raise_for_status()
        made = client.create_flow_run_from_deployment(UUID(deployment.json()["id"]))
        return made.id


def _deployment(client: SyncPrefectClient, folder: Path) -> dict[str, object]:
    return {
        "name": folder.name,
        "flow_id": str(client.create_flow(train)),
        "entrypoint": "flows.train.train",
        "work_pool_name": POOL,
        "parameters": {"config": load_config(None, SETTINGS).model_dump(mode="json")},
        "job_variables": {"working_dir": str(folder), "env": {"PYTHONPATH": str(ROOT)}},
    }


def start_worker() -> subprocess.Popen[bytes]:
    """A worker that looks for runs; it ends if it is killed only."""
    command = [sys.executable, "-m", "prefect", "worker", "start", "--pool", POOL]
    variables = os.environ | {"PREFECT_API_URL": PREFECT_API_URL.value() or ""}
    return subprocess.Popen(
        [*command, "--type", "process", "--name", f"worker {os.urandom(4).hex()}"],
        env=variables | {"PREFECT_WORKER_QUERY_SECONDS": "1"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def children(pid: int) -> list[int]:
    """The processes that a process has started, and those that these have."""
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit():
            with suppress(OSError):
                # Behind the name, which is in brackets and may hold anything.
                fields = (entry / "stat").read_text().rpartition(")")[2].split()
                if int(fields[1]) == pid:
                    found += [int(entry.name), *children(int(entry.name))]
    return found


def kill(pid: int) -> None:
    with suppress(ProcessLookupError):
        os.kill(pid, signal.SIGKILL)


def alive(pid: int) -> bool:
    """Whether a process runs; one that ended and waits for its parent to ask does not."""
    try:
        return (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split())[0] != "Z"
    except OSError:
        return False


def state(run_id: UUID) -> str:
    """The name of a flow run's state."""
    with get_client(sync_client=True) as client:
        found = client.read_flow_run(run_id).state
    return found.name if found else ""


def begun(run_id: UUID, worker: subprocess.Popen[bytes]) -> None:
    """Wait until a flow run runs.

    One whose worker is killed before that has done nothing, and nobody knows what Prefect has
    become of it: it stays in the state Submitting.
    """
    while state(run_id) not in ("Running", "Completed"):
        assert worker.poll() is None
        time.sleep(0.1)
