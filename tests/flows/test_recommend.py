"""The recommend flow on real Prefect and MLflow: the champion's lists, again when it changes."""

from __future__ import annotations

from pathlib import Path

import pyarrow.parquet as pq
import pytest

from flows.recommend import recommend
from recsys.base.config_file import load_config
from recsys.base.errors import NotFoundError, RegistryError
from recsys.base.events import Event, StageDone, listening
from recsys.serving import pyfunc
from recsys.tracking.registry import Registry
from recsys.tracking.runs import StudyDescription, Tracker
from tests.fixtures.bundles import write_bundle
from tests.fixtures.tracking_database import tracking_database


def test_lists_follow_the_champion(tmp_path: Path) -> None:
    uri = f"sqlite:///{tmp_path}/mlflow.db"
    config = load_config(
        None,
        {
            "tracking.uri": uri,
            "tracking.model": "fruit",
            "batch.n": 2,
            "batch.folder": str(tmp_path / "batch"),
        },
    )
    with pytest.raises(RegistryError, match="no model registry"):
        recommend(config)
    assert tracking_database(tmp_path) == uri
    run_id = Tracker.connect(uri, "fruit").open_study(StudyDescription("k", "fruit", {}))
    with pytest.raises(NotFoundError, match="fruit has no champion"):
        recommend(config)
    registry = Registry(uri, "fruit")
    for number in ("1", "2"):
        (tmp_path / number).mkdir()
        folder = write_bundle(tmp_path / number / "bundle")
        assert pyfunc.register(uri, run_id, "fruit", folder, {"bundle": "same"}) == number
    registry.promote("1", by="ann", why="x")

    first = recommend(config)
    # ann has liked a; d has no direction.
    assert (first.version, first.users, first.users_rows, first.items) == ("1", 2, 4, 3)
    rows = pq.read_table(Path(first.latest) / "users").to_pylist()
    assert [row["item"] for row in rows if row["user"] == "ann"] == ["b", "d"]

    events: list[Event] = []
    with listening(events.append):
        assert recommend(config) == first
    assert [event.reused for event in events if isinstance(event, StageDone)] == [True]

    registry.promote("2", by="ann", why="x")
    second = recommend(config)
    assert (second.version, second.latest) == ("2", first.latest)
    assert second.folder != first.folder
    assert Path(second.latest).resolve() == Path(second.folder)
    assert Path(first.folder).exists()
