"""Faults that really happen: processes killed, disks full, servers away; and the run after them."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient
from prefect.settings import PREFECT_API_URL

from recsys.base.errors import InputError
from recsys.store.stages import Outcome, intact, load_stage
from tests.fixtures.killing import (
    KillPoint,
    RunChecker,
    kill_runs,
    kill_worker,
    tracking_arguments,
    undisturbed_run,
)
from tests.fixtures.paths import ROOT
from tests.fixtures.processes import ARGUMENTS, FinishedRun, Run, planted_folder
from tests.fixtures.tracking_server import Proxy, TrackingServer, tracking_server
from tests.fixtures.worker import descendants


@pytest.fixture(scope="module", autouse=True)
def api(prefect_server: None) -> Iterator[None]:
    """Processes that are started here report to the server of the tests."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PREFECT_API_URL", PREFECT_API_URL.value() or "")
        yield


@pytest.fixture(scope="module")
def known(tmp_path_factory: pytest.TempPathFactory) -> FinishedRun:
    return undisturbed_run(tmp_path_factory.mktemp("undisturbed"))


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    with tracking_server(tmp_path_factory.mktemp("server")) as found:
        yield found


@pytest.fixture
def proxy(server: TrackingServer) -> Iterator[Proxy]:
    found = Proxy(server.port)
    yield found
    found.close()


# Processes killed; `make soak` does it a hundred times.


def test_killed_runs_leave_a_next_one_that_ends_as_if_undisturbed(
    known: FinishedRun, tmp_path: Path
) -> None:
    trials, stages = "TrialDone", "StageStarted"  # of these so many, and milliseconds
    points = [
        KillPoint(trials, 3, 0),
        KillPoint(stages, 6, 50),
        KillPoint(stages, 9, 300),
        KillPoint(stages, 10, 9),
    ]
    assert kill_runs(planted_folder(tmp_path), points, RunChecker(known))[:2] == points[:2]


def test_a_killed_worker_leaves_a_run_that_is_finished_once(
    known: FinishedRun, tmp_path: Path
) -> None:
    assert kill_worker(planted_folder(tmp_path), random.Random(2), RunChecker(known))


def test_killed_trial_workers_are_replaced_and_too_many_end_the_run_clearly(
    known: FinishedRun, tmp_path: Path
) -> None:
    planted_folder(tmp_path)
    checker, program = RunChecker(known), "from flows.cli import main; main()"
    command = [sys.executable, "-c", program, *ARGUMENTS, "--set=search.runner=processes"]
    said, errors = tmp_path / "said", tmp_path / "errors"

    def run(kills: int) -> FinishedRun:
        """The workers of the first so many pools are killed, once a trial has paused or ended."""
        with said.open("w") as out, errors.open("w") as err:
            process = subprocess.Popen(
                command, cwd=tmp_path, env=os.environ | {"PYTHONPATH": str(ROOT)},
                stdout=out, stderr=err,
            )  # fmt: skip
            killed: set[int] = set()
            for pool in range(kills):
                while not (workers := set(trial_workers(process.pid)) - killed) or (
                    pool == 0 and "TrialDone" not in said.read_text()
                ):
                    assert process.poll() is None, errors.read_text()
                    time.sleep(0.01)
                killed |= workers
                for pid in workers:
                    os.kill(pid, signal.SIGKILL)
            process.wait()
        return FinishedRun.read(process.returncode, said, errors)

    gone = run(kills=3)
    checker.check(gone)
    assert gone.code == 1
    assert "processes that trained trials were killed 3 times" in gone.errors
    assert "Traceback" not in gone.errors
    mended = run(kills=1)
    notes = [event["text"] for event in mended.events if event["event"] == "Note"]
    assert sum("was killed" in note for note in notes) == 1
    assert "Traceback" not in mended.errors
    checker.check_last(mended)


def trial_workers(run: int) -> list[int]:
    return [pid for pid in descendants(run) if b"spawn_main" in command_line(pid)]


def test_a_killed_run_takes_its_server_along_and_is_said_to_have_crashed(tmp_path: Path) -> None:
    variables = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    variables |= {"PREFECT_HOME": str(tmp_path / "prefect"), "PYTHONPATH": str(ROOT)}

    def python(program: str, *arguments: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", program, *arguments]
        return subprocess.Popen(
            command, cwd=tmp_path, env=variables, stdout=subprocess.PIPE, text=True
        )

    planted_folder(tmp_path)
    killed = python("from flows.cli import main; main()", *ARGUMENTS)
    assert killed.stdout is not None
    assert "StageStarted" in killed.stdout.readline()
    (server,) = [
        pid for pid in descendants(killed.pid) if b"flows.temporary_server" in command_line(pid)
    ]
    killed.kill()
    killed.wait()
    while b"flows.temporary_server" in command_line(server):
        time.sleep(0.05)
    # The next run, of which the first stage is enough, and what Prefect knows of both then.
    said = python(NEXT, *ARGUMENTS).communicate()[0]
    assert said.splitlines()[-1] == "Completed Crashed"
    with closing(sqlite3.connect(tmp_path / "prefect" / "prefect.db")) as database:
        tasks = database.execute(TASKS_OF_COMPLETED_RUNS).fetchall()
    # The server ends with the run, and has been told of every task before: the last ones as well.
    assert {state for state, _ in tasks} == {"COMPLETED"}
    assert {"ingest", "tune", "fit", "promote", "report"} <= {name for _, name in tasks}


TASKS_OF_COMPLETED_RUNS = """
SELECT state_type, name FROM task_run
WHERE flow_run_id IN (SELECT id FROM flow_run WHERE state_type = 'COMPLETED')
"""
NEXT = """
import json, sys
from flows.cli import main
from flows.temporary_server import served
from prefect.client.orchestration import get_client

with served(), get_client(sync_client=True) as client:
    try:
        main()
    except SystemExit:
        print(*sorted(run.state.name for run in client.read_flow_runs()))
"""


def command_line(pid: int) -> bytes:
    """What a process was started with; nothing if it is no more."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""


# Two at once.


def test_two_runs_at_once_on_the_same_data_make_one_version(
    known: FinishedRun, tmp_path: Path
) -> None:
    folder = planted_folder(tmp_path)
    both = [Run(folder, output_name=name).start() for name in ("one", "two")]
    one, two = (run.finish() for run in both)
    assert (one.code, two.code) == (0, 0), one.errors + two.errors
    assert one.outcome == two.outcome == known.outcome
    # Each stage was made by one of them.
    for stage, reused in one.stages().items():
        assert reused or two.stages()[stage], stage
    versions = client(tmp_path).search_model_versions("name = 'likes'")
    assert [str(version.version) for version in versions] == ["1"]


def test_two_runs_at_once_on_one_registry_lose_no_alias(tmp_path: Path) -> None:
    database = f"--set=tracking.uri=sqlite:///{tmp_path}/mlruns/mlflow.db"
    runs = [
        Run(planted_folder(tmp_path / seed), [database, f"--seed={seed}"]).start()
        for seed in ("1", "2")
    ]
    ended = [run.finish() for run in runs]
    registry = client(tmp_path)
    champion = registry.get_model_version_by_alias("likes", "champion")
    versions = {str(v.version): v for v in registry.search_model_versions("name = 'likes'")}
    assert set(versions) == {"1", "2"}
    for run in ended:
        # Champion, or refused clearly.
        assert run.code in (0, 7), run.errors
        if run.code == 7:
            assert "held: version" in run.errors
    promoted = {number for number, v in versions.items() if "promoted" in v.tags}
    assert str(champion.version) in promoted
    if len(promoted) == 2:
        previous = registry.get_model_version_by_alias("likes", "previous")
        assert {str(previous.version), str(champion.version)} == promoted


def client(folder: Path) -> MlflowClient:
    uri = f"sqlite:///{folder}/mlruns/mlflow.db"
    return MlflowClient(tracking_uri=uri, registry_uri=uri)


# The tracking server, slow, away, or gone.


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


# Disks and folders.


@contextmanager
def small_disk(folder: Path, kilobytes: int) -> Iterator[Path]:
    """A file system of so many kilobytes, which is full when they are used."""
    folder.mkdir(parents=True, exist_ok=True)
    mount = ["mount", "-t", "tmpfs", "-o", f"size={kilobytes}k", "small", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("a small file system can be mounted by root only")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", str(folder)], check=True)


def grow(folder: Path, kilobytes: int) -> None:
    subprocess.run(["mount", "-o", f"remount,size={kilobytes}k", str(folder)], check=True)


def test_a_disk_that_is_full_fails_clearly_and_the_run_after_repair_ends_well(
    known: FinishedRun, tmp_path: Path
) -> None:
    folder, checker = planted_folder(tmp_path), RunChecker(known)
    with small_disk(folder / "data", 8) as data, small_disk(folder / "mlruns", 8) as runs:
        sizes = {data: 8, runs: 8}
        for _ in range(40):
            ended = Run(folder).start().finish()
            if ended.code == 0:
                break
            checker.check(ended)
            assert ended.code == 8, ended.errors
            assert ended.errors.count("\n") == 1, ended.errors
            assert "run again" in ended.errors
            assert all(intact(path) for path in (data / "interim").glob("[a-z]*-*[0-9a-f]"))
            full = runs if "mlruns" in ended.errors else data
            sizes[full] *= 3
            grow(full, sizes[full])
        checker.check_last(ended)
        assert min(sizes.values()) > 8


def test_places_that_may_not_be_written_to_are_named_and_the_champion_stays(tmp_path: Path) -> None:
    folder = planted_folder(tmp_path)
    assert Run(folder).start().finish().code == 0
    before = aliases(folder)
    for place in ("data/interim", "mlruns/mlflow.db", "mlruns/artifacts/likes"):
        path = folder / place
        rights = path.stat().st_mode
        path.chmod(rights & ~0o222)
        failed = Run(folder, ["--seed=3"], unprivileged=True).start().finish()
        path.chmod(rights)
        assert failed.code == 8, failed.errors
        assert failed.errors.count("\n") == 1, failed.errors
        assert place.split("/")[0] in failed.errors
        assert "run again" in failed.errors
        assert aliases(folder) == before
    after = Run(folder, ["--seed=3"], unprivileged=True).start().finish()
    assert after.code in (0, 7), after.errors


def aliases(folder: Path) -> dict[str, str]:
    found = client(folder).get_registered_model("likes").aliases
    return {alias: str(version) for alias, version in found.items() if alias != "challenger"}


# Files that were cut off or changed.


def test_every_file_of_every_stage_is_checked_named_and_made_again(tmp_path: Path) -> None:
    folder = planted_folder(tmp_path)
    first = Run(folder).start().finish()
    stages = sorted((folder / "data/interim").glob("[a-z]*-*"))
    assert [path.name.partition("-")[0] for path in stages] == sorted(MADE)
    files = {p: p.read_bytes() for stage in stages for p in stage.rglob("*") if p.is_file()}
    generator = random.Random(3)
    for path, content in files.items():
        stage = next(stage for stage in stages if stage in path.parents)
        name = path.relative_to(stage).as_posix()
        for harmed in (flipped(content, generator), content[: generator.randrange(len(content))]):
            path.write_bytes(harmed)
            assert not intact(stage), path
            with pytest.raises(InputError, match=name):
                load_stage(stage, Outcome)
        path.write_bytes(content)
        assert intact(stage)
    for path, content in files.items():
        path.write_bytes(flipped(content, generator))
    again = Run(folder).start().finish()
    assert {name for name, reused in again.stages().items() if not reused} == set(MADE)
    assert again.outcome == first.outcome
    # What is counted beside the files (seconds) may differ; the files are the same to the bit.
    assert {p: p.read_bytes() for p in files if p.name != "manifest.json"} == {
        p: content for p, content in files.items() if p.name != "manifest.json"
    }


MADE = ("ingest", "threshold", "split", "encode", "tune", "evaluate", "fit", "gate")


def flipped(content: bytes, generator: random.Random) -> bytes:
    """The same but for one bit."""
    bit = generator.randrange(8 * len(content))
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
