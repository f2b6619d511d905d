"""Fixtures of all tests: the sample, prepared once, larger data, servers, a terminal."""

from __future__ import annotations

import gc
import os
from collections.abc import Iterator
from pathlib import Path

import hypothesis
import pytest

import tests.fixtures.memory_folder  # before folders are made
import tests.fixtures.sleeping_threads  # noqa: F401  before NumPy
from recsys.base.config import Data
from tests.fixtures.bundles import write_bundle
from tests.fixtures.garbage import collect_rarely
from tests.fixtures.shared import shared_folder
from tests.fixtures.stages import SAMPLE, Prepared, prepare
from tests.fixtures.terminal import Terminal
from tests.fixtures.tracking_server import TrackingServer, tracking_server

# What tests start reads and keeps bytecode: importing everything anew takes ten seconds a process.
os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
collect_rarely()

# How long an example takes says more of the machine than of the code. A change is judged by the
# same examples every time; `pytest --hypothesis-profile=explore` draws others.
hypothesis.settings.register_profile("suite", deadline=None, derandomize=True)
hypothesis.settings.register_profile("explore", deadline=None)
hypothesis.settings.load_profile("suite")


def pytest_configure() -> None:
    """Make the folder that workers share before there are workers."""
    shared_folder()


def pytest_collection_finish() -> None:
    """Leave what has been imported out of garbage collections: half a second each time."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
def same_addresses() -> Iterator[None]:
    """A test leaves MLflow's addresses in the environment as they were.

    MLflow writes them there, and every process that is started later would report to them.
    """
    names = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
    before = [os.environ.get(name) for name in names]
    yield
    assert [os.environ.get(name) for name in names] == before


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The bundled sample's stages up to the learning."""
    return prepare(SAMPLE, tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="session")
def citeulike(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    """The same of citeulike-a, where RECSYS_BENCH_DATA says it is."""
    folder = os.environ.get("RECSYS_BENCH_DATA")
    if not folder:
        pytest.skip("RECSYS_BENCH_DATA does not name the folder of the larger data sets")
    likes, features = (str(Path(folder) / "citeulike-a" / f) for f in ("likes.psv", "feats.psv"))
    data = Data(likes=likes, features=features)
    return prepare(data, tmp_path_factory.mktemp("citeulike"))


@pytest.fixture(scope="session")
def prefect_server() -> Iterator[None]:
    """The one Prefect server of all tests that need one."""
    from tests.fixtures.prefect_harness import harness

    with harness():
        yield


@pytest.fixture(scope="session")
def mlflow_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[TrackingServer]:
    """The one MLflow server of all tests that need one; each has names of its own there."""
    with tracking_server(tmp_path_factory.mktemp("mlflow")) as server:
        yield server


@pytest.fixture
def recsys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Terminal:
    """The command line on the small bundle with features."""
    monkeypatch.setenv("COLUMNS", "120")
    return Terminal(write_bundle(tmp_path / "bundle", features=True), monkeypatch, capsys)
