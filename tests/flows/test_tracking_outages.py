"""The tracking server slow, away, or gone during a run, and the run after it."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from tests.fixtures.killing import (
    RunChecker,
    tracking_arguments,
)
from tests.fixtures.ports import free_port
from tests.fixtures.processes import FinishedRun, Run, finished, planted_folder
from tests.fixtures.tracking_server import Proxy, TrackingServer

pytestmark = pytest.mark.usefixtures("reporting_processes")


@pytest.fixture
def proxy(mlflow_server: TrackingServer) -> Iterator[Proxy]:
    found = Proxy(mlflow_server.port)
    yield found
    found.close()


def test_a_slow_server_and_a_short_outage_are_ridden_out(
    known: FinishedRun, proxy: Proxy, tmp_path: Path
) -> None:
    folder = planted_folder(tmp_path / "slow")
    proxy.delay = 0.02
    run = Run(folder, tracking_arguments(proxy.uri, "slow")).start()
    wait_for(run, 3, "TrialDone")
    proxy.cut()
    wait_for(run, 6, "TrialDone")  # the search went on without it
    proxy.fix()
    ended = run.finish()
    RunChecker(known).check_results(ended)
    assert "does not answer; going on" in str(ended.events)
    # Some requests for each trial and each file. One for each figure besides, and the files of the
    # library that the model does not import, were 730.
    assert proxy.sent < 550
    assert told_of(proxy.uri, "slow") == trials_of(known)
    assert not list((folder / "data/interim").glob("trials-*"))


def test_a_server_that_is_gone_ends_the_run_and_the_next_delivers(
    known: FinishedRun, proxy: Proxy, tmp_path: Path
) -> None:
    folder, checker = planted_folder(tmp_path / "gone"), RunChecker(known)
    arguments = [*tracking_arguments(proxy.uri, "gone"), "--set=tracking.patience=0.5"]
    run = Run(folder, arguments).start()
    wait_for(run, 3, "TrialDone")
    proxy.cut()
    ended = run.finish()
    checker.check(ended)
    assert ended.code == 5
    assert ended.errors.count("\n") == 1, ended.errors
    assert "error: no tracking server" in ended.errors
    # What needs no server was finished, and what MLflow was not told is there.
    assert set(ended.stages()) >= {"tune", "evaluate", "fit"}
    (journal,) = (folder / "data/interim").glob("trials-*")
    assert "the next run delivers" in str(ended.events) or journal.read_text()
    proxy.fix()
    again = Run(folder, arguments).start().finish()
    checker.check_results(again)
    assert told_of(proxy.uri, "gone") == trials_of(known)
    assert not journal.exists()


@pytest.mark.parametrize("command", [["train", "--likes", "in/likes.psv"], ["batch"]])
def test_a_database_that_is_away_is_found_before_any_server_is_needed(
    command: list[str], tmp_path: Path
) -> None:
    away = f"127.0.0.1:{free_port()}"
    (tmp_path / "away.toml").write_text(
        f'[tracking]\nuri = "postgresql://ann:p/w@{away}/mlflow"\npatience = 0.3\n'
    )
    planted_folder(tmp_path)
    # Prefect's server is away as well: had it been asked first, the error would be about it.
    variables = os.environ | {"PREFECT_API_URL": f"http://127.0.0.1:{free_port()}/api"}
    ended = finished(tmp_path, [*command, "--config=away.toml"], variables)
    assert ended.returncode == 5, ended.stderr
    assert ended.stderr.startswith(f"error: no database answers at postgresql://***@{away}/mlflow")
    assert ended.stderr.count("\n") == 1
    assert "asking again for 0.3 seconds" in ended.stdout
    assert not (tmp_path / "data").exists()


def wait_for(run: Run, count: int, event: str) -> None:
    while not run.has_reported(count, event):
        assert run.wait(0.01) is None, "it ended before"


def told_of(uri: str, experiment: str) -> dict[int, tuple[object, ...]]:
    """What MLflow was told of trials: by number, precision, last epoch, reason, in order."""
    asked = MlflowClient(tracking_uri=uri)
    found = asked.get_experiment_by_name(experiment)
    assert found is not None
    told: dict[int, tuple[object, ...]] = {}
    for run in asked.search_runs([found.experiment_id], "tags.kind = 'trial'"):
        curve = asked.get_metric_history(run.info.run_id, "curve/precision_at_5")
        assert [point.step for point in curve] == sorted({point.step for point in curve})
        assert run.info.status == "FINISHED"
        number, tags = int(run.data.tags["trial"]), run.data.tags
        assert number not in told
        told[number] = run.data.metrics["val/precision_at_5"], curve[-1].step, tags["reason"]
    return told


def trials_of(run: FinishedRun) -> dict[int, tuple[object, ...]]:
    return {number: trial[:3] for number, trial in run.trials().items()}
