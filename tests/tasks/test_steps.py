"""Steps that change other systems as Prefect tasks: run every time, with events."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import pytest
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.context import FlowRunContext

from recsys.base.errors import RegistryError
from recsys.base.events import Event, StageDone, StageStarted, listening
from tasks.steps import step_task


@dataclass(frozen=True)
class Moved:
    """What a step has done."""

    to: str
    reused: bool

    def counts(self) -> dict[str, Any]:
        return {"to": self.to}


def task_runs(run_id: UUID) -> list[tuple[str, str]]:
    """Names and states of a flow run's tasks, as soon as they have arrived."""
    chosen = FlowRunFilter(id=FlowRunFilterId(any_=[run_id]))
    with get_client(sync_client=True) as client:
        for _ in range(100):
            found = client.read_task_runs(flow_run_filter=chosen)
            if found and all(run.state_type and run.state_type.value != "RUNNING" for run in found):
                return [(run.name, str(run.state_type.value)) for run in found]
            time.sleep(0.1)
    raise AssertionError("no task run has arrived")


def test_a_step_is_made_every_time_and_told(tmp_path: object) -> None:
    done: list[str] = []

    def move(to: str) -> Moved:
        done.append(to)
        return Moved(to, reused=len(done) > 1)

    step = step_task("move", move)
    runs: list[UUID] = []

    @flow(name="moving")
    def moving() -> Moved:
        context = FlowRunContext.get()
        assert context is not None
        assert context.flow_run is not None
        runs.append(context.flow_run.id)
        return step("champion")

    events: list[Event] = []
    with listening(events.append):
        assert (moving(), moving()) == (Moved("champion", False), Moved("champion", True))
    assert done == ["champion"] * 2
    kinds = [type(event) for event in events]
    assert kinds == [StageStarted, StageDone] * 2
    ended = [event for event in events if isinstance(event, StageDone)]
    assert [(e.stage, e.reused, e.counts) for e in ended] == [
        ("move", False, {"to": "champion"}), ("move", True, {"to": "champion"}),
    ]  # fmt: skip
    for run_id in runs:
        assert task_runs(run_id) == [("move", "COMPLETED")]


def test_a_step_that_fails_is_not_tried_again() -> None:
    done: list[str] = []

    def move(to: str) -> Moved:
        done.append(to)
        raise RegistryError("no registry", "one", "start it")

    step = step_task("move", move)
    with pytest.raises(RegistryError, match="start it"):
        flow(name="moving")(lambda: step("champion"))()
    assert done == ["champion"]
