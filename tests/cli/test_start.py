"""What the program imports before it answers, so that it starts at once."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from flows.cli import COMMANDS
from recsys.serving import pyfunc
from recsys.tracking.registry import Registry
from recsys.tracking.runs import StudyDescription, Tracker
from tests.fixtures.bundles import write_bundle
from tests.fixtures.paths import ROOT
from tests.fixtures.tracking_database import tracking_database

# Each takes between a tenth of a second and several seconds to import.
SLOW = {
    "dask", "fastapi", "fsspec", "httpx", "implicit", "jinja2", "lightfm", "matplotlib", "mlflow",
    "pandas", "prefect", "psutil", "ray", "scipy", "sklearn", "skopt", "sqlalchemy", "starlette",
    "threadpoolctl", "uvicorn",
}  # fmt: skip
NUMERIC = {"numpy", "pyarrow", "pydantic"}
PROGRAM = """
import json, sys
from flows.cli import main
try:
    main()
except SystemExit as ended:
    print(json.dumps({"code": ended.code, "modules": sorted(sys.modules)}), file=sys.stderr)
"""


# The columns that are read of MLflow's tables.
EMPTY_REGISTRY = """
CREATE TABLE registered_models (name TEXT);
INSERT INTO registered_models VALUES ('nuts'), ('fruit');
CREATE TABLE registered_model_aliases (name TEXT, alias TEXT, version INTEGER);
CREATE TABLE model_versions (name TEXT, version INTEGER, run_id TEXT, status TEXT,
    current_stage TEXT, storage_location TEXT, source TEXT, creation_time BIGINT);
"""


def imported(folder: Path, *arguments: str, code: int = 0) -> set[str]:
    """The modules that are imported once `recsys` has run with these arguments."""
    return run_program(folder, *arguments, code=code)[0]


def run_program(folder: Path, *arguments: str, code: int = 0) -> tuple[set[str], str]:
    """The modules that `recsys` has imported, and what it said on standard error."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, *arguments],
        cwd=folder, env={"PYTHONPATH": str(ROOT), "PATH": ""}, capture_output=True, text=True,
    )  # fmt: skip
    found = json.loads(done.stderr.splitlines()[-1])
    assert found["code"] == code, done.stderr
    return set(found["modules"]), done.stderr


def among(modules: set[str], libraries: set[str]) -> set[str]:
    """Those of some libraries that are imported."""
    return libraries & {name.split(".")[0] for name in modules}


def test_help_imports_next_to_nothing(tmp_path: Path) -> None:
    found = imported(tmp_path, "--help")
    assert among(found, SLOW | NUMERIC) == set()
    assert not {name for name in found if name.startswith(("flows.commands.", "recsys.cli.q"))}
    assert len(found) < 400


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_imports_no_library_it_needs_when_run(
    command: str, tmp_path: Path
) -> None:
    found = imported(tmp_path, command, "--help")
    assert among(found, SLOW | {"numpy", "pyarrow"}) == set()


def test_a_question_to_a_bundle_imports_numpy_and_arrow(tmp_path: Path) -> None:
    write_bundle(tmp_path / "bundle", features=True)
    found = imported(tmp_path, "recommend", "ann", "--model", "./bundle", "--json")
    assert among(found, SLOW) == set()
    assert len(found) < 600


@pytest.mark.parametrize(
    "command",
    [
        ["recommend", "ann"],
        ["serve"],
        ["gallery"],
        ["batch"],
        ["rollback", "--why", "so"],
        ["promote", "1", "--why", "so"],
    ],
)
def test_a_model_that_is_not_there_is_found_at_once(command: list[str], tmp_path: Path) -> None:
    (tmp_path / "mlruns").mkdir()
    with closing(sqlite3.connect(tmp_path / "mlruns/mlflow.db")) as database:
        database.executescript(EMPTY_REGISTRY)
    found, said = run_program(tmp_path, *command, "--model", "fruits", code=4)
    assert among(found, SLOW) == set()
    assert "error: no model models:/fruits" in said
    assert "expected a version of fruit, nuts" in said


def test_a_question_to_the_champion_of_a_local_registry_imports_no_more(tmp_path: Path) -> None:
    uri = tracking_database(tmp_path / "mlruns")
    bundle = write_bundle(tmp_path / "bundle", features=True)
    run_id = Tracker.connect(uri, "fruit").open_study(StudyDescription("k", "fruit", {}))
    pyfunc.register(uri, run_id, "fruit", bundle, {})
    Registry(uri, "fruit").promote("1", by="ann", why="the first")
    found = imported(tmp_path, "recommend", "ann", "--model", "fruit", "--json")
    assert among(found, SLOW) == set()
    assert len(found) < 600


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("train", "--set", "search.trails=3"), 2),
        (("train", "--config", "none.toml"), 2),
        (("recommend", "ann", "--n", "0"), 2),
        (("trigger", "nightly", "--param", "x"), 2),
    ],
)
def test_a_wrong_configuration_is_found_without_numpy(
    arguments: tuple[str, ...], code: int, tmp_path: Path
) -> None:
    found = imported(tmp_path, *arguments, code=code)
    assert among(found, SLOW | {"numpy", "pyarrow"}) == set()


def test_missing_input_is_found_without_a_server(tmp_path: Path) -> None:
    found = imported(tmp_path, "train", "--likes", "none.psv", code=3)
    assert among(found, SLOW) <= {"fsspec", "httpx", "pandas", "scipy"}
    assert len(found) < 1500


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_can_be_loaded(command: str) -> None:
    loaded = COMMANDS[command].load(command)
    assert (loaded.name, loaded.help) == (command, COMMANDS[command].summary)
