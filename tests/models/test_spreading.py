"""A fit that is spread over processes learns what a fit on one machine learns, to the last bit."""

from __future__ import annotations

import os
import signal
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from recsys.base.errors import ConfigError, StorageError, WorkerError
from recsys.base.events import listening
from recsys.models import clusters, lightfm
from recsys.models.clusters import open_cluster
from recsys.models.configuration import LightFMParameters
from recsys.models.lightfm import Training
from recsys.models.spreading import ATTEMPTS, Spread, _load_part
from recsys.store.exchange import Exchange


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small data are cut as well."""
    monkeypatch.setattr(lightfm, "LEAST_IN_GROUP", 64)


class LostError(Exception):
    """A worker is gone."""


class Here:
    """Calls at once, in this process; some of them lose their worker."""

    def __init__(self, losing: Sequence[int] = ()) -> None:
        self.lost: tuple[type[Exception], ...] = (LostError,)
        self.losing, self.calls = set(losing), 0

    def call(
        self, function: Callable[..., Any], *arguments: Any, results: int = 1, place: float = 0
    ) -> Any:
        assert 0 <= place < 1
        self.calls += 1
        if self.calls in self.losing:
            raise LostError
        return function(*arguments)

    def get(self, references: Sequence[Any]) -> list[Any]:
        return list(references)


def some_likes(weighted: bool = False) -> sp.csr_matrix:
    generator = np.random.default_rng(0)
    likes = sp.csr_matrix((generator.random((260, 200)) < 0.05).astype(np.float32))
    if weighted:
        likes.data = generator.uniform(0.2, 3, likes.nnz).astype(np.float32)
    return likes


def assert_same(one: Training, other: Training) -> None:
    for name, expected in one.state().items():
        np.testing.assert_array_equal(other.state()[name], expected, err_msg=name)


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
@pytest.mark.parametrize("loss", ["warp", "bpr", "logistic"])
def test_a_spread_fit_is_that_of_one_machine(
    loss: Any, schedule: Any, weighted: bool, tmp_path: Path
) -> None:
    likes = some_likes(weighted)
    parameters = LightFMParameters(
        20, loss=loss, learning_schedule=schedule, user_alpha=1e-3, item_alpha=1e-2, blocks=3
    )
    whole = Training(likes, parameters, 0)
    spread = Training(likes, parameters, 0, spread=Spread(Here(), Exchange(str(tmp_path))))
    for training in (whole, spread):
        training.advance(2)
        training.advance(1)
    assert_same(whole, spread)
    assert not list(tmp_path.iterdir())
    maps = Path("/proc/self/maps")  # a file that is open cannot be removed from every file system
    assert not maps.exists() or "likes-" not in maps.read_text()


def test_an_epoch_whose_worker_is_lost_is_begun_again(tmp_path: Path) -> None:
    parameters = LightFMParameters(8, blocks=2)
    whole = Training(some_likes(), parameters, 0)
    whole.advance(3)
    cluster = Here(losing=[3, 40])
    spread = Training(some_likes(), parameters, 0, spread=Spread(cluster, Exchange(str(tmp_path))))
    spread.advance(3)
    assert cluster.calls > 41
    assert_same(whole, spread)


def test_workers_that_are_lost_again_and_again_are_an_error(tmp_path: Path) -> None:
    cluster = Here(losing=range(1, 1000))
    parameters = LightFMParameters(8, blocks=2)
    spread = Training(some_likes(), parameters, 0, spread=Spread(cluster, Exchange(str(tmp_path))))
    with pytest.raises(WorkerError, match="in epoch 1"):
        spread.advance(1)
    assert cluster.calls == ATTEMPTS


@contextmanager
def dask() -> Iterator[tuple[str, int | None]]:
    """A Dask cluster of three processes: its address, and the process of one to be killed."""
    distributed = pytest.importorskip("distributed")
    with distributed.LocalCluster(
        n_workers=3, threads_per_worker=1, dashboard_address=None
    ) as cluster:
        yield cluster.scheduler_address, cluster.workers[1].pid


@contextmanager
def ray() -> Iterator[tuple[str, int | None]]:
    """A Ray cluster, which takes long to start processes."""
    ray = pytest.importorskip("ray")
    ray.init(num_cpus=1, include_dashboard=False, log_to_driver=False, logging_level="ERROR")
    try:
        yield "auto", None
    finally:
        ray.shutdown()


asked_for = pytest.mark.skipif(
    "RECSYS_TEST_RAY" not in os.environ, reason="Ray takes long to start; set RECSYS_TEST_RAY=1"
)


@pytest.mark.parametrize("start", [dask, pytest.param(ray, marks=asked_for)])
def test_a_fit_on_a_cluster_is_that_of_one_machine_even_if_a_process_is_killed(
    start: Callable[[], AbstractContextManager[tuple[str, int | None]]], tmp_path: Path
) -> None:
    parameters = LightFMParameters(16, item_alpha=1e-3, blocks=3)
    whole = Training(some_likes(), parameters, 0)
    with start() as (address, process), open_cluster(address) as cluster:
        spread = Training(
            some_likes(), parameters, 0, spread=Spread(cluster, Exchange(str(tmp_path)))
        )
        ended = threading.Event()

        def kill_after_an_epoch() -> None:
            while not list(tmp_path.glob("*/epoch-1-*")):
                if ended.wait(0.01):
                    return
            assert process is not None
            os.kill(process, signal.SIGKILL)

        killer = threading.Thread(target=kill_after_an_epoch if process else lambda: None)
        killer.start()
        epochs = 4 if process else 1
        try:
            spread.advance(epochs)
        finally:
            ended.set()
            killer.join()
        if process:
            with pytest.raises(ProcessLookupError):  # it was killed, and is gone
                os.kill(process, 0)
    whole.advance(epochs)
    assert_same(whole, spread)


def test_an_address_at_which_nothing_answers_is_said() -> None:
    pytest.importorskip("distributed")
    nowhere = "tcp://127.0.0.1:9"
    with pytest.raises(ConfigError, match="nothing answers"), open_cluster(nowhere, seconds=1):
        pass


def test_a_cluster_without_workers_is_waited_for_and_given_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    distributed = pytest.importorskip("distributed")
    monkeypatch.setattr(clusters, "LOOK", 0.1)
    monkeypatch.setattr(clusters, "PATIENCE", 2.0)
    notes: list[str] = []
    with (
        distributed.LocalCluster(
            n_workers=0, threads_per_worker=1, processes=False, dashboard_address=None
        ) as started,
        open_cluster(started.scheduler_address) as cluster,
        listening(lambda event: notes.append(getattr(event, "text", ""))),
    ):
        said = f"the cluster at {started.scheduler_address} had no worker for 2 seconds"
        with pytest.raises(WorkerError, match=said):
            cluster.get([cluster.call(sum, [1, 2])])
        assert len(notes) == 1
        assert "has no worker: one is waited for, at most 2 seconds" in notes[0]
        late = cluster.call(sum, [3, 4])
        worker = threading.Timer(0.5, started.scale, [1])
        worker.start()
        assert cluster.get([late]) == [7]
        worker.join()


def test_workers_of_a_machine_share_the_likes_in_a_folder(tmp_path: Path) -> None:
    here, there = Exchange(str(tmp_path)), Exchange(f"memory://{tmp_path.name}")
    array = np.arange(5, dtype=np.int32)
    for exchange in (here, there):
        assert exchange.load_array("likes-items.npy") is None
        exchange.save_array("likes-items.npy", array)
        np.testing.assert_array_equal(exchange.load_array("likes-items.npy"), array)
    mapped = here.load_array("likes-items.npy")
    assert mapped is not None
    assert isinstance(mapped.base, np.memmap)
    there.clear()
    assert there.load_array("likes-items.npy") is None


def test_an_exchange_that_a_worker_does_not_reach_is_said(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match=r"fit\.exchange"):
        _load_part(Exchange(str(tmp_path)), 0, "user", 0)
