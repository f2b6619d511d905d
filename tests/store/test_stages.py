"""Stages: whole or not at all, named by what they are made of, damage seen and repaired."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from recsys.base.config import Threshold
from recsys.base.errors import InputError, StorageError
from recsys.store.stages import (
    Outcome,
    Stage,
    StageFunction,
    Timed,
    intact,
    load_stage,
    read_manifest,
    stage,
)
from tests.fixtures.paths import ROOT


@dataclass(frozen=True)
class Word:
    text: str
    vowels: int | None = None


@dataclass(frozen=True)
class Greeted(Outcome):
    letters: int
    words: tuple[Word, ...] = ()
    shares: Mapping[str, float] | None = None


@stage(Greeted, version=1, unkeyed=("listener",))
def greet(folder: Path, name: str, options: Threshold, listener: object = None) -> Greeted:
    """Write a greeting."""
    (folder / "greeting.txt").write_text(f"hello {name}")
    (folder / "deep").mkdir()
    (folder / "deep" / "more.bin").write_bytes(bytes(range(100)))
    return Greeted(len(name), (Word(name),))


def test_a_product_is_a_folder_with_a_manifest(tmp_path: Path) -> None:
    made = greet(tmp_path, "you", Threshold())
    assert made.outcome == Greeted(3, (Word("you"),))
    assert made.counts() == {"letters": 3, "words": ({"text": "you", "vowels": None},)}
    assert made.file("greeting.txt").read_text() == "hello you"
    assert greet.load(Path(made.path)) == made
    assert [p.name for p in tmp_path.iterdir()] == [Path(made.path).name]


def test_the_key_is_of_version_parameters_and_inputs() -> None:
    key = greet.key("you", Threshold())
    assert key == greet.key("you", Threshold(), listener=print)
    assert key == greet.key(name="you", options=Threshold(user_min=5))
    assert key != greet.key("me", Threshold())
    assert key != greet.key("you", Threshold(user_min=4))

    def later(folder: Path, name: str, options: Threshold, listener: object = None) -> Greeted:
        return Greeted(0)

    later.__name__ = "greet"
    assert key != StageFunction(later, Greeted, 2, frozenset({"listener"})).key("you", Threshold())
    assert key == StageFunction(later, Greeted, 1, frozenset({"listener"})).key("you", Threshold())


@stage(Outcome, version=1)
def follow(folder: Path, before: Stage[Greeted]) -> Outcome:
    """A stage that takes another's product."""
    (folder / "before").write_text(before.digest)
    return Outcome()


def test_an_input_counts_by_its_content_not_its_place() -> None:
    one, same = (Stage("greet", path, "k", "d1", Greeted(1)) for path in ("here", "there"))
    assert follow.key(one) == follow.key(same)
    assert follow.key(one) != follow.key(Stage("greet", "here", "k", "d2", Greeted(1)))


def test_a_writer_that_fails_leaves_nothing(tmp_path: Path) -> None:
    @stage(Outcome, version=1)
    def broken(folder: Path) -> Outcome:
        (folder / "half").write_text("half")
        raise OSError("disk full")

    with pytest.raises(OSError, match="disk full"):
        broken(tmp_path)
    assert list(tmp_path.iterdir()) == []


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[0] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [truncate, flip, Path.unlink])
@pytest.mark.parametrize("name", ["greeting.txt", "deep/more.bin"])
def test_damage_is_seen_named_and_mended(
    harm: Callable[[Path], None], name: str, tmp_path: Path
) -> None:
    made = greet(tmp_path, "you", Threshold())
    harm(made.file(name))
    assert not intact(Path(made.path))
    with pytest.raises(InputError, match=f"is damaged .*{name}"):
        greet.load(Path(made.path))
    assert greet(tmp_path, "you", Threshold()) == made
    assert intact(Path(made.path))


@pytest.mark.parametrize("manifest", ["", "{}", "[]", '{"files": 3}'])
def test_a_manifest_that_is_none_is_said(manifest: str, tmp_path: Path) -> None:
    made = greet(tmp_path, "you", Threshold())
    made.file("manifest.json").write_text(manifest)
    assert not intact(Path(made.path))
    with pytest.raises(InputError, match="no readable manifest"):
        greet.load(Path(made.path))


SLOW = """
import sys, time
from pathlib import Path
from recsys.store.stages import Outcome, stage

@stage(Outcome, version=1)
def slow(folder, text):
    (folder / "first").write_text(text)
    print("half way", flush=True)
    time.sleep(float(sys.argv[2]))
    (folder / "second").write_text(text)
    return Outcome()

print(slow(Path(sys.argv[1]), "x").digest)
"""


def start(interim: Path, seconds: float) -> subprocess.Popen[str]:
    arguments = [sys.executable, "-c", SLOW, str(interim), str(seconds)]
    return subprocess.Popen(arguments, cwd=ROOT, stdout=subprocess.PIPE, text=True)


def test_killed_half_way_there_is_no_product_and_the_next_run_makes_it(tmp_path: Path) -> None:
    killed = start(tmp_path, 60)
    assert killed.stdout is not None
    assert killed.stdout.readline() == "half way\n"
    os.kill(killed.pid, signal.SIGKILL)
    killed.wait()
    assert not list(tmp_path.glob("slow-*"))
    again = start(tmp_path, 0)
    assert again.wait() == 0
    (product,) = tmp_path.glob("slow-*")
    assert intact(product)
    assert list(tmp_path.iterdir()) == [product]  # what the killed one left is cleared away


def test_two_at_once_both_succeed(tmp_path: Path) -> None:
    both = [start(tmp_path, 0.3) for _ in range(2)]
    outputs = [process.communicate()[0].splitlines()[-1] for process in both]
    assert [process.returncode for process in both] == [0, 0]
    assert outputs[0] == outputs[1]
    assert len(list(tmp_path.iterdir())) == 1


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(StorageError, match=r"set storage\.interim"):
        greet(tmp_path / "file", "you", Threshold())


def test_a_count_changed_in_the_manifest_is_damage(tmp_path: Path) -> None:
    made = greet(tmp_path, "you", Threshold())
    manifest = made.file("manifest.json")
    manifest.write_text(manifest.read_text().replace('"letters": 3', '"letters": 2'))
    assert not intact(Path(made.path))
    with pytest.raises(InputError, match="no readable manifest"):
        greet.load(Path(made.path))
    assert greet(tmp_path, "you", Threshold()) == made


def test_several_mending_the_same_damage_all_succeed(tmp_path: Path) -> None:
    assert start(tmp_path, 0).wait() == 0
    (product,) = tmp_path.glob("slow-*")
    truncate(product / "first")
    several = [start(tmp_path, 0.3) for _ in range(3)]
    outputs = [process.communicate()[0].splitlines()[-1] for process in several]
    assert [process.returncode for process in several] == [0, 0, 0]
    assert len(set(outputs)) == 1
    assert intact(product)
    assert list(tmp_path.iterdir()) == [product]


def test_equal_content_has_an_equal_digest_and_other_content_another(tmp_path: Path) -> None:
    one, two = (greet(tmp_path / place, "you", Threshold()) for place in ("a", "b"))
    assert one.digest == two.digest != greet(tmp_path / "a", "me", Threshold()).digest
    assert follow(tmp_path, one).path == follow(tmp_path, two).path


def test_an_intact_product_is_kept_as_it_is(tmp_path: Path) -> None:
    made = greet(tmp_path, "you", Threshold())
    before = made.file("greeting.txt").stat().st_ino
    greet(tmp_path, "you", Threshold())
    assert made.file("greeting.txt").stat().st_ino == before


@dataclass(frozen=True)
class Noted(Outcome):
    flag: bool
    nested: Mapping[str, Word]
    pairs: tuple[tuple[int, float], ...]
    remark: str | None = None


def note(folder: Path, flag: bool, seconds: float) -> Timed[Noted]:
    """Writes the same file whatever it found out."""
    (folder / "file").write_text("same")
    return Timed(Noted(flag, {"a": Word("b", 1)}, ((1, 0.5),)), {"all": seconds})


noting = stage(Noted, version=1, unkeyed=("seconds",))(note)


def test_an_outcome_comes_back_as_the_type_it_was(tmp_path: Path) -> None:
    made = noting(tmp_path, True, 0.1)
    again = noting.load(Path(made.path))
    assert again == made
    assert again.outcome == Noted(True, {"a": Word("b", 1)}, ((1, 0.5),))
    assert made.key == noting.key(True, 0.1)
    # What there is nothing to say of is left out where people read it.
    assert made.counts() == {
        "flag": True, "nested": {"a": {"text": "b", "vowels": 1}}, "pairs": ((1, 0.5),),
        "seconds": {"all": 0.1},
    }  # fmt: skip


def test_an_outcome_is_content_and_seconds_are_not(tmp_path: Path) -> None:
    one, other = noting(tmp_path, True, 0.1), noting(tmp_path, False, 0.1)
    files = [read_manifest(Path(made.path))["files"] for made in (one, other)]
    assert files[0] == files[1]
    assert one.digest != other.digest
    slower = noting(tmp_path / "again", True, 9.9)
    assert (slower.seconds, one.seconds) == ({"all": 9.9}, {"all": 0.1})
    assert slower.digest == one.digest


def test_an_outcome_of_another_type_is_refused(tmp_path: Path) -> None:
    made = greet(tmp_path, "you", Threshold())
    with pytest.raises(InputError, match="another version of this stage"):
        load_stage(Path(made.path), Noted)
