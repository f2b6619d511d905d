"""Disks that are full, folders that may not be written to, files that were damaged."""

from __future__ import annotations

import os
import random
import shutil
from pathlib import Path

import pytest

from recsys.base.errors import InputError
from recsys.store.stages import Outcome, intact, load_stage
from tests.fixtures.killing import RunChecker, undisturbed_run
from tests.fixtures.processes import FinishedRun, Run, planted_folder, registry_client
from tests.fixtures.shared import made_once
from tests.fixtures.small_disks import grow, small_disk

pytestmark = pytest.mark.usefixtures("reporting_processes")


def test_a_disk_that_is_full_fails_clearly_and_the_run_after_repair_ends_well(
    known: FinishedRun, tmp_path: Path
) -> None:
    folder, checker = planted_folder(tmp_path), RunChecker(known)
    with small_disk(folder / "data", 8) as data, small_disk(folder / "mlruns", 8) as runs:
        sizes = {data: 8, runs: 8}
        for _ in range(20):
            ended = Run(folder).start().finish()
            if ended.code == 0:
                break
            checker.check(ended)
            assert ended.code == 8, ended.errors
            assert ended.errors.count("\n") == 1, ended.errors
            assert "run again" in ended.errors
            assert all(intact(path) for path in (data / "interim").glob("[a-z]*-*[0-9a-f]"))
            full = runs if "mlruns" in ended.errors else data
            sizes[full] *= 16
            grow(full, sizes[full])
        checker.check_last(ended)
        assert min(sizes.values()) > 8


def test_a_temporary_folder_that_is_full_is_the_one_that_is_named(
    known: FinishedRun, tmp_path: Path
) -> None:
    folder, checker = planted_folder(tmp_path / "project"), RunChecker(known)
    with small_disk(tmp_path / "temporary", 64) as temporary:
        small = os.environ | {"TMPDIR": str(temporary)}
        ended = Run(folder, variables=small).start().finish()
        checker.check(ended)
        assert ended.code == 8, ended.errors
        assert ended.errors.startswith("error: temporary files, for the ")
        assert f"cannot be written to {temporary}" in ended.errors
        assert ended.errors.count("\n") == 1, ended.errors
        grow(temporary, 2**14)
        checker.check_last(Run(folder, variables=small).start().finish())


def test_places_that_may_not_be_written_to_are_named_and_the_champion_stays(
    known: FinishedRun, tmp_path: Path
) -> None:
    folder = with_finished_stages(tmp_path)
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


def with_finished_stages(folder: Path) -> Path:
    """A folder whose stages are those of the undisturbed run, before anything is registered."""
    interim = made_once("undisturbed", undisturbed_run) / "data/interim"
    shutil.copytree(interim, planted_folder(folder) / "data/interim")
    return folder


def aliases(folder: Path) -> dict[str, str]:
    found = registry_client(folder).get_registered_model("likes").aliases
    return {alias: str(version) for alias, version in found.items() if alias != "challenger"}


def test_every_file_of_every_stage_is_checked_named_and_made_again(
    known: FinishedRun, tmp_path: Path
) -> None:
    folder = with_finished_stages(tmp_path)
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
    made = {name for name, reused in again.stages().items() if not reused}
    assert made == {*MADE, "register", "promote"}
    assert again.outcome == known.outcome
    # What is counted beside the files (seconds) may differ; the files are the same to the bit.
    assert {p: p.read_bytes() for p in files if p.name != "manifest.json"} == {
        p: content for p, content in files.items() if p.name != "manifest.json"
    }


MADE = ("ingest", "threshold", "split", "encode", "tune", "evaluate", "fit", "drift", "gate")


def flipped(content: bytes, generator: random.Random) -> bytes:
    """The same but for one bit."""
    bit = generator.randrange(8 * len(content))
    changed = bytearray(content)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)
