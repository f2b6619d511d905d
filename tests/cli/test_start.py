"""What the program imports before it answers, so that it starts at once."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
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
# Forks a process for each command, which is as new as one that was started; says how it ended.
PROGRAM = """
import importlib, json, os, sys
from flows.cli import main

for name in sys.argv[1:]:
    importlib.import_module(name)
for line in sys.stdin:
    folder, arguments, said = json.loads(line)
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        print(flush=True)
        continue
    os.chdir(folder)
    sys.stdin.close()
    sys.stdout, sys.stderr = open(os.devnull, "w"), open(said, "w")
    sys.argv = ["recsys", *arguments]
    try:
        main()
    except SystemExit as ended:
        print(json.dumps({"code": ended.code, "modules": sorted(sys.modules)}), file=sys.stderr)
    finally:
        sys.stderr.flush()
        os._exit(0)
"""


# The columns that are read of MLflow's tables.
EMPTY_REGISTRY = """
CREATE TABLE registered_models (name TEXT);
INSERT INTO registered_models VALUES ('nuts'), ('fruit');
CREATE TABLE registered_model_aliases (name TEXT, alias TEXT, version INTEGER);
CREATE TABLE model_versions (name TEXT, version INTEGER, run_id TEXT, status TEXT,
    current_stage TEXT, storage_location TEXT, source TEXT, creation_time BIGINT);
"""


# What shows every command's help and reads every configuration.
SHARED = ("typer.rich_utils", "rich.markdown", "recsys.base.config")


class Program:
    """Runs `recsys` in new processes, which have imported the program and these modules before."""

    def __init__(self, *modules: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-c", PROGRAM, *modules],
            env={"PYTHONPATH": str(ROOT), "PATH": ""}, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip

    def __call__(self, folder: Path, *arguments: str, code: int = 0) -> tuple[set[str], str]:
        """The modules that `recsys` has imported, and what it said on standard error."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        said = folder / "said"
        print(json.dumps([str(folder), arguments, str(said)]), file=self._process.stdin, flush=True)
        self._process.stdout.readline()
        text = said.read_text()
        found = json.loads(text.splitlines()[-1])
        assert found["code"] == code, text
        return set(found["modules"]), text

    def imported(self, folder: Path, *arguments: str, code: int = 0) -> set[str]:
        """The modules that are imported once `recsys` has run with these arguments."""
        return self(folder, *arguments, code=code)[0]

    def end(self) -> None:
        self._process.communicate()


@pytest.fixture(scope="module")
def new() -> Iterator[Program]:
    """Nothing is imported before; where modules are counted."""
    program = Program()
    yield program
    program.end()


@pytest.fixture(scope="module")
def recsys() -> Iterator[Program]:
    program = Program(*SHARED)
    yield program
    program.end()


def among(modules: set[str], libraries: set[str]) -> set[str]:
    """Those of some libraries that are imported."""
    return libraries & {name.split(".")[0] for name in modules}


def test_help_imports_next_to_nothing(tmp_path: Path, new: Program) -> None:
    found = new.imported(tmp_path, "--help")
    assert among(found, SLOW | NUMERIC) == set()
    assert not {name for name in found if name.startswith(("flows.commands.", "recsys.cli.q"))}
    assert len(found) < 400


@pytest.mark.parametrize("command", COMMANDS)
def test_the_help_of_a_command_imports_no_library_it_needs_when_run(
    command: str, tmp_path: Path, recsys: Program
) -> None:
    found = recsys.imported(tmp_path, command, "--help")
    assert among(found, SLOW | {"numpy", "pyarrow"}) == set()


def test_a_question_to_a_bundle_imports_numpy_and_arrow(tmp_path: Path, new: Program) -> None:
    write_bundle(tmp_path / "bundle", features=True)
    found = new.imported(tmp_path, "recommend", "ann", "--model", "./bundle", "--json")
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
def test_a_model_that_is_not_there_is_found_at_once(
    command: list[str], tmp_path: Path, recsys: Program
) -> None:
    (tmp_path / "mlruns").mkdir()
    with closing(sqlite3.connect(tmp_path / "mlruns/mlflow.db")) as database:
        database.executescript(EMPTY_REGISTRY)
    found, said = recsys(tmp_path, *command, "--model", "fruits", code=4)
    assert among(found, SLOW) == set()
    assert "error: no model models:/fruits" in said
    assert "expected a version of fruit, nuts" in said


def test_a_question_to_the_champion_of_a_local_registry_imports_no_more(
    tmp_path: Path, new: Program
) -> None:
    uri = tracking_database(tmp_path / "mlruns")
    bundle = write_bundle(tmp_path / "bundle", features=True)
    run_id = Tracker.connect(uri, "fruit").open_study(StudyDescription("k", "fruit", {}))
    pyfunc.register(uri, run_id, "fruit", bundle, {})
    Registry(uri, "fruit").promote("1", by="ann", why="the first")
    found = new.imported(tmp_path, "recommend", "ann", "--model", "fruit", "--json")
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
    arguments: tuple[str, ...], code: int, tmp_path: Path, recsys: Program
) -> None:
    found = recsys.imported(tmp_path, *arguments, code=code)
    assert among(found, SLOW | {"numpy", "pyarrow"}) == set()


def test_missing_input_is_found_without_a_server(tmp_path: Path, new: Program) -> None:
    found = new.imported(tmp_path, "train", "--likes", "none.psv", code=3)
    assert among(found, SLOW) <= {"fsspec", "httpx", "pandas", "scipy"}
    assert len(found) < 1500


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_can_be_loaded(command: str) -> None:
    loaded = COMMANDS[command].load(command)
    assert (loaded.name, loaded.help) == (command, COMMANDS[command].summary)
