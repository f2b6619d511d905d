"""Deploy: the deployments of prefect.yaml, and what that file cannot express.

That is the work pool, a limit of one run at a time in each of its queues, and automations that end
runs which are late or silent. Everything is created or updated, so it can be repeated.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.objects import StateType
from prefect.events import AutomationCore, EventTrigger, Posture, ResourceSpecification
from prefect.events.actions import CancelFlowRun, ChangeFlowRunState
from prefect.exceptions import ObjectNotFound

from flows.prefect_api import reached
from flows.state_names import HELD, SHRUNKEN, STAGE_FAILED
from recsys.base.errors import ConfigError

FILE = "prefect.yaml"
# What this module reads of each deployment; the rest is for Prefect to refuse.
PARTS = (("name",), ("entrypoint",), ("work_pool", "name"))
TAG = "recsys"  # of every deployment, by which the automations know their runs
LATE = timedelta(hours=1)
# Three heartbeats at the frequency that prefect.yaml sets.
SILENT = timedelta(seconds=90)
OVER = [
    "Completed",
    "Failed",
    "Cancelled",
    "Crashed",
    "TimedOut",
    HELD,
    SHRUNKEN,
    STAGE_FAILED,
]


def deploy(folder: Path, address: str | None = None) -> list[str]:
    """Register the deployments, their work pools, queues and automations on the Prefect server.

    Parameters
    ----------
    folder : Path
        The project's, where prefect.yaml is; workers go to it first.
    address : str or None
        Of the server's API; by default see `flows.prefect_api.reached`.

    Returns
    -------
    list of str
        What was deployed: FLOW/NAME.

    Raises
    ------
    ConfigError
        If there is no prefect.yaml, or it is not accepted.
    RegistryError
        If no server answers.
    """
    wanted = _read(folder)
    with reached(address) as address, get_client(sync_client=True) as client:
        for pool in {entry["work_pool"]["name"] for entry in wanted}:
            _pool(client, pool)
        _run(folder, address)
        for pool, queue in {
            (entry["work_pool"]["name"], entry["work_pool"].get("work_queue_name"))
            for entry in wanted
        }:
            if queue:
                found = client.read_work_queue_by_name(queue, pool)
                client.update_work_queue(found.id, concurrency_limit=1)
        for automation in automations():
            _automate(client, automation)
    return [f"{Path(e['entrypoint']).stem.partition('.')[0]}/{e['name']}" for e in wanted]


def _read(folder: Path) -> list[dict[str, Any]]:
    path = folder / FILE
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as fault:
        raise _unusable(path, f"cannot be read ({str(fault).splitlines()[0]})") from fault
    found = content.get("deployments") if isinstance(content, dict) else None
    if not isinstance(found, list) or not found:
        raise _unusable(path, "has no list of deployments")
    for number, entry in enumerate(found, start=1):
        if missing := [part for part in PARTS if not _part(entry, part)]:
            name = _part(entry, ("name",)) or f"number {number}"
            parts = ", ".join(".".join(part) for part in missing)
            raise _unusable(path, f"has a deployment {name} without {parts}")
    return found


def _part(entry: Any, path: Sequence[str]) -> Any:
    """What stands in nested mappings under these names; None where there is nothing."""
    for name in path:
        entry = entry.get(name) if isinstance(entry, dict) else None
    return entry


def _unusable(path: Path, found: str) -> ConfigError:
    return ConfigError(
        f"{path} {found}",
        "the project's deployments, each with a name, an entrypoint and a work pool",
        "go to the project's folder, or fix the file",
    )


def _pool(client: SyncPrefectClient, name: str) -> None:
    try:
        client.read_work_pool(name)
    except ObjectNotFound:
        client.create_work_pool(WorkPoolCreate(name=name, type="process"))


def _run(folder: Path, address: str) -> None:
    """Run Prefect's own command, which supports everything that the file may hold."""
    command = [sys.executable, "-m", "prefect", "--no-prompt", "deploy", "--all"]
    # PWD, which the file names, is the shell's and not that of `cwd`.
    variables = {**os.environ, "PREFECT_API_URL": address, "PWD": str(folder.resolve())}
    done = subprocess.run(  # noqa: S603
        command, cwd=folder, env=variables, capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise ConfigError(
            f"prefect deploy refused {folder / FILE}:\n{done.stdout}{done.stderr}",
            "deployments that Prefect accepts",
            "fix the file",
        )


def automations(
    tag: str = TAG, late_after: timedelta = LATE, silent_after: timedelta = SILENT
) -> list[AutomationCore]:
    """Automations that end runs with this tag which no worker takes, or which send no heartbeat."""
    ours = ResourceSpecification.model_validate(
        {"prefect.resource.id": f"prefect.tag.{tag}", "prefect.resource.role": "tag"}
    )
    runs = ResourceSpecification.model_validate({"prefect.resource.id": "prefect.flow-run.*"})
    each = {"prefect.resource.id"}
    late = EventTrigger(
        match=runs,
        match_related=ours,
        for_each=each,
        after={"prefect.flow-run.Late"},
        expect={
            "prefect.flow-run.Pending",
            "prefect.flow-run.Running",
            "prefect.flow-run.Cancelled",
        },
        posture=Posture.Proactive,
        threshold=1,
        within=late_after,
    )
    silent = EventTrigger(
        match=runs,
        match_related=ours,
        for_each=each,
        after={"prefect.flow-run.heartbeat"},
        expect={"prefect.flow-run.heartbeat", *(f"prefect.flow-run.{name}" for name in OVER)},
        posture=Posture.Proactive,
        threshold=1,
        within=silent_after,
    )
    return [
        AutomationCore(
            name=f"{tag}: late runs are cancelled",
            description=f"A run that no worker took for {late_after} makes room for the next one.",
            tags=[tag],
            trigger=late,
            actions=[CancelFlowRun()],
        ),
        AutomationCore(
            name=f"{tag}: silent runs have crashed",
            description="A run whose process was killed would stay Running, and its queue full.",
            tags=[tag],
            trigger=silent,
            actions=[
                ChangeFlowRunState(
                    state=StateType.CRASHED,
                    message=f"no sign of life for {silent_after.seconds} seconds",
                )
            ],
        ),
    ]


def _automate(client: SyncPrefectClient, wanted: AutomationCore) -> None:
    found = client.read_automations_by_name(wanted.name)
    if found:
        client.update_automation(found[0].id, wanted)
    else:
        client.create_automation(wanted)
