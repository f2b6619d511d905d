"""Deploy: the deployments of prefect.yaml, and what that file cannot express.

That is the work pool, a limit of one run at a time in each of its queues, and automations that end
runs which are late, stuck before they began, or silent. Everything is created or updated, so it can
be repeated.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.actions import WorkPoolCreate
from prefect.client.schemas.filters import (
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    FlowRunFilterTags,
)
from prefect.client.schemas.objects import StateType
from prefect.events import AutomationCore, EventTrigger, Posture, ResourceSpecification
from prefect.events.actions import CancelFlowRun, ChangeFlowRunState
from prefect.exceptions import ObjectNotFound
from prefect.states import Crashed

from flows.alerts import Place, places, prefix, tagged
from flows.alerts import automations as alerting
from flows.parameters import require_no_passwords
from flows.prefect_api import reached
from flows.state_names import HELD, SHRUNKEN, STAGE_FAILED
from recsys.base.errors import ConfigError

FILE = "prefect.yaml"
# What this module reads of each deployment; the rest is for Prefect to refuse.
PARTS = (("name",), ("entrypoint",), ("work_pool", "name"))
TAG = "recsys"  # of every deployment, by which the automations know their runs
LATE = timedelta(hours=1)
# From being taken by a worker to its first line a run needs seconds, on a busy machine minutes.
STUCK = timedelta(minutes=10)
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
BEFORE = ["Pending", "Submitting", "InfrastructurePending"]  # of a run that a worker has taken
_FIELDS = ("name", "description", "enabled", "tags", "trigger", "actions")  # that we set
BEGUN = ["Running", "Scheduled", "AwaitingRetry", "Cancelling", "Paused"]


def deploy(
    folder: Path, address: str | None = None, alerts: Sequence[str] | None = None
) -> list[str]:
    """Register the deployments, their work pools, queues and automations on the Prefect server.

    Parameters
    ----------
    folder : Path
        The project's, where prefect.yaml is; workers go to it first.
    address : str or None
        Of the server's API; by default see `flows.prefect_api.reached`.
    alerts : sequence of str or None
        Where alerts go, see `flows.alerts.places`, and nowhere else from now on; None: where they
        go.

    Returns
    -------
    list of str
        What was deployed: FLOW/NAME.

    Raises
    ------
    ConfigError
        If there is no prefect.yaml, or it or a place for alerts is not accepted.
    RegistryError
        If no server answers.
    """
    wanted = _read(folder)
    with reached(address) as address, get_client(sync_client=True) as client:
        told = None if alerts is None else places(client, alerts)
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
        if told is not None:
            _alert(client, told)
        _end_stuck(client)
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
        require_no_passwords(f"{path}, {entry['name']}", entry.get("parameters"), "parameters")
        flow = str(entry["entrypoint"]).rpartition(":")[0]
        if flow.endswith(".py") and not (folder / flow).is_file():
            raise _unusable(path, f"has a deployment {entry['name']} of {flow}, which is not there")
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
            f"prefect deploy refused {folder / FILE} ({_last_words(done.stdout + done.stderr)})",
            "deployments that Prefect accepts",
            "fix the file; prefect --no-prompt deploy --all, there, says more",
        )


def _last_words(said: str) -> str:
    """The last line with words in it of what Prefect printed, without the frames it draws."""
    lines = [line.strip("\u2502 ") for line in said.splitlines()]
    return next(
        (line for line in reversed(lines) if any(map(str.isalpha, line))), "no reason given"
    )


def automations(
    tag: str = TAG,
    late_after: timedelta = LATE,
    silent_after: timedelta = SILENT,
    stuck_after: timedelta = STUCK,
) -> list[AutomationCore]:
    """Automations that end runs with this tag which no worker takes, begins, or hears of again."""
    ours = tagged(tag)
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
    stuck = EventTrigger(
        match=runs,
        match_related=ours,
        for_each=each,
        after={f"prefect.flow-run.{name}" for name in BEFORE},
        # Not those of BEFORE: the time counts from the first of them.
        expect={f"prefect.flow-run.{name}" for name in (*BEGUN, *OVER)},
        posture=Posture.Proactive,
        threshold=1,
        within=stuck_after,
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
            name=f"{tag}: stuck runs have crashed",
            description="A run whose worker was killed before it began would keep its queue full.",
            tags=[tag],
            trigger=stuck,
            actions=[
                ChangeFlowRunState(
                    state=StateType.CRASHED,
                    message=_not_begun(stuck_after),
                )
            ],
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


def _not_begun(time: timedelta) -> str:
    seconds = round(time.total_seconds())
    spoken = f"{seconds // 60} minutes" if seconds % 60 == 0 else f"{seconds} seconds"
    return f"taken by a worker, and not begun after {spoken}"


def _automate(client: SyncPrefectClient, wanted: AutomationCore) -> None:
    # The client sends what was set, and nothing that is a default, such as the type of an action or
    # of a trigger: to the server, an action without its type is one that does nothing.
    wanted = AutomationCore.model_validate(wanted.model_dump(mode="json", exclude_none=True))
    found = client.read_automations_by_name(wanted.name)
    if not found:
        client.create_automation(wanted)
        return
    wanted.enabled = found[0].enabled  # somebody may have switched it off
    # An update would forget which runs it is counting the time of.
    if AutomationCore.model_validate(found[0].model_dump(include=set(_FIELDS))) != wanted:
        client.update_automation(found[0].id, wanted)


def _alert(client: SyncPrefectClient, told: Sequence[Place]) -> None:
    """Have the automations of alerts be those of these places, and no others."""
    wanted = [each for place in told for each in alerting(TAG, place)]
    names = {each.name for each in wanted}
    for found in client.read_automations():
        if found.name.startswith(prefix(TAG)) and found.name not in names:
            client.delete_automation(found.id)
    for automation in wanted:
        _automate(client, automation)


def _end_stuck(client: SyncPrefectClient) -> None:
    """Set runs to Crashed that were stuck before there was an automation to see it."""
    stuck = FlowRunFilter(
        tags=FlowRunFilterTags(all_=[TAG]),
        state=FlowRunFilterState(type=FlowRunFilterStateType(any_=[StateType.PENDING])),
    )
    for run in client.read_flow_runs(flow_run_filter=stuck):
        since = run.state.timestamp if run.state is not None else None
        if since is not None and datetime.now(UTC) - since > STUCK:
            crashed: Any = Crashed(message=_not_begun(STUCK))
            client.set_flow_run_state(run.id, crashed, force=True)
