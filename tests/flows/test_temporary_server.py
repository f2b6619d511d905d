"""The temporary server ends with whoever started it, however early that one is killed."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest
from prefect.settings import PREFECT_API_DATABASE_CONNECTION_URL, temporary_settings

from tests.fixtures.paths import PYTHONPATH
from tests.fixtures.ports import free_port
from tests.fixtures.prefect_harness import migrated_home
from tests.fixtures.worker import descendants, is_running

PROGRAM = """
from flows.temporary_server import served
with served():
    from prefect.settings import PREFECT_FLOWS_HEARTBEAT_FREQUENCY
    print('heartbeats', PREFECT_FLOWS_HEARTBEAT_FREQUENCY.value(), flush=True)
    from prefect import flow
    from prefect.logging import get_run_logger

    @flow
    def talk():
        get_run_logger().info("the last word")

    talk()
"""


def variables(home: Path) -> dict[str, str]:
    kept = {n: value for n, value in os.environ.items() if not n.startswith("PREFECT_")}
    return kept | {"PREFECT_HOME": str(home), "PYTHONPATH": PYTHONPATH}


def start(home: Path, output: int = subprocess.DEVNULL) -> subprocess.Popen[bytes]:
    """A process that starts a server for itself."""
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM], env=variables(home), stdout=output, stderr=output
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
    # An empty file is a database that is yet to be made; without one the template would be taken.
    database = tmp_path / "prefect.db"
    database.touch()
    run = start(tmp_path)
    server = server_of(run)
    until(lambda: database.stat().st_size, 120)
    run.kill()
    run.wait()
    until(lambda: not is_running(server), 120)
    # What it was making is whole: the next one finds it and serves.
    again = start(tmp_path, subprocess.PIPE)
    # No heartbeats: the thread that sends them would keep each flow run for a second at its end.
    said, errors = again.communicate(timeout=180)
    assert said == b"heartbeats None\n"
    assert again.returncode == 0
    # What was logged is there, and nothing was left to send when the server had ended.
    assert b"Error logging to API" not in errors
    with closing(sqlite3.connect(database)) as connection:
        logged = connection.execute("SELECT message FROM log").fetchall()
    assert ("the last word",) in logged


@pytest.mark.parametrize("profile", [False, True], ids=["environment", "profile"])
def test_an_address_where_nothing_answers_is_one_line(profile: bool, tmp_path: Path) -> None:
    address = f"http://127.0.0.1:{free_port()}/api"
    path = tmp_path / "profiles.toml"
    found = variables(tmp_path)
    if profile:
        path.write_text(f'active = "own"\n[profiles.own]\nPREFECT_API_URL = "{address}"\n')
        set_by, action = f"Prefect's profile own has this address ({path})", "prefect config unset"
    else:
        found["PREFECT_API_URL"] = address
        set_by, action = "the environment variable PREFECT_API_URL", "or unset PREFECT_API_URL"
    done = subprocess.run(
        [sys.executable, "-m", "flows.refresh"],
        cwd=tmp_path, env=found, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 5
    (line,) = done.stderr.splitlines()
    assert f"no Prefect server answers at {address} ([Errno 111] Connection refused)" in line
    assert set_by in line
    assert action in line


def test_a_database_that_no_server_can_work_with_is_one_line(tmp_path: Path) -> None:
    from flows.prefect_database import PrefectDatabaseError, check_prefect_database

    home = migrated_home(tmp_path / "home")
    path = home / "prefect.db"
    address = f"sqlite+aiosqlite:///{path}"
    with temporary_settings({PREFECT_API_DATABASE_CONNECTION_URL: address}):
        check_prefect_database()
        with closing(sqlite3.connect(path)) as database, database:
            database.execute("UPDATE alembic_version SET version_num = 'ffffffffffff'")
        with pytest.raises(PrefectDatabaseError, match=r"newer Prefect, with schema ffffffffffff"):
            check_prefect_database()
        # As a run says it, whose server is a process of its own.
        done = subprocess.run(
            [sys.executable, "-m", "flows.refresh"],
            cwd=tmp_path, env=variables(home), capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 5
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"error: {path} is of a newer Prefect, with schema ffffffffffff")
        assert "pip install --upgrade prefect" in line
        path.write_bytes(b"no database, but long enough to be looked at " * 100)
        with pytest.raises(PrefectDatabaseError, match="is no SQLite database"):
            check_prefect_database()
        path.unlink()
        check_prefect_database()
