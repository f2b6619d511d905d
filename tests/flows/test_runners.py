"""Runners: one study on Prefect's threads, processes, Dask and Ray; a task run for each segment."""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter, FlowRunFilterId
from prefect.context import FlowRunContext

from recsys.base.config import Data, Search
from recsys.base.errors import ConfigError, WorkerError
from recsys.models import clusters
from recsys.pipeline import tuning
from recsys.store.stages import Stage
from tasks.runners import runner_pool, task_runner
from tests.fixtures.planted import write_planted
from tests.fixtures.stages import Prepared, prepare

SEARCH = Search(trials=4, max_epochs=24, batch=3, item_to_item_trials=2)
INTEGRATIONS = {"dask": "prefect_dask", "ray": "prefect_ray"}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("runners")
    likes, features = write_planted(folder / "in")
    return prepare(Data(likes=str(likes), features=str(features)), folder / "interim")


@pytest.fixture(scope="module")
def expected(prepared: Prepared, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The study without any of Prefect's."""
    folder = tmp_path_factory.mktemp("bare")
    return tuning.tune(folder, prepared.holdouts, prepared.features, SEARCH, 3).digest


def require(runner: str) -> None:
    if runner in INTEGRATIONS and find_spec(INTEGRATIONS[runner]) is None:
        pytest.skip(f"{INTEGRATIONS[runner]} is not installed (liked-this[{runner}])")


# Processes: tests/flows/test_killed_processes.py, which kills them, too.
@pytest.mark.parametrize("runner", ["threads", "dask", "ray"])
def test_every_runner_makes_the_same_study(
    prepared: Prepared, expected: str, tmp_path: Path, runner: str
) -> None:
    require(runner)
    # Workers take long to start, above all Ray's; how many there are changes nothing.
    workers = 2 if runner == "threads" else 1
    search = SEARCH.model_copy(update={"runner": runner, "workers": workers})

    # As in the pipeline: a task around the search, with arguments that cannot be sent anywhere.
    @task(cache_policy=NO_CACHE)
    def tune(unsendable: Iterator[int]) -> Stage:
        with runner_pool(search) as pool:
            return tuning.tune(tmp_path, prepared.holdouts, prepared.features, search, 3, pool=pool)

    @flow(name="study")
    def study() -> tuple[str, str]:
        made = tune(unsendable=(n for n in ()))
        context = FlowRunContext.get()
        assert context is not None
        assert context.flow_run is not None
        return made.digest, str(context.flow_run.id)

    digest, run = study()
    assert digest == expected
    states = segments(run)
    # Each segment is a task run of this flow run, on the one server there is.
    assert len(states) > SEARCH.trials
    assert {state for _, state in states} == {"COMPLETED"}
    assert any(name.startswith("trial 006, to epoch ") for name, _ in states)


def segments(run: str) -> list[tuple[str, str]]:
    """Names and states of a flow run's task runs, as soon as they have all arrived."""
    chosen = FlowRunFilter(id=FlowRunFilterId(any_=[run]))
    found: list[tuple[str, str]] = []
    with get_client(sync_client=True) as client:
        for _ in range(100):
            runs = client.read_task_runs(flow_run_filter=chosen)
            found = [(entry.name, str(entry.state_type.value)) for entry in runs]
            if found and all(state == "COMPLETED" for _, state in found):
                break
            time.sleep(0.1)
    return found


def test_nothing_is_started_for_nothing() -> None:
    nowhere = Search(runner="dask", cluster="tcp://127.0.0.1:9")
    with runner_pool(nowhere) as pool:
        assert not pool.shares_memory


def test_an_integration_that_is_missing_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "prefect_dask.task_runners", None)
    with pytest.raises(ConfigError, match=r"liked-this\[dask\]"):
        task_runner(Search(runner="dask"))


@pytest.mark.parametrize(
    "runner",
    [
        "dask",
        pytest.param(
            "ray",
            marks=pytest.mark.skipif(
                "RECSYS_TEST_RAY" not in os.environ,
                reason="Ray takes long to start; set RECSYS_TEST_RAY=1",
            ),
        ),
    ],
)
def test_a_cluster_whose_workers_have_gone_is_given_up(
    monkeypatch: pytest.MonkeyPatch, runner: str
) -> None:
    require(runner)
    monkeypatch.setattr(clusters, "LOOK", 0.1)
    monkeypatch.setattr(clusters, "PATIENCE", 1.0)
    search = SEARCH.model_copy(update={"runner": runner, "workers": 0})
    with runner_pool(search) as pool, pytest.raises(WorkerError, match="had no worker for 1 sec"):
        pool.submit(abs, -1).result()


def test_a_cluster_that_is_there_is_used(prepared: Prepared, expected: str, tmp_path: Path) -> None:
    require("dask")
    from distributed import LocalCluster

    with LocalCluster(
        n_workers=1, threads_per_worker=2, processes=False, dashboard_address=None
    ) as cluster:
        search = SEARCH.model_copy(update={"runner": "dask", "cluster": cluster.scheduler_address})
        with runner_pool(search) as pool:
            made = tuning.tune(tmp_path, prepared.holdouts, prepared.features, search, 3, pool=pool)
        assert made.digest == expected
        # It goes on when the run is over.
        assert cluster.scheduler.workers
