"""Locks: one at a time, across threads and processes, free when their holder is killed."""

from __future__ import annotations

import errno
import fcntl
import os
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from recsys.store.locks import locked, try_lock
from tests.fixtures.paths import ROOT


def test_it_excludes_and_leaves_no_file(tmp_path: Path) -> None:
    path, inside, most = tmp_path / "lock", [0], [0]

    def work(_: int) -> None:
        with locked(path):
            inside[0] += 1
            most[0] = max(most[0], inside[0])
            time.sleep(0.001)
            inside[0] -= 1

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(work, range(80)))
    assert most == [1]
    assert not path.exists()


def test_who_waits_says_so_once(tmp_path: Path) -> None:
    path, said = tmp_path / "lock", []
    held = try_lock(path)
    assert held is not None
    assert try_lock(path) is None

    def waiting() -> None:
        said.append("waiting")
        held.release()

    with locked(path, waiting):
        assert said == ["waiting"]
        assert try_lock(path) is None


HOLD = """
import sys, time
from pathlib import Path
from recsys.store.locks import try_lock
assert try_lock(Path(sys.argv[1])) is not None
print("held", flush=True)
time.sleep(60)
"""


def test_a_killed_holder_holds_nothing(tmp_path: Path) -> None:
    path = tmp_path / "lock"
    holder = subprocess.Popen(
        [sys.executable, "-c", HOLD, str(path)], cwd=ROOT, stdout=subprocess.PIPE, text=True
    )
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    assert try_lock(path) is None
    holder.kill()
    holder.wait()
    assert try_lock(path) is not None


@pytest.mark.parametrize("number", [errno.EOPNOTSUPP, errno.ENOLCK, errno.ENOSYS])
def test_where_there_are_no_locks_nobody_is_excluded_and_the_lock_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    path = tmp_path / "lock"
    held = try_lock(path)
    assert held is not None
    assert held.exclusive
    held.release()

    def unsupported(handle: int, how: int) -> None:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(fcntl, "flock", unsupported)
    one, other = try_lock(path), try_lock(path)
    assert one is not None
    assert other is not None
    assert not one.exclusive
    assert not other.exclusive
    with locked(path):
        assert path.exists()
    one.release()
    other.release()


def test_a_file_system_that_refuses_by_permission_says_that_it_is_held(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def held(handle: int, how: int) -> None:
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))

    monkeypatch.setattr(fcntl, "flock", held)
    assert try_lock(tmp_path / "lock") is None


def test_a_renamed_lock_is_held_under_its_new_name(tmp_path: Path) -> None:
    held = try_lock(tmp_path / "new")
    assert held is not None
    held = held.rename(tmp_path / "lock")
    assert try_lock(tmp_path / "lock") is None
    held.release()
    assert list(tmp_path.iterdir()) == []
