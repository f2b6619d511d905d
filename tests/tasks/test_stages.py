"""The tasks of the pipeline: what each is cached by, and what it asks before it begins."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from mlflow.tracking import MlflowClient
from prefect import flow
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import ArtifactFilter, ArtifactFilterType

from recsys.base.config import Batch, Data, Search, Tracking
from recsys.base.errors import NotFoundError, RegistryError
from recsys.base.events import Event, StageDone, listening
from recsys.pipeline.tracked import RunDetails, Tracked
from recsys.serving import pyfunc
from recsys.tracking.runs import StudyDescription
from tasks.adopt import adopt
from tasks.ingest import ingest
from tasks.recommend import recommend
from tasks.report import artifact_key
from tasks.tune import tune
from tests.fixtures.bundles import write_bundle
from tests.fixtures.planted import write_planted
from tests.fixtures.stages import Prepared, prepare
from tests.fixtures.tracking_database import tracking_database

SEARCH = Search(trials=2, max_epochs=4, batch=2, item_to_item_trials=2)
DETAILS = RunDetails("planted", "in/likes.psv", 3, {"search.trials": 2})


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("tasks")
    likes, features = write_planted(folder / "in")
    return prepare(Data(likes=str(likes), features=str(features)), folder / "interim")


def tracked(folder: Path, model: str = "fruit") -> Tracked:
    return Tracked(Tracking(uri=f"sqlite:///{folder}/mlflow.db"), model, model)


def with_champion(folder: Path) -> Tracked:
    """A registry with two versions, of which the first is champion."""
    found = tracked(folder)
    tracking_database(folder)
    run_id = found.tracker().open_study(StudyDescription("k", "fruit", {}))
    for number in ("1", "2"):
        (folder / number).mkdir()
        bundle = write_bundle(folder / number / "bundle")
        pyfunc.register(found.tracking.uri, run_id, "fruit", bundle, {"bundle": number})
    found.registry().promote("1", by="ann", why="x")
    return found


def run(call: Callable[[], Any]) -> tuple[Any, list[bool]]:
    """What a call inside of a flow run gave, and whether each of its stages was reused."""
    events: list[Event] = []
    with listening(events.append):
        found = flow(name="stages")(call)()
    return found, [event.reused for event in events if isinstance(event, StageDone)]


def test_ingest_is_cached_by_what_the_files_hold(tmp_path: Path) -> None:
    likes, features = write_planted(tmp_path / "in")
    data = Data(likes=str(likes), features=str(features))
    interim = str(tmp_path / "interim")
    first = run(lambda: ingest(interim, data))
    assert first[1] == [False]
    moved = Data(likes=str(likes.rename(tmp_path / "moved.psv")), features=str(features))
    assert run(lambda: ingest(interim, moved)) == (first[0], [True])
    # Read in another way, or another content: another product.
    quoted = moved.model_copy(update={"quote": "'"})
    assert run(lambda: ingest(interim, quoted))[1] == [False]
    Path(moved.likes).write_text(Path(moved.likes).read_text() + "item g0i00|g0i00|new\n")
    changed, reused = run(lambda: ingest(interim, moved))
    assert reused == [False]
    assert changed.outcome.users == first[0].outcome.users + 1


def test_a_search_is_found_again_by_its_settings_and_its_trials_are_recorded(
    prepared: Prepared, tmp_path: Path
) -> None:
    stages = prepared.core, prepared.holdouts, prepared.features
    place = tracked(tmp_path)
    tracking_database(tmp_path)

    def search(settings: Search = SEARCH, details: RunDetails = DETAILS) -> Any:
        return run(lambda: tune(str(tmp_path), *stages, settings, None, place, details))

    first, reused = search()
    assert reused == [False]
    assert search() == (first, [True])
    # Who trains changes nothing of what is found.
    assert search(SEARCH.model_copy(update={"workers": 1})) == (first, [True])
    other, reused = search(details=replace(DETAILS, seed=4))
    assert (reused, other.key == first.key) == ([False], False)
    client = MlflowClient(tracking_uri=place.tracking.uri)
    found = client.get_experiment_by_name("fruit")
    assert found is not None
    runs = client.search_runs([found.experiment_id], f"tags.study = '{first.key}'")
    kinds = [entry.data.tags["kind"] for entry in runs]
    assert (kinds.count("study"), kinds.count("trial")) == (1, first.outcome.trials)
    # The journal is gone: MLflow was told of everything.
    assert not list(tmp_path.glob("trials-*"))
    with get_client(sync_client=True) as asked:
        bars = asked.read_artifacts(
            artifact_filter=ArtifactFilter(type=ArtifactFilterType(any_=["progress"]))
        )
    assert 100.0 in [bar.data for bar in bars]


def test_adopting_needs_a_champion(prepared: Prepared, tmp_path: Path) -> None:
    stages = prepared.core, prepared.holdouts, prepared.features
    with pytest.raises(RegistryError, match="no model registry"):
        run(lambda: adopt(str(tmp_path), *stages, 3, tracked(tmp_path)))
    tracking_database(tmp_path)
    with pytest.raises(NotFoundError, match="fruit has no champion"):
        run(lambda: adopt(str(tmp_path), *stages, 3, tracked(tmp_path)))


def test_lists_are_cached_by_version_and_length(tmp_path: Path) -> None:
    place = with_champion(tmp_path)
    options = Batch(n=2, folder=str(tmp_path / "lists"))
    first, reused = run(lambda: recommend(options, place))
    assert (reused, first.outcome.version) == ([False], "1")
    assert run(lambda: recommend(options, place)) == (first, [True])
    longer = options.model_copy(update={"n": 3})
    assert run(lambda: recommend(longer, place))[1] == [False]
    place.registry().promote("2", by="ann", why="x")
    second, reused = run(lambda: recommend(options, place))
    assert (reused, second.outcome.version) == ([False], "2")


@pytest.mark.parametrize(
    ("model", "key"), [("sample", "report-sample"), ("Ann's Shop_2", "report-ann-s-shop-2")]
)
def test_a_report_has_a_key_that_prefect_allows(model: str, key: str) -> None:
    assert artifact_key(model) == key
