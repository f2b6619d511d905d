"""A training run killed with -9 in the middle of the search, and started again."""

from __future__ import annotations

import signal
from pathlib import Path

import pytest

from tests.fixtures.planted import write_planted
from tests.fixtures.processes import Run
from tests.fixtures.tracking_database import tracking_database

pytestmark = pytest.mark.usefixtures("reporting_processes")

ARGUMENTS = [
    "--trials", "5", "--set", "search.max_epochs=60", "--set", "evaluate.baseline_trials=0",
    "--set", "evaluate.bootstrap_samples=50", "--set", "search.batch=2",
    "--set", "search.item_to_item_trials=2",
]  # fmt: skip
CLOSED_FORMS = 6  # two trials of each item-to-item model come first


def test_the_next_run_finishes_as_if_nothing_had_happened(tmp_path: Path) -> None:
    for name in ("undisturbed", "killed"):
        write_planted(tmp_path / name / "in", users=200, likes=12)
        tracking_database(tmp_path / name / "mlruns")
    aside = Run(tmp_path / "undisturbed", ARGUMENTS).start()
    run = Run(tmp_path / "killed", ARGUMENTS).start()
    while not run.has_reported(CLOSED_FORMS + 4, "TrialDone"):
        assert run.wait(0.005) is None
    killed = run.kill()
    assert killed.code == -signal.SIGKILL
    again = Run(tmp_path / "killed", ARGUMENTS).start().finish()
    undisturbed = aside.finish()

    finished = set(killed.stages())
    assert finished == {"ingest", "threshold", "split", "encode"}
    assert {stage for stage, reused in again.stages().items() if reused} == finished
    # Every trial, and every figure to the last bit, is that of the undisturbed run; rungs that
    # were measured before the kill keep the seconds they took then.
    assert again.trials() == undisturbed.trials()
    assert list(again.trials()) == list(undisturbed.trials())
    assert again.outcome["leaderboard"] == undisturbed.outcome["leaderboard"]
    repeated = again.seconds()
    for leg, seconds in list(killed.seconds().items())[:-1]:
        assert repeated[leg] == seconds
