"""A project that is renamed or moved: its models are found, and new files go where it is now."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from recsys.base.events import Event, Note, listening
from recsys.serving import pyfunc
from recsys.tracking.bundles import locate_bundle
from recsys.tracking.moved import follow_move
from recsys.tracking.runs import StudyDescription, Tracker
from tests.fixtures.bundles import write_bundle
from tests.fixtures.tracking_database import tracking_database


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A project with a registered model, in a folder whose name has all that makes trouble."""
    folder = tmp_path_factory.mktemp("moved") / "shop #1 née 50%"
    uri = tracking_database(folder / "mlruns")
    run_id = Tracker.connect(uri, "fruit").open_study(StudyDescription("k", "fruit", {}))
    pyfunc.register(uri, run_id, "fruit", write_bundle(folder / "bundle"), {"bundle": "d"})
    return folder


def addresses(uri: str) -> list[str]:
    """Every address of files in a database."""
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    experiment = client.get_experiment_by_name("fruit")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    (model,) = client.search_logged_models([experiment.experiment_id])
    return [
        experiment.artifact_location,
        run.info.artifact_uri,
        model.artifact_location,
        client.get_model_version_download_uri("fruit", "1"),
    ]


def test_a_folder_with_blanks_and_signs_is_a_place_like_any_other(made: Path) -> None:
    uri = f"sqlite:///{made}/mlruns/mlflow.db"
    assert locate_bundle("models:/fruit/1", uri).joinpath("manifest.json").is_file()
    tracker = Tracker.connect(uri, "fruit")
    run = tracker.find_study("k")
    assert run is not None
    (made / "page.html").write_text("x")
    tracker.attach(run.info.run_id, [made / "page.html"], "report")
    # What is printed exists.
    assert Path(tracker.artifact(run.info.run_id, "report/page.html")).read_text() == "x"


def test_a_moved_project_is_followed(made: Path, tmp_path: Path) -> None:
    old = tmp_path / "old"
    shutil.copytree(made, old)
    uri = f"sqlite:///{old}/mlruns/mlflow.db"
    before = addresses(uri)
    follow_move(uri)  # a copy: the original is where it was, and what it has is left alone
    assert addresses(uri) == before
    gone = made.rename(made.with_name("away"))
    try:
        # Where nothing may be written, as for those who only ask, the files are found as well.
        assert locate_bundle("models:/fruit/1", uri).is_relative_to(old)
        assert addresses(uri) == before
        said: list[Event] = []
        with listening(said.append):
            tracker = Tracker.connect(uri, "fruit")
        assert said == [
            Note(
                f"the registry was moved from {made}/mlruns to {old}/mlruns; "
                "4 addresses are corrected"
            )
        ]
        for address in addresses(uri):
            assert address.startswith((old / "mlruns/artifacts/fruit").as_uri())
        run_id = tracker.open_study(StudyDescription("k2", "later", {}))
        tracker.attach(run_id, [old / "bundle/manifest.json"])
        assert not made.exists()
        assert locate_bundle("models:/fruit/1", uri).is_relative_to(old)
        said.clear()
        with listening(said.append):
            follow_move(uri)
        assert said == []
    finally:
        gone.rename(made)
