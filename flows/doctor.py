"""Doctor: the check-up of an installation, its Prefect server and its schedule included."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from uuid import UUID

from flows.deploy import STUCK, TAG, automations
from flows.prefect_api import VARIABLE, configured, reached
from flows.prefect_database import check_prefect_database
from recsys.base.config import Config
from recsys.pipeline.checkup import Finding, check_up, examined

HEARD = timedelta(minutes=2)  # since a worker was heard of; it says so every half minute
_DEPLOY = "deploy (recsys deploy)"


def examine(config: Config) -> Iterator[Finding]:
    """Look at everything that a night needs, one finding a piece.

    Parameters
    ----------
    config : Config
    """
    yield from check_up(config)
    address = os.environ.get(VARIABLE) or configured()
    if address is None:
        yield examined("prefect", _own_server)
        yield Finding("schedule", None, "no Prefect server is set", f"make up, or set {VARIABLE}")
        return
    found = examined("prefect", lambda: _server(address))
    yield found
    if found.ok:
        yield examined("worker", lambda: _worker(address))
        yield examined("schedule", lambda: _schedule(address))
        yield examined("automations", lambda: _automations(address))


def _own_server() -> Finding:
    check_prefect_database()
    return Finding("prefect", True, "runs bring a server of their own")


def _server(address: str) -> Finding:
    import prefect
    from prefect.client.orchestration import get_client

    with reached(address), get_client(sync_client=True) as client:
        there = client.api_version()
    here = prefect.__version__
    if there.split(".")[:2] != here.split(".")[:2]:
        said = f"{address} is Prefect {there}, this is {here}"
        return Finding("prefect", False, said, "install the same release on both", 5)
    return Finding("prefect", True, f"{address}, Prefect {there}")


def _worker(address: str) -> Finding:
    from prefect.client.orchestration import get_client

    with reached(address), get_client(sync_client=True) as client:
        pools = sorted({str(d.work_pool_name) for d in client.read_deployments() if TAG in d.tags})
        if not pools:
            return Finding("worker", False, "nothing is deployed", _DEPLOY, 4)
        lost = []
        names = []
        for pool in pools:
            workers = client.read_workers_for_work_pool(pool)
            now = datetime.now(UTC)
            living = [
                worker.name
                for worker in workers
                if worker.last_heartbeat_time and now - worker.last_heartbeat_time < HEARD
            ]
            names += living
            lost += [] if living else [pool]
    if lost:
        action = f"start one (recsys worker --pool {lost[0]})"
        return Finding("worker", False, f"none for the pool {', '.join(lost)}", action, 5)
    return Finding("worker", True, ", ".join(names))


def _schedule(address: str) -> Finding:
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import (
        FlowRunFilter,
        FlowRunFilterState,
        FlowRunFilterStateType,
        FlowRunFilterTags,
    )
    from prefect.client.schemas.objects import StateType

    wanted = [StateType.SCHEDULED, StateType.PENDING]
    with reached(address), get_client(sync_client=True) as client:
        there = [d for d in client.read_deployments() if TAG in d.tags]
        deployments: dict[UUID | None, str] = {d.id: d.name for d in there}
        if not deployments:
            return Finding("schedule", False, "nothing is deployed", _DEPLOY, 4)
        runs = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(
                tags=FlowRunFilterTags(all_=[TAG]),
                state=FlowRunFilterState(type=FlowRunFilterStateType(any_=wanted)),
            )
        )
    now = datetime.now(UTC)
    for run in runs:
        state = run.state
        if state is None:
            continue
        if state.type is StateType.PENDING and now - state.timestamp > STUCK:
            said = f"{run.name} is stuck, {state.name} since {state.timestamp:%Y-%m-%d %H:%M} UTC"
            return Finding("schedule", False, said, _DEPLOY, 1)
        if state.name == "Late":
            said = f"{run.name} is late, no worker takes it"
            return Finding("schedule", False, said, "see the worker's log, and its queue", 1)
    following = sorted(
        (run.expected_start_time, deployments.get(run.deployment_id, run.name))
        for run in runs
        if run.expected_start_time is not None and run.expected_start_time > now
    )
    if not following:
        action = "switch a schedule on in Prefect or prefect.yaml"
        return Finding("schedule", None, "no run is scheduled", action)
    time, name = following[0]
    return Finding("schedule", True, f"next {name}, {time.astimezone(UTC):%Y-%m-%d %H:%M} UTC")


def _automations(address: str) -> Finding:
    from prefect.client.orchestration import get_client

    wrong = []
    with reached(address), get_client(sync_client=True) as client:
        for wanted in automations():
            there = client.read_automations_by_name(wanted.name)
            if not there:
                wrong.append(f"'{wanted.name}' is missing")
            elif [action.type for action in there[0].actions] != [
                action.type for action in wanted.actions
            ]:
                wrong.append(f"'{wanted.name}' does something else")
            elif not there[0].enabled:
                wrong.append(f"'{wanted.name}' is switched off")
    if wrong:
        return Finding("automations", False, ", ".join(wrong), _DEPLOY, 1)
    return Finding("automations", True, f"{len(automations())} watch over the runs")
