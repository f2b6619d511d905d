"""The journal: sound entries come back, whatever happened to the file behind them."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.base.errors import StorageError
from recsys.store.journal import Journal
from tests.fixtures.paths import ROOT

ENTRIES = [{"kind": "measured", "rungs": [[1, 0.1 + 0.2, 1e-9]], "said": "ä\nb"}, {"n": 2}, {}]


def filled(path: Path) -> Journal:
    journal = Journal(path)
    for entry in ENTRIES:
        journal.append(entry)
    return journal


def test_entries_come_back_to_the_last_bit_and_in_order(tmp_path: Path) -> None:
    assert Journal(tmp_path / "none").read() == []
    assert filled(tmp_path / "deep" / "journal").read() == ENTRIES


# What takes its time is the disk.
@given(cut=st.integers(0, 10_000), bit=st.integers(0, 7), flip=st.booleans())
def test_what_is_damaged_ends_it_and_new_entries_follow_the_sound_ones(
    tmp_path_factory: pytest.TempPathFactory, cut: int, bit: int, flip: bool
) -> None:
    journal = filled(tmp_path_factory.mktemp("journal") / "journal")
    content = journal.path.read_bytes()
    ends = [i + 1 for i, byte in enumerate(content) if byte == ord("\n")]
    at = cut % len(content)
    changed = content[:at] + (bytes([content[at] ^ 1 << bit]) + content[at + 1 :] if flip else b"")
    journal.path.write_bytes(changed)
    sound = sum(end <= at for end in ends)
    assert journal.read() == ENTRIES[:sound]
    journal.append({"new": True})
    assert journal.read() == [*ENTRIES[:sound], {"new": True}]


FULL = """
import resource, sys
from pathlib import Path
from recsys.store.journal import Journal
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[2]), int(sys.argv[2])))
import signal; signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
Journal(Path(sys.argv[1])).append({"much": "x" * 5000})
"""


def test_a_disk_that_takes_a_part_only_keeps_the_sound_entries(tmp_path: Path) -> None:
    journal = filled(tmp_path / "journal")
    limit = str(journal.path.stat().st_size + 1000)
    found = subprocess.run(
        [sys.executable, "-c", FULL, str(journal.path), limit],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert f"{StorageError.__name__}" in found.stderr
    assert "free some space" in found.stderr
    assert journal.read() == ENTRIES
