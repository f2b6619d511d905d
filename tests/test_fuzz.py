"""The fuzzer's targets, shortly: seeds, mutated seeds and bytes that hypothesis makes up."""

from __future__ import annotations

import random
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.data.interactions import read_interactions
from tests.fixtures.paths import ROOT
from tests.fuzz import targets
from tests.fuzz.__main__ import NAMES, parsed
from tests.fuzz.targets import SEEDS

BY_NAME = {target.__name__: target for target in SEEDS}


def mutated(seed: bytes, others: list[bytes], drawn: random.Random) -> bytes:
    """A seed with a few bytes changed, cut out, put in, or taken from another one."""
    letters = bytearray(seed)
    for _ in range(drawn.randint(1, 6)):
        place = drawn.randrange(len(letters) + 1)
        end = place + drawn.randint(1, 12)
        other = drawn.choice(others)
        start = drawn.randrange(len(other))
        changes = (drawn.randbytes(1), b"", drawn.randbytes(3), other[start : start + end - place])
        letters[place : place if drawn.random() < 0.3 else end] = drawn.choice(changes)
    return bytes(letters)


def test_the_fuzzer_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("atheris")
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    command = [sys.executable, "-m", "tests.fuzz", "--seconds", "1", "options"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr[-2000:]
    assert said.stdout.startswith("== options, 1 s")
    assert list((tmp_path / "data/output/fuzz/options").iterdir())


def test_the_fuzzer_takes_all_targets_unless_told() -> None:
    assert parsed([]).names == list(NAMES)
    assert parsed(["likes"]).names == ["likes"]
    with pytest.raises(SystemExit):
        parsed(["lykes"])


@pytest.mark.parametrize("name", BY_NAME)
def test_seeds_and_what_is_near_them(name: str) -> None:
    target, drawn = BY_NAME[name], random.Random(11)
    seeds = SEEDS[target]
    for seed in seeds:
        target(seed)
    # Two readers of each, which takes longer.
    for _ in range(60 if name == "readers" else 300):
        target(mutated(drawn.choice(seeds), seeds, drawn))


@pytest.mark.parametrize("name", BY_NAME)
def test_any_bytes(name: str) -> None:
    @settings(max_examples=60, database=None)
    @given(st.binary(max_size=200))
    def run(data: bytes) -> None:
        BY_NAME[name](data)

    run()


def test_a_target_can_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    def wrong(*given: object) -> object:
        found, names, rejected = read_interactions(*given)  # type: ignore[arg-type]
        found.weight[:] = -1  # type: ignore[index]
        return found, names, rejected

    monkeypatch.setattr(targets, "read_interactions", wrong)
    with pytest.raises(AssertionError):
        targets.likes(SEEDS[targets.likes][0])
