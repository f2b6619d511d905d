"""Checkpoints: a bound on memory costs no epoch and changes no bit; what is dropped is reported."""

from __future__ import annotations

import errno
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.base.config import Data, Search
from recsys.base.events import Event, Note, listening
from recsys.models.configuration import LightFMParameters
from recsys.models.lightfm import Training
from recsys.pipeline import tuning
from recsys.store.exchange import Exchange
from recsys.tuning.checkpoints import CheckpointStore, FileCheckpoints, MemoryCheckpoints
from recsys.tuning.policy import Budget
from recsys.tuning.problems import Problem
from recsys.tuning.search import run_study
from recsys.tuning.space import SearchSpace
from recsys.tuning.trials import Study
from recsys.tuning.workers import ThreadWorkers
from tests.fixtures.planted import write_planted
from tests.fixtures.searches import POLICY, SPACE, outcome, problem
from tests.fixtures.stages import prepare

PARAMETERS = LightFMParameters(no_components=8)


def trained(epochs: int = 2) -> Training:
    training = Training(problem().train, PARAMETERS, 3)
    training.advance(epochs)
    return training


def create() -> Training:
    return Training(problem().train, PARAMETERS, 3)


def notes(events: list[Event]) -> list[str]:
    return [event.text for event in events if isinstance(event, Note)]


def test_what_is_saved_is_not_dropped_by_being_saved() -> None:
    checkpoints, training = MemoryCheckpoints(limit=1), trained()
    assert training.bytes > 1
    checkpoints.save("large", training)
    assert checkpoints.dropped == 0
    assert checkpoints.restore("large", create) is training


def test_what_is_dropped_is_reported_and_counted() -> None:
    checkpoints, events = MemoryCheckpoints(limit=1), []
    with listening(events.append):
        for name in ("a", "b", "c"):
            checkpoints.save(name, trained())
    assert checkpoints.dropped == 2
    assert len(notes(events)) == 2
    assert "more than 1 bytes of models; 2 so far" in notes(events)[1]
    assert "search.checkpoint_bytes" in notes(events)[1]
    assert [checkpoints.restore(name, create) for name in ("a", "b")] == [None, None]
    assert checkpoints.restore("c", create) is not None


def test_models_beyond_the_limit_wait_in_files_to_the_last_bit(tmp_path: Path) -> None:
    checkpoints = MemoryCheckpoints(0, FileCheckpoints(Exchange(str(tmp_path))))
    training, events = trained(), []
    before = {name: array.copy() for name, array in training.state().items()}
    with listening(events.append):
        checkpoints.save("a", training)
        checkpoints.save("b", trained())
    assert len(notes(events)) == 1  # once is enough
    assert "wait in files" in notes(events)[0]
    found = checkpoints.restore("a", create)
    assert found is not None
    assert found is not training
    for name, array in before.items():
        np.testing.assert_array_equal(found.state()[name], array)
    # A file is gone once its model is back in use, or not needed any more.
    assert checkpoints.restore("a", create) is None
    checkpoints.drop("b")
    assert list(tmp_path.iterdir()) == []
    assert checkpoints.dropped == 0


@dataclass(frozen=True)
class FullDisk(Exchange):
    """A place where nothing can be saved."""

    def save(self, name: str, arrays: Mapping[str, Any]) -> str:
        raise OSError(errno.ENOSPC, "No space left on device")


def test_a_full_disk_drops_all_but_the_last(tmp_path: Path) -> None:
    checkpoints, events = MemoryCheckpoints(0, FileCheckpoints(FullDisk(str(tmp_path)))), []
    first, second = trained(), trained()
    with listening(events.append):
        checkpoints.save("a", first)
        checkpoints.save("b", second)
    assert checkpoints.dropped == 1
    assert "No space left on device" in notes(events)[0]
    assert checkpoints.restore("a", create) is None
    assert checkpoints.restore("b", create) is second


@dataclass(frozen=True)
class Counting(Problem):
    """A problem that counts the epochs that are trained on it."""

    def training(self, configuration: Mapping[str, Any]) -> Training:
        made = super().training(configuration)
        advance = made.advance

        def counted(epochs: int) -> None:
            advance(epochs)
            EPOCHS.append(epochs)

        made.advance = counted  # type: ignore[method-assign]
        return made


EPOCHS: list[int] = []


def bounded(checkpoints: CheckpointStore) -> tuple[Study, int]:
    """A study with its models in such a store, and the epochs that it trained."""
    EPOCHS.clear()
    whole = problem()
    counting = Counting(whole.train, whole.validation, seed=whole.seed)
    with ThreadPoolExecutor(1) as pool:
        workers = ThreadWorkers(counting, pool.submit, checkpoints)
        space = SearchSpace.from_config(SPACE)
        found = run_study(
            counting, space, Budget(6), policy=POLICY, batch=3, seed=4, workers=workers
        )
    return found, sum(EPOCHS)


@pytest.mark.parametrize("limit", [0, 20_000])
def test_no_epoch_is_trained_twice_whatever_the_limit(tmp_path: Path, limit: int) -> None:
    expected, epochs = bounded(MemoryCheckpoints())
    assert epochs == sum(trial.epochs[-1] for trial in expected.trials)
    found, again = bounded(MemoryCheckpoints(limit, FileCheckpoints(Exchange(str(tmp_path)))))
    assert outcome(found) == outcome(expected)
    assert again == epochs
    assert list(tmp_path.iterdir()) == []


def test_the_setting_changes_neither_the_key_nor_the_product(tmp_path: Path) -> None:
    likes, features = write_planted(tmp_path / "in")
    prepared = prepare(Data(likes=str(likes), features=str(features)), tmp_path / "interim")
    # Slow learners, which pause before they stop to rise.
    space = {"initialisation": "random", "learning_rate": 0.01}
    search = Search(item_to_item_trials=0, trials=3, max_epochs=60, batch=2, space=space)
    tight = search.model_copy(update={"checkpoint_bytes": 0})
    arguments = prepared.holdouts, prepared.features
    assert tuning.tune.key(*arguments, tight, 3) == tuning.tune.key(*arguments, search, 3)
    events: list[Event] = []
    with listening(events.append):
        bounded = tuning.tune(tmp_path / "tight", *arguments, tight, 3)
    assert any("wait in files" in text for text in notes(events))
    assert bounded.digest == tuning.tune(tmp_path / "loose", *arguments, search, 3).digest
    assert {p.name for p in Path(bounded.path).iterdir()} == {"manifest.json", "study.json"}
