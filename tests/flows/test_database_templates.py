"""New databases of Prefect and MLflow are copies of templates, and as good as migrated ones."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest
from prefect.settings import (
    PREFECT_API_DATABASE_CONNECTION_URL,
    PREFECT_HOME,
    temporary_settings,
)

from flows.prefect_database import starting_alone
from recsys.store.templates import keep_template, template_of
from recsys.tracking.client import make_template, prepare_database
from tests.fixtures.paths import PYTHONPATH
from tests.fixtures.prefect_harness import migrated_home

SERVE = "from flows.temporary_server import served\nwith served(): pass"


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as database:
        return sorted(database.execute(query).fetchall())


def schema(path: Path) -> list[tuple[object, ...]]:
    return rows(path, "SELECT type, name, tbl_name, coalesce(sql, '') FROM sqlite_master")


def test_a_first_server_of_prefect_begins_with_the_template(tmp_path: Path) -> None:
    home = tmp_path / "home"
    kept = {n: value for n, value in os.environ.items() if not n.startswith("PREFECT_")}
    variables = kept | {"PREFECT_HOME": str(home), "PYTHONPATH": PYTHONPATH}
    # It is there after `make setup`; then this does nothing.
    for program in (["-m", "flows.database_templates"], ["-c", SERVE]):
        subprocess.run([sys.executable, *program], env=variables, check=True)
    template, database = template_of("prefect"), home / "prefect.db"
    # Ids are drawn at random, so equal ones are copies.
    kinds = "SELECT id, slug FROM block_type"
    assert len(rows(template, kinds)) > 10
    assert rows(database, kinds) == rows(template, kinds)
    assert schema(database) == schema(migrated_home(tmp_path / "migrated") / "prefect.db")
    assert rows(template, "SELECT * FROM flow_run") == []
    assert not list(home.glob(".*.unfinished"))


@pytest.mark.parametrize("left", ["", "prefect.db", "prefect.db-wal", "prefect.db-journal"])
def test_nothing_is_copied_beside_what_is_left_of_a_database(
    left: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
    keep_template("prefect", tmp_path / "empty.db")
    home = tmp_path / "home"
    home.mkdir()
    if left:
        (home / left).write_bytes(b"left")
    address = f"sqlite+aiosqlite:///{home / 'prefect.db'}"
    settings = {PREFECT_HOME: home, PREFECT_API_DATABASE_CONNECTION_URL: address}
    with temporary_settings(settings), starting_alone():
        there = {path.name for path in home.iterdir()} - {".starting.lock"}
    assert there == {left or "prefect.db"}
    if left:
        assert (home / left).read_bytes() == b"left"


def test_a_new_database_of_mlflow_is_the_template_with_an_experiment_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    migrated, copied = tmp_path / "migrated.db", tmp_path / "copied.db"
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
    monkeypatch.chdir(tmp_path)
    prepare_database(f"sqlite:///{migrated}")  # there is no template yet
    (tmp_path / "made").mkdir()
    make_template(tmp_path / "made")
    experiments = "SELECT experiment_id, name, artifact_location FROM experiments"
    assert rows(template_of("mlflow"), experiments) == []
    (tmp_path / "project").mkdir()
    monkeypatch.chdir(tmp_path / "project")
    prepare_database(f"sqlite:///{copied}")
    assert schema(copied) == schema(migrated)
    assert rows(copied, experiments) == [(0, "Default", str(tmp_path / "project/mlruns/0"))]
    revision = "SELECT version_num FROM alembic_version"
    assert rows(copied, revision) == rows(migrated, revision)
