"""Scratch folders are gone with their process, whatever becomes of it, and none that is in use."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

from recsys.store.locks import try_lock
from recsys.store.scratch import own_temporary_folder, scratch_folder
from tests.fixtures.paths import ROOT

HOLDING = """
import sys, time
from pathlib import Path
from recsys.store.scratch import scratch_folder
with scratch_folder(Path(sys.argv[1]), "work-") as folder:
    (folder / "part").write_text("half")
    print(folder, flush=True)
    time.sleep(600)
"""


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_it_is_removed_in_the_end(tmp_path: Path) -> None:
    with scratch_folder(tmp_path, "work-") as folder:
        (folder / "file").write_text("x")
        assert names(tmp_path) == [folder.name, f"{folder.name}.lock"]
    assert not names(tmp_path)


def test_that_of_a_killed_process_goes_with_the_next_and_no_other(tmp_path: Path) -> None:
    command = [sys.executable, "-c", HOLDING, str(tmp_path)]
    told: list[str] = []
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        left = Path(process.stdout.readline().strip())
        with scratch_folder(tmp_path, "work-", abandon=told.append):
            assert (left / "part").read_text() == "half"
        process.send_signal(signal.SIGKILL)
    assert names(left) == ["part"]
    with scratch_folder(tmp_path, "other-"):
        assert left.exists()
    assert not told
    with scratch_folder(tmp_path, "work-", abandon=told.append) as folder:
        assert names(tmp_path) == [folder.name, f"{folder.name}.lock"]
    assert told == [left.name]


def test_one_without_a_lock_goes_by_its_age(tmp_path: Path) -> None:
    old, new = tmp_path / "work-old", tmp_path / "work-new"
    for one in (old, new):
        one.mkdir()
    os.utime(old, (time.time() - 90_000,) * 2)
    with scratch_folder(tmp_path, "work-"):
        pass
    assert names(tmp_path) == ["work-new"]


def test_what_could_not_be_given_up_is_kept_for_the_next(tmp_path: Path) -> None:
    (tmp_path / "work-1").mkdir()
    (tmp_path / "work-1.lock").touch()

    def fail(name: str) -> None:
        raise OSError(name)

    with pytest.raises(OSError, match="work-1"), scratch_folder(tmp_path, "work-", abandon=fail):
        pass
    with scratch_folder(tmp_path, "work-"):
        pass
    assert not names(tmp_path)


def test_a_link_among_the_locks_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    link = tmp_path / "elsewhere" / "work-1.lock"
    link.symlink_to(tmp_path / "made")
    with scratch_folder(tmp_path / "elsewhere", "work-"):
        pass
    assert link.is_symlink()
    assert not (tmp_path / "made").exists()


def test_a_program_has_its_temporary_files_in_one_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with own_temporary_folder():
        inside = Path(tempfile.mkdtemp())
        said = subprocess.check_output(
            [sys.executable, "-c", "import tempfile; print(tempfile.gettempdir())"], text=True
        )
        assert Path(said.strip()) == inside.parent
        assert inside.parent.parent == tmp_path
    assert not names(tmp_path)
    assert tempfile.gettempdir() == os.environ["TMPDIR"] == str(tmp_path)


def test_of_a_program_whose_end_takes_its_time_nothing_stays_either(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    lock = try_lock(tmp_path / f"recsys-{os.getuid()}-1.lock")
    assert lock is not None
    (tmp_path / f"recsys-{os.getuid()}-1").mkdir()
    with own_temporary_folder():
        assert len(names(tmp_path)) == 4
        lock.release(remove=False)
    assert not names(tmp_path)


def test_what_a_program_starts_may_outlast_its_temporary_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.setattr(tempfile, "tempdir", None)
    with own_temporary_folder(inherited=False):
        assert Path(tempfile.mkdtemp()).parent.parent == tmp_path
        assert os.environ["TMPDIR"] == str(tmp_path)
    assert not names(tmp_path)
    assert tempfile.gettempdir() == os.environ["TMPDIR"] == str(tmp_path)
