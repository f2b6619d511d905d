"""Runs whose process was killed are set to Crashed, and no others."""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from prefect import flow
from prefect.client.orchestration import SyncPrefectClient, get_client
from prefect.client.schemas.objects import FlowRun, StateType
from prefect.states import Running

from flows.crashed_runs import FOLDER, on_end, on_running


@flow
def empty(config: dict[str, object]) -> None:
    """A flow that has what hooks look for."""


@pytest.fixture
def client() -> Iterator[SyncPrefectClient]:
    with get_client(sync_client=True) as opened:
        yield opened


@pytest.fixture
def start(client: SyncPrefectClient, tmp_path: Path) -> Callable[[], FlowRun]:
    """Begin a run as a process would, without one."""

    def run() -> FlowRun:
        config = {"storage": {"interim": str(tmp_path)}}
        made = client.create_flow_run(empty, parameters={"config": config}, state=Running())
        on_running(empty, made, made.state)
        return made

    return run


def state_of(client: SyncPrefectClient, run: FlowRun) -> StateType:
    state = client.read_flow_run(run.id).state
    assert state is not None
    return state.type


def test_a_run_whose_lock_is_free_has_crashed(
    client: SyncPrefectClient, start: Callable[[], FlowRun], tmp_path: Path
) -> None:
    dead = client.create_flow_run(empty, parameters={"config": {}}, state=Running())
    (tmp_path / FOLDER).mkdir()
    (tmp_path / FOLDER / f"{dead.id}.lock").touch()
    living, last = start(), start()
    assert state_of(client, dead) is StateType.CRASHED
    assert state_of(client, living) is StateType.RUNNING
    on_end(empty, living, None)
    on_end(empty, last, None)
    assert list((tmp_path / FOLDER).iterdir()) == []


def test_where_there_are_no_locks_no_run_is_said_to_have_crashed(
    client: SyncPrefectClient,
    start: Callable[[], FlowRun],
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def unsupported(handle: int, how: int) -> None:
        raise OSError(errno.EOPNOTSUPP, os.strerror(errno.EOPNOTSUPP))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    first, second = start(), start()
    assert state_of(client, first) is StateType.RUNNING
    assert state_of(client, second) is StateType.RUNNING
    on_end(empty, second, None)
    assert [path.stem for path in (tmp_path / FOLDER).iterdir()] == [str(first.id)]
    on_end(empty, first, None)
    assert list((tmp_path / FOLDER).iterdir()) == []
