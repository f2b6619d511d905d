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

from flows.prefect_database import (
    PrefectDatabaseError,
    check_prefect_database,
    starting_alone,
)
from recsys.base.errors import RegistryError
from recsys.store.templates import keep_template, template_of
from recsys.tracking.client import make_template, prepare_database
from tests.fixtures.paths import PYTHONPATH
from tests.fixtures.prefect_harness import migrated_home

SERVE = "from flows.temporary_server import served\nwith served(): pass"


def rows(path: Path, query: str) -> list[tuple[object, ...]]:
    with closing(sqlite3.connect(path)) as database:
        return sorted(database.execute(query).fetchall())


def schema(path: Path) -> list[tuple[object, ...]]:
    """Tables and indices, and the columns; MLflow writes what is allowed in these in any order."""
    columns = (
        "SELECT m.name, c.name, c.type, c.pk FROM sqlite_master m, pragma_table_info(m.name) c"
    )
    return rows(path, "SELECT type, name, tbl_name, '' FROM sqlite_master") + rows(path, columns)


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
    (tmp_path / "made.db").touch()
    keep_template("prefect", tmp_path / "made.db")
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


def test_a_home_that_is_no_folder_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    with (
        temporary_settings({PREFECT_HOME: tmp_path / "home" / "below"}),
        pytest.raises(PrefectDatabaseError, match="cannot be Prefect's home"),
        starting_alone(),
    ):
        pass


def test_a_relative_address_is_left_to_the_server(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    address = "sqlite+aiosqlite:///relative.db"
    settings = {PREFECT_HOME: tmp_path, PREFECT_API_DATABASE_CONNECTION_URL: address}
    with temporary_settings(settings), starting_alone():
        assert not (tmp_path / "relative.db").exists()
    check_prefect_database()


def test_the_log_of_a_database_of_mlflow_that_is_gone_is_not_written_into_another(
    tmp_path: Path,
) -> None:
    path = tmp_path / "mlflow.db"
    (tmp_path / ".mlflow.db.unfinished-journal").write_bytes(b"of a run that was killed")
    log = tmp_path / "mlflow.db-journal"
    log.write_bytes(b"left")
    with pytest.raises(RegistryError, match=r"mlflow\.db-journal is there, and mlflow\.db, whose"):
        prepare_database(f"sqlite:///{path}")
    assert log.read_bytes() == b"left"
    log.unlink()
    prepare_database(f"sqlite:///{path}")
    assert not [left for left in tmp_path.iterdir() if "unfinished" in left.name]


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
