"""Processes killed with -9, and the run after them; `make soak` does it a hundred times."""

from __future__ import annotations

import os
import random
import signal
import sqlite3
import tempfile
import time
from contextlib import closing
from pathlib import Path

import pytest

from recsys.store.scratch import own_temporary_folder
from tests.fixtures.killing import (
    KillPoint,
    RunChecker,
    kill_runs,
    kill_worker,
)
from tests.fixtures.prefect_harness import migrated_home
from tests.fixtures.processes import FinishedRun, Run, planted_folder
from tests.fixtures.worker import descendants, is_running, kill, schedule_run, start_worker

pytestmark = pytest.mark.usefixtures("reporting_processes")


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


def test_what_a_killed_worker_and_its_run_left_in_the_temporary_folder_goes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, temporary = planted_folder(tmp_path / "project"), tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    worker = start_worker()
    schedule_run(folder)
    while not list((folder / "data/interim").glob("trials-*")):
        assert worker.poll() is None
        time.sleep(0.05)
    below = descendants(worker.pid)
    for pid in (worker.pid, *below):
        kill(pid)
    worker.wait()
    while any(map(is_running, below)):
        time.sleep(0.05)

    def left() -> list[str]:
        return [path.name for path in temporary.iterdir()]

    # A folder of each and a lock; Prefect's own, for the run, is in the worker's.
    assert len(left()) == 4
    assert list(temporary.glob("*/prefect-workspace-attempt-*"))
    assert all(name.startswith(f"recsys-{os.getuid()}-") for name in left()), left()
    monkeypatch.setattr(tempfile, "tempdir", None)
    end = time.monotonic() + 60
    while left():  # a lock is free when the last thread of a killed process has ended
        assert time.monotonic() < end, left()
        with own_temporary_folder():
            pass


def test_killed_trial_workers_are_replaced_and_too_many_end_the_run_clearly(
    known: FinishedRun, tmp_path: Path
) -> None:
    planted_folder(tmp_path)
    checker = RunChecker(known)

    def run(kills: int) -> FinishedRun:
        """The workers of the first so many pools are killed, once a trial has paused or ended."""
        arguments = ["--set=search.runner=processes", "--set=search.workers=1"]
        made = Run(tmp_path, arguments, children=True).start()
        assert made.process.pid is not None
        killed: set[int] = set()
        for pool in range(kills):
            while not (workers := set(trial_workers(made.process.pid)) - killed) or (
                pool == 0 and not made.has_reported(1, "TrialDone")
            ):
                assert made.wait(0.01) is None, made.errors.read_text()
            killed |= workers
            for pid in workers:
                os.kill(pid, signal.SIGKILL)
        return made.finish()

    gone = run(kills=3)
    checker.check(gone)
    assert gone.code == 1
    assert "processes that trained trials were killed 3 times" in gone.errors
    assert "Traceback" not in gone.errors
    repeated = run(kills=1)
    notes = [event["text"] for event in repeated.events if event["event"] == "Note"]
    assert sum("was killed" in note for note in notes) == 1
    assert "Traceback" not in repeated.errors
    checker.check_last(repeated)


def trial_workers(run: int) -> list[int]:
    return [pid for pid in descendants(run) if b"spawn_main" in command_line(pid)]


def test_a_killed_run_takes_its_server_along_and_is_said_to_have_crashed(tmp_path: Path) -> None:
    variables = {name: value for name, value in os.environ.items() if name != "PREFECT_API_URL"}
    variables["PREFECT_HOME"] = str(migrated_home(tmp_path / "prefect"))
    killed = Run(planted_folder(tmp_path), variables=variables).start()
    while not killed.has_reported(1, "StageStarted"):
        assert killed.wait(0.05) is None, killed.errors.read_text()
    assert killed.process.pid is not None
    (server,) = [
        pid
        for pid in descendants(killed.process.pid)
        if b"flows.temporary_server" in command_line(pid)
    ]
    killed.kill()
    while b"flows.temporary_server" in command_line(server):
        time.sleep(0.05)
    ended = Run(tmp_path, variables=variables).start().finish()
    assert ended.code == 0, ended.errors
    with closing(sqlite3.connect(tmp_path / "prefect" / "prefect.db")) as database:
        runs = database.execute("SELECT state_name FROM flow_run ORDER BY 1").fetchall()
        tasks = database.execute(TASKS_OF_COMPLETED_RUNS).fetchall()
    assert runs == [("Completed",), ("Crashed",)]
    # The server ends with the run, and has been told of every task before: the last ones as well.
    assert {state for state, _ in tasks} == {"COMPLETED"}
    assert {"ingest", "tune", "fit", "promote", "report"} <= {name for _, name in tasks}


TASKS_OF_COMPLETED_RUNS = """
SELECT state_type, name FROM task_run
WHERE flow_run_id IN (SELECT id FROM flow_run WHERE state_type = 'COMPLETED')
"""


def command_line(pid: int) -> bytes:
    """What a process was started with; nothing if it is no more."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except OSError:
        return b""
