"""A training run killed with -9 in the middle of the search, and started again."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

from prefect.settings import PREFECT_API_URL

from tests.fixtures.paths import ROOT
from tests.fixtures.planted import write_planted

ARGUMENTS = [
    "train", "--likes", "in/likes.psv", "--features", "in/feats.psv", "--json-lines",
    "--trials", "5", "--set", "search.max_epochs=60", "--set", "evaluate.als_trials=0",
    "--set", "evaluate.bootstrap_samples=50", "--set", "search.batch=2",
]  # fmt: skip


def start(folder: Path) -> subprocess.Popen[str]:
    variables = os.environ | {"PYTHONPATH": str(ROOT), "PREFECT_API_URL": PREFECT_API_URL.value()}
    command = [sys.executable, "-c", "from flows.cli import main; main()", *ARGUMENTS]
    return subprocess.Popen(command, cwd=folder, env=variables, stdout=subprocess.PIPE, text=True)


def events(process: subprocess.Popen[str]) -> list[dict[str, Any]]:
    assert process.stdout is not None
    return [json.loads(line) for line in process.stdout]


def trials(found: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    ended = [e for e in found if e["event"] == "TrialDone" and e["status"] != "paused"]
    return [(e["number"], e["precision"], e["epochs"], e["reason"]) for e in ended]


def test_the_next_run_finishes_as_if_nothing_had_happened(tmp_path: Path) -> None:
    for name in ("undisturbed", "killed"):
        write_planted(tmp_path / name / "in", users=200, likes=12)
    undisturbed = events(start(tmp_path / "undisturbed"))

    process = start(tmp_path / "killed")
    assert process.stdout is not None
    seen: list[dict[str, Any]] = []
    for line in process.stdout:
        seen.append(json.loads(line))
        if sum(event["event"] == "TrialDone" for event in seen) == 4:
            os.kill(process.pid, signal.SIGKILL)
            break
    assert process.wait() == -signal.SIGKILL

    again = events(start(tmp_path / "killed"))
    stages = {e["stage"]: e["reused"] for e in again if e["event"] == "StageDone"}
    finished = {e["stage"] for e in seen if e["event"] == "StageDone"}
    assert finished == {"ingest", "threshold", "split", "encode"}
    assert {stage for stage, reused in stages.items() if reused} == finished
    # Every trial, and every figure to the last bit, is that of the undisturbed run; rungs that
    # were measured before the kill keep the seconds they took then.
    assert trials(again) == trials(undisturbed)
    assert again[-1]["leaderboard"] == undisturbed[-1]["leaderboard"]
    before = {(e["number"], e["epochs"]): e["seconds"] for e in seen if e["event"] == "TrialDone"}
    repeated = {
        (e["number"], e["epochs"]): e["seconds"] for e in again if e["event"] == "TrialDone"
    }
    for leg, seconds in list(before.items())[:-1]:
        assert repeated[leg] == seconds
