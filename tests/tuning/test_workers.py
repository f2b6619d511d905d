"""Workers and exchanges: the same study with any workers, wherever paused models wait."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from dataclasses import replace
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import pytest

from recsys.base.config import Data, Search
from recsys.base.errors import InputError
from recsys.models.configuration import LightFMParameters
from recsys.models.lightfm import Training
from recsys.pipeline import tuning
from recsys.store.exchange import Exchange, fetch_stage
from recsys.store.stages import Outcome, Stage
from recsys.tuning.checkpoints import FileCheckpoints
from recsys.tuning.segments import Segment
from recsys.tuning.trials import TrialResult
from recsys.tuning.workers import RemoteProblem, RemoteSegment, RemoteWorkers, train_remote
from tests.fixtures.planted import write_planted
from tests.fixtures.searches import problem
from tests.fixtures.servers import s3
from tests.fixtures.stages import Prepared, prepare

SEARCH = Search(item_to_item_trials=0, trials=4, max_epochs=24, batch=3)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Prepared:
    folder = tmp_path_factory.mktemp("workers")
    likes, features = write_planted(folder / "in")
    return prepare(Data(likes=str(likes), features=str(features)), folder / "interim")


@pytest.fixture(scope="module")
def store() -> Iterator[str]:
    with s3("exchange"):
        yield "s3://exchange/nights"


class Processes:
    """A pool of processes, without Prefect."""

    shares_memory = False

    def __init__(self, workers: int) -> None:
        self._pool = ProcessPoolExecutor(workers, get_context("spawn"))
        self.submit = self._pool.submit


class SeparateThreads:
    """Threads that are treated as if they shared nothing."""

    shares_memory = False

    def __init__(self) -> None:
        self.submit = ThreadPoolExecutor(2).submit


@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
@pytest.mark.parametrize("loss", ["warp", "bpr"])
def test_training_goes_on_from_its_arrays_to_the_last_bit(
    tmp_path: Path, loss: str, schedule: str
) -> None:
    hyperparameters = LightFMParameters.from_dict(
        {"no_components": 8, "user_alpha": 1e-4, "loss": loss, "learning_schedule": schedule}
    )
    whole, first, second = (Training(problem().train, hyperparameters, 3) for _ in range(3))
    whole.advance(9)
    first.advance(4)
    checkpoints = FileCheckpoints(Exchange(str(tmp_path / "checkpoints")))
    checkpoints.save("a", first)
    assert checkpoints.restore("a", lambda: second) is second
    assert second.epoch == 4
    second.advance(5)
    for name, array in whole.state().items():
        np.testing.assert_array_equal(second.state()[name], array)
    checkpoints.drop("a")
    assert checkpoints.restore("a", lambda: first) is None
    checkpoints.drop("a")


def test_one_study_in_threads_in_processes_and_through_a_store(
    prepared: Prepared, store: str, tmp_path: Path
) -> None:
    def digest(name: str, **who: object) -> str:
        made = tuning.tune(tmp_path / name, prepared.holdouts, prepared.features, SEARCH, 3, **who)
        # Nothing of the models under way is left in the product.
        assert {p.name for p in Path(made.path).iterdir()} == {"manifest.json", "study.json"}
        return made.digest

    expected = digest("threads", workers=2)
    assert digest("processes", pool=Processes(2)) == expected
    assert digest("store", pool=SeparateThreads(), exchange=store) == expected
    left = Exchange(store)
    assert left.load("anything") is None


def test_a_segment_that_was_lost_is_made_again(prepared: Prepared, tmp_path: Path) -> None:
    """A worker that dies after its work has changed the checkpoint; the next one finds it so."""
    configuration = {"no_components": 8, "strategy": "none"}
    place = Exchange(str(tmp_path))
    remote = RemoteProblem(prepared.holdouts, prepared.features, 3, place)
    first = Segment(TrialResult(0, configuration), (3, 4), (), 24)
    paused = train_remote(RemoteSegment(remote, first))
    assert paused.status == "paused"
    assert paused.factors is None
    second = Segment(paused, (6, 8), (), 24)
    once, again = (
        train_remote(RemoteSegment(remote, second)),
        train_remote(RemoteSegment(remote, second)),
    )
    assert once.values == again.values
    last = replace(second, trial=again, rungs=(24,))
    ended, after = (
        train_remote(RemoteSegment(remote, last)),
        train_remote(RemoteSegment(remote, last)),
    )
    assert (ended.status, after.status) == ("complete", "complete")
    assert ended.values == after.values
    found = RemoteWorkers(remote, ThreadPoolExecutor(1).submit).factors(ended)
    assert found is not None
    best = problem_of(prepared).precision(found)
    assert best == ended.precision


def problem_of(prepared: Prepared) -> object:
    from recsys.tuning.problems import load_problem

    return load_problem(prepared.holdouts, prepared.features, 3)


def test_stages_travel_by_url_once_and_are_checked(
    prepared: Prepared, store: str, tmp_path: Path
) -> None:
    given = Exchange(store).publish(prepared.holdouts)
    assert given.path.startswith("s3://exchange/nights/split-")
    fetched = fetch_stage(given, tmp_path / "cache")
    assert fetched.digest == prepared.holdouts.digest
    assert fetched.outcome == prepared.holdouts.outcome
    assert fetched.path != prepared.holdouts.path
    assert fetch_stage(given, tmp_path / "cache") == fetched
    Path(fetched.path, "train.npz").write_bytes(b"")
    with pytest.raises(InputError, match="damaged"):
        fetch_stage(given, tmp_path / "cache")
    nowhere = replace(given, path="s3://exchange/elsewhere")
    with pytest.raises(InputError, match="no stage at s3://exchange/elsewhere"):
        fetch_stage(nowhere, tmp_path / "other")


def test_arrays_are_whole_or_not_there(tmp_path: Path, store: str) -> None:
    for place in (Exchange(str(tmp_path / "new")), Exchange(store)):
        assert place.load("a.npz") is None
        where = place.save("a.npz", {"x": np.arange(3)})
        assert where == f"{place.address}/a.npz"
        found = place.load("a.npz")
        assert found is not None
        assert found["x"].tolist() == [0, 1, 2]
        place.drop("a.npz")
        place.drop("a.npz")
        assert place.load("a.npz") is None
        place.below("b").save("c.npz", {"x": np.zeros(1)})
        place.clear()
        assert place.below("b").load("c.npz") is None
        place.clear()


def test_a_folder_of_this_machine_is_handed_on_as_it_is(tmp_path: Path) -> None:
    stage = Stage("split", "data/interim/split-1", "1", "digest", Outcome())
    given = Exchange(str(tmp_path)).publish(stage)
    assert Path(given.path) == Path("data/interim/split-1").resolve()
