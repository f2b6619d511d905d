"""The local registry without MLflow: what it finds is what MLflow finds."""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from recsys.base.errors import NotFoundError
from recsys.recommend.recommender import Recommender
from recsys.serving import pyfunc
from recsys.tracking.bundles import locate_bundle
from recsys.tracking.client import PatientClient
from recsys.tracking.local import UnreadableError, read_version, require_version
from recsys.tracking.registry import Registry
from recsys.tracking.remote import find_version
from recsys.tracking.runs import StudyDescription, Tracker
from recsys.tracking.versions import ModelAddress
from tests.fixtures.bundles import write_bundle
from tests.fixtures.tracking_database import tracking_database


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("registry")
    uri = tracking_database(folder)
    run_id = Tracker.connect(uri, "fruit").open_study(StudyDescription("k", "fruit", {}))
    number = pyfunc.register(uri, run_id, "fruit", write_bundle(folder / "bundle"), {"a": "b"})
    Registry(uri, "fruit").promote(number, by="ann", why="the first")
    return uri


@pytest.fixture
def uri(made: str, tmp_path: Path) -> str:
    """A copy of the database, whose files stay where they are."""
    shutil.copy(made.removeprefix("sqlite:///"), tmp_path / "mlflow.db")
    return f"sqlite:///{tmp_path}/mlflow.db"


def parsed(address: str) -> ModelAddress:
    found = ModelAddress.parse(address)
    assert found is not None
    assert str(found) == address
    return found


def test_it_finds_what_mlflow_finds(uri: str) -> None:
    told = MlflowClient(uri, uri).get_model_version_by_alias("fruit", "champion")
    where = MlflowClient(uri, uri).get_model_version_download_uri("fruit", "1")
    for address in ("models:/fruit@champion", "models:/fruit/1"):
        found = read_version(uri, parsed(address))
        assert found is not None
        assert (found.number, found.run_id, found.tags) == (
            str(told.version), told.run_id, told.tags,
        )  # fmt: skip
        assert found.location == where
        assert found.tags["a"] == "b"


def test_what_is_not_there_is_none(uri: str) -> None:
    for address in ("models:/fruit@nobody", "models:/fruit/2", "models:/pears@champion"):
        assert read_version(uri, parsed(address)) is None
        with pytest.raises(NotFoundError, match="no model models:/"):
            locate_bundle(address, uri)


def test_a_deleted_version_is_not_there(uri: str) -> None:
    MlflowClient(uri, uri).delete_model_version("fruit", "1")
    assert read_version(uri, parsed("models:/fruit/1")) is None
    assert read_version(uri, parsed("models:/fruit@champion")) is None


def test_a_champion_that_is_gone_is_said_with_the_version_before_it(uri: str) -> None:
    champion = parsed("models:/fruit@champion")
    client = MlflowClient(uri, uri)
    client.delete_registered_model_alias("fruit", "champion")
    with pytest.raises(NotFoundError, match="a version of fruit"):
        require_version(uri, champion)
    client.set_registered_model_alias("fruit", "previous", "1")
    asked = (
        lambda: require_version(uri, champion),
        lambda: find_version(PatientClient(uri, 5), str(champion)),
    )
    said = r"deleted; expected .*version 1,.*\(recsys rollback --model fruit --why …\)"
    for ask in asked:
        with pytest.raises(NotFoundError, match=said):
            ask()
    with pytest.raises(NotFoundError, match="a version of fruit"):
        require_version(uri, parsed("models:/fruit@challenger"))


@pytest.mark.parametrize(
    "change",
    [
        "DROP TABLE registered_model_aliases",
        "ALTER TABLE model_versions RENAME COLUMN storage_location TO elsewhere",
        "UPDATE model_versions SET status = 'PENDING_REGISTRATION'",
        "INSERT INTO registered_models (name, workspace) VALUES ('fruit', 'w');"
        "INSERT INTO registered_model_aliases (name, alias, version, workspace)"
        " VALUES ('fruit', 'champion', 2, 'w')",
    ],
    ids=["table", "column", "pending", "workspaces"],
)
def test_what_is_different_is_left_to_mlflow(uri: str, change: str) -> None:
    database = sqlite3.connect(uri.removeprefix("sqlite:///"))
    database.executescript(change)
    database.close()
    with pytest.raises(UnreadableError):
        read_version(uri, parsed("models:/fruit@champion"))


def test_other_registries_and_workspaces_are_left_to_mlflow(
    uri: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    address = parsed("models:/fruit@champion")
    (tmp_path / "text.db").write_text("no database, whatever its name says" * 100)
    for other in ("http://127.0.0.1:9", "postgresql://h/d", f"sqlite:///{tmp_path}/text.db"):
        with pytest.raises(UnreadableError):
            read_version(other, address)
    monkeypatch.setenv("MLFLOW_WORKSPACE", "team")
    with pytest.raises(UnreadableError):
        read_version(uri, address)


@pytest.mark.parametrize(
    "address",
    ["models:/fruit/latest", "models:/fruit/Production", "models:/m-1", "models:/fruit@latest"],
)
def test_other_addresses_are_left_to_mlflow(address: str) -> None:
    assert ModelAddress.parse(address) is None


def test_mlflow_resolves_the_latest_version(uri: str) -> None:
    assert Recommender.load(locate_bundle("models:/fruit/latest", uri)).users.ids


def test_reading_changes_nothing(uri: str) -> None:
    path = Path(uri.removeprefix("sqlite:///"))
    before = path.read_bytes(), sorted(path.parent.iterdir())
    read_version(uri, parsed("models:/fruit@champion"))
    assert (path.read_bytes(), sorted(path.parent.iterdir())) == before


def test_a_model_is_loaded_and_asked_without_mlflow(uri: str) -> None:
    heavy = "mlflow", "prefect", "sqlalchemy", "pandas", "scipy", "sklearn", "pydantic", "requests"
    program = f"""
import sys
from recsys.serving.loading import load
print(load("models:/fruit@champion").recommend("ann", 1)[0].id)
print([name for name in {heavy} if name in sys.modules])
"""
    done = subprocess.run(
        [sys.executable, "-c", program],
        capture_output=True,
        text=True,
        env={"MLFLOW_TRACKING_URI": uri, "PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert done.stdout.splitlines() == ["b", "[]"], done.stderr
