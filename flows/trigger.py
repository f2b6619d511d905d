"""Trigger: create a run of a deployment and wait for it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.filters import (
    DeploymentFilter,
    DeploymentFilterName,
    FlowRunFilter,
    FlowRunFilterState,
    FlowRunFilterStateType,
    WorkQueueFilter,
    WorkQueueFilterId,
)
from prefect.client.schemas.objects import FlowRun, State, StateType
from prefect.client.schemas.responses import DeploymentResponse
from prefect.exceptions import PrefectHTTPStatusError

from flows.parameters import require_no_passwords
from flows.prefect_api import reached
from flows.state_names import HELD, SHRUNKEN
from recsys.base.errors import HELD_EXIT, ConfigError, NotFoundError

POLL = 1.0  # seconds between two looks at a run
HOLDING = (StateType.PENDING, StateType.RUNNING, StateType.CANCELLING)  # a place of a queue
FAILED_EXIT, TIMEOUT_EXIT = 1, 9


@dataclass(frozen=True)
class Triggered:
    """A run that was asked for.

    Parameters
    ----------
    id, name : str
    url : str
        Its page.
    state, message : str
        When it was last looked at.
    over : bool
        Whether that is final.
    waits_for : str
        The runs that hold the places of its queue, while it waits for one; else empty.
    """

    id: str
    name: str
    url: str
    state: str
    message: str
    over: bool
    waits_for: str = ""

    @property
    def exit_code(self) -> int:
        """0 all is well or under way, 1 failed, 7 held."""
        if not self.over or self.state == "Completed":
            return 0
        return HELD_EXIT if self.state in (HELD, SHRUNKEN) else FAILED_EXIT


def trigger(
    name: str,
    parameters: Mapping[str, Any],
    *,
    wait: bool = True,
    seconds: float | None = None,
    report: Callable[[Triggered], None] = lambda _: None,
) -> Triggered:
    """Create a run of a deployment, and wait until it ends.

    Parameters
    ----------
    name : str
        Of the deployment, alone or as FLOW/NAME.
    parameters : mapping
        Dotted names of the flow's parameters ("config.search.trials"); they go before the
        deployment's own.
    wait : bool
        Until the run is over.
    seconds : float or None
        At most so long; the run itself goes on.
    report : callable
        Called with the run whenever its state has changed, or what it waits for.

    Raises
    ------
    ConfigError
        If the parameters are not those of the flow, or have a password in them.
    NotFoundError
        If there is no such deployment.
    RegistryError
        If no server answers.
    """
    require_no_passwords("--param", parameters)
    with reached(), get_client(sync_client=True) as client:
        deployment = _deployment(client, name)
        given = _merged(deployment.parameters, parameters)
        try:
            run = client.create_flow_run_from_deployment(deployment.id, parameters=given)
        except PrefectHTTPStatusError as fault:
            raise _refused(name, fault) from fault
        found = _look(run)
        report(found)
        end = None if seconds is None else time.monotonic() + seconds
        while wait and not found.over and (end is None or time.monotonic() < end):
            time.sleep(POLL)
            looked = client.read_flow_run(run.id)
            now = replace(_look(looked), waits_for=_holders(client, looked))
            if (now.state, now.waits_for) != (found.state, found.waits_for):
                report(now)
            found = now
    return found


def _deployment(client: SyncPrefectClient, name: str) -> DeploymentResponse:
    flow, _, own = name.rpartition("/")
    wanted = DeploymentFilter(name=DeploymentFilterName(any_=[own]))
    names = {
        f"{client.read_flow(found.flow_id).name}/{own}": found
        for found in client.read_deployments(deployment_filter=wanted)
    }
    matching = {n: found for n, found in names.items() if not flow or n == name}
    if len(matching) == 1:
        return next(iter(matching.values()))
    if matching:
        raise NotFoundError(
            f"several deployments are called {own}: {', '.join(sorted(matching))}",
            "one of them",
            "say which, as FLOW/NAME",
        )
    there = sorted(found.name for found in client.read_deployments())
    raise NotFoundError(
        f"no deployment {name} (there are {', '.join(there) or 'none'})",
        "a deployment",
        "check the name, or deploy it (recsys deploy)",
    )


def _merged(own: Mapping[str, Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """The deployment's parameters, with some set by dotted names."""
    values: dict[str, Any] = json.loads(json.dumps(dict(own)))
    for name, value in given.items():
        *path, last = name.split(".")
        place = values
        for part in path:
            inner = place.setdefault(part, {})
            if not isinstance(inner, dict):
                raise ConfigError(
                    f"{name} reaches into {part}, which is a value",
                    "a section",
                    "see the deployment's parameters in Prefect",
                )
            place = inner
        place[last] = value
    return values


def _refused(name: str, fault: PrefectHTTPStatusError) -> ConfigError:
    try:
        detail = fault.response.json()["detail"]
    except (ValueError, KeyError):
        detail = fault.response.text
    return ConfigError(
        f"{name}: {detail}", "parameters of the flow", "see recsys settings for their names"
    )


def _holders(client: SyncPrefectClient, run: FlowRun) -> str:
    """The runs that hold the places of the queue in which a run waits; empty if there is one."""
    waits = run.state is not None and run.state.type is StateType.SCHEDULED
    if not waits or run.work_queue_id is None:
        return ""
    limit = client.read_work_queue(run.work_queue_id).concurrency_limit
    found = client.read_flow_runs(
        flow_run_filter=FlowRunFilter(
            state=FlowRunFilterState(type=FlowRunFilterStateType(any_=list(HOLDING)))
        ),
        work_queue_filter=WorkQueueFilter(id=WorkQueueFilterId(any_=[run.work_queue_id])),
    )
    if limit is None or len(found) < limit:
        return ""
    return ", ".join(f"{held.name}, {_since(held)}" for held in found)


def _since(run: FlowRun) -> str:
    assert run.state is not None, "it was asked for by its state"
    return f"{run.state.name} since {run.state.timestamp:%Y-%m-%d %H:%M} UTC"


def _look(run: FlowRun) -> Triggered:
    from prefect.settings import PREFECT_UI_URL

    state: State[Any] | None = run.state
    url = f"{PREFECT_UI_URL.value()}/runs/flow-run/{run.id}"
    if state is None:
        return Triggered(str(run.id), run.name, url, "Pending", "", False)
    over = state.is_final() and state.type is not StateType.CANCELLING
    return Triggered(str(run.id), run.name, url, str(state.name), str(state.message or ""), over)
