"""Locks: one at a time, across threads and processes, free when their holder is killed."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from recsys.store.locks import claim, locked, release
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
    held = claim(path)
    assert held is not None
    assert claim(path) is None

    def waiting() -> None:
        said.append("waiting")
        release(path, held)

    with locked(path, waiting):
        assert said == ["waiting"]
        assert claim(path) is None


HOLD = """
import sys, time
from pathlib import Path
from recsys.store.locks import claim
assert claim(Path(sys.argv[1])) is not None
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
    assert claim(path) is None
    holder.kill()
    holder.wait()
    assert claim(path) is not None
