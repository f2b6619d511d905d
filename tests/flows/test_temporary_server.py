"""The temporary server ends with whoever started it, however early that one is killed."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.fixtures.paths import ROOT
from tests.fixtures.worker import descendants, is_running

PROGRAM = """
from flows.temporary_server import served
with served():
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY
    print('heartbeats', PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value(), flush=True)
"""


def start(home: Path, output: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """A process that starts a server for itself."""
    kept = {n: value for n, value in os.environ.items() if not n.startswith("PREFECT_")}
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM],
        env=kept | {"PREFECT_HOME": str(home), "PYTHONPATH": str(ROOT)},
        stdout=output,
    )


def until(condition: Callable[[], object], seconds: float) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it takes too long"
        time.sleep(0.02)


def server_of(process: subprocess.Popen[bytes]) -> int:
    found: list[int] = []
    until(lambda: found.extend(descendants(process.pid)) or found, 60)
    return found[0]


def test_a_server_ends_with_a_run_that_is_killed_in_its_first_second(tmp_path: Path) -> None:
    servers = []
    for number, seconds in enumerate((0.0, 0.1, 0.3, 0.6, 1.0)):
        run = start(tmp_path / str(number))
        servers.append(server_of(run))
        time.sleep(seconds)
        run.kill()
        run.wait()
    until(lambda: not any(map(is_running, servers)), 60)


def test_a_server_ends_with_a_run_that_is_killed_while_its_database_is_made(
    tmp_path: Path,
) -> None:
    run = start(tmp_path)
    server = server_of(run)
    until((tmp_path / "prefect.db").exists, 120)
    run.kill()
    run.wait()
    until(lambda: not is_running(server), 120)
    # What it was making is whole: the next one finds it and serves.
    again = start(tmp_path, subprocess.PIPE)
    # No heartbeats: the thread that sends them would keep each flow run for a second at its end.
    assert again.communicate(timeout=180)[0] == b"heartbeats None\n"
    assert again.returncode == 0
