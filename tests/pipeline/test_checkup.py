"""The check-up of an installation: one line a piece, what to do where it is wrong."""

from __future__ import annotations

import shutil
import sqlite3
import time
from contextlib import closing
from pathlib import Path

import pytest

from recsys.base.config import Config
from recsys.base.config_file import load_config
from recsys.pipeline import checkup
from recsys.pipeline.checkup import Finding, check_up
from recsys.serving import pyfunc
from recsys.tracking.registry import Registry
from recsys.tracking.runs import StudyDescription, Tracker
from tests.fixtures.bundles import write_bundle
from tests.fixtures.planted import write_planted
from tests.fixtures.tracking_database import tracking_database


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with likes, and with a champion that was trained elsewhere."""
    folder = tmp_path_factory.mktemp("checkup")
    write_planted(folder / "in")
    uri = tracking_database(folder / "mlruns")
    run_id = Tracker.connect(uri, "fruit").open_study(StudyDescription("k", "fruit", {}))
    pyfunc.register(uri, run_id, "fruit", write_bundle(folder / "bundle"), {})
    Registry(uri, "fruit").promote("1", by="ann", why="the first")
    return folder


def found(folder: Path, **settings: object) -> dict[str, Finding]:
    uri = f"sqlite:///{folder}/mlruns/mlflow.db"
    given = {
        "data.likes": f"{folder}/in/likes.psv", "storage.interim": f"{folder}/interim",
        "tracking.uri": uri, "tracking.model": "fruit",
        **{name.replace("__", "."): value for name, value in settings.items()},
    }  # fmt: skip
    config: Config = load_config(None, given)
    return {one.name: one for one in check_up(config)}


def test_what_is_well_is_said_and_nothing_is_left(made: Path) -> None:
    before = sorted(made.rglob("*"))
    well = found(made)
    assert list(well) == ["versions", "search", "data", "disk", "registry", "champion", "clock"]
    assert [one.name for one in well.values() if one.ok is not True] == []
    assert "models: fruit" in well["registry"].said
    assert well["champion"].said == "version 1 of fruit, 0 hours old, 2 users, 4 items, answers"
    assert str(well["data"]) == f"✓ data           {made}/in/likes.psv can be read"
    assert sorted(made.rglob("*")) == before


def test_what_is_not_there_yet_is_nothing_wrong(tmp_path: Path) -> None:
    write_planted(tmp_path / "in")
    new = found(tmp_path)
    assert (new["registry"].ok, new["champion"].ok) == (None, None)
    assert new["champion"].action.startswith("train")
    assert not (tmp_path / "mlruns").exists()


def test_what_is_wrong_has_an_exit_code_and_a_way_out(
    made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Moved, so that it may be damaged.
    folder = tmp_path / "shop"
    shutil.copytree(made, folder)
    database = folder / "mlruns/mlflow.db"
    later = int((time.time() + 7200) * 1000)
    with closing(sqlite3.connect(database)) as opened, opened:
        opened.execute("UPDATE model_versions SET creation_time = ?", (later,))
        opened.execute("UPDATE model_versions SET storage_location = '/nowhere/fruit/models/m'")
    monkeypatch.setattr(checkup, "ROOM", 2**60)
    monkeypatch.setattr(checkup.importlib.metadata, "requires", lambda _: ["numpy<1", "nope>=2"])
    wrong = found(folder, data__likes="none.psv", search__space__learning_rat=0.1)
    assert {name: one.exit_code for name, one in wrong.items() if one.ok is False} == {
        "versions": 2, "search": 2, "data": 3, "disk": 8, "champion": 4, "clock": 1,
    }  # fmt: skip
    assert "nope is missing" in wrong["versions"].said
    assert "learning_rat" in wrong["search"].said
    assert "its files are gone; expected /nowhere/fruit/models/m" in wrong["champion"].said
    assert "a version was made at 20" in wrong["clock"].said
    assert all(one.action for one in wrong.values() if one.ok is False)
    database.write_bytes(b"no database at all")
    away = found(folder)
    assert (away["registry"].ok, away["registry"].exit_code) == (False, 5)
    assert (away["champion"].ok, away["clock"].ok) == (None, True)
