"""Templates of databases: whole copies for one release of a package, and nothing half-written."""

from __future__ import annotations

import sqlite3
import sys
from contextlib import closing
from importlib.metadata import version
from pathlib import Path

import pytest

from recsys.store.templates import copy_template, keep_template, template_of


@pytest.fixture(autouse=True)
def environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "environment"
    monkeypatch.setattr(sys, "prefix", str(folder))
    return folder


def rows_of(path: Path) -> list[tuple[int]]:
    with closing(sqlite3.connect(path)) as database:
        return database.execute("SELECT number FROM numbers").fetchall()


def test_what_is_still_in_the_log_of_a_database_is_in_its_template(tmp_path: Path) -> None:
    made = tmp_path / "made.db"
    with closing(sqlite3.connect(made)) as database, database:
        database.execute("PRAGMA journal_mode = WAL")
        database.execute("CREATE TABLE numbers (number)")
        database.execute("INSERT INTO numbers VALUES (7)")
        database.commit()
        assert (tmp_path / "made.db-wal").stat().st_size > 0
        keep_template("numpy", made)
    assert copy_template("numpy", tmp_path / "copy.db")
    assert rows_of(tmp_path / "copy.db") == [(7,)]


def test_a_template_is_of_the_release_that_is_installed(tmp_path: Path, environment: Path) -> None:
    kept = template_of("numpy")
    assert kept == environment / f"share/liked-this/numpy-{version('numpy')}.db"
    kept.parent.mkdir(parents=True)
    earlier, other = kept.with_name("numpy-0.1.db"), kept.with_name("scipy-0.1.db")
    earlier.touch()
    other.touch()
    assert not copy_template("numpy", tmp_path / "copy.db")
    assert not (tmp_path / "copy.db").exists()
    (tmp_path / "made.db").touch()
    keep_template("numpy", tmp_path / "made.db")
    assert sorted(kept.parent.iterdir()) == sorted([kept, other])


def test_a_copy_that_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "made.db").touch()
    keep_template("numpy", tmp_path / "made.db")
    assert not copy_template("numpy", tmp_path / "no folder" / "copy.db")
    assert not (tmp_path / "no folder").exists()


@pytest.mark.parametrize("content", [b"no database, but long enough to be looked at " * 100, None])
def test_what_is_no_database_leaves_no_template(content: bytes | None, tmp_path: Path) -> None:
    broken = tmp_path / "broken.db"
    if content is not None:
        broken.write_bytes(content)
    with pytest.raises(sqlite3.DatabaseError):
        keep_template("numpy", broken)
    assert not list(template_of("numpy").parent.iterdir())
