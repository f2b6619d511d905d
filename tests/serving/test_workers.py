"""Several processes on one address: they share what was said, and one that dies is replaced."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest

from recsys.base.errors import NotFoundError
from recsys.data.likes_log import Like
from recsys.recommend.queries.filters import Filters
from recsys.recommend.recommender import Recommender
from recsys.serving import pyfunc
from recsys.serving.client import Client
from recsys.serving.limits import Limits
from recsys.serving.listening import listen
from recsys.serving.opening import open_champion
from recsys.serving.workers import Work, _answer
from recsys.tracking.bundles import locate_bundle
from recsys.tracking.registry import Registry
from recsys.tracking.runs import StudyDescription, Tracker
from tests.fixtures.bundles import write_bundle
from tests.fixtures.paths import ROOT
from tests.fixtures.tracking_database import tracking_database
from tests.fixtures.waiting import PATIENCE, wait_until

USERS = ("ann", "bob")


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("workers")
    uri = tracking_database(folder)
    run_id = Tracker.connect(uri, "fruit").open_study(StudyDescription("k", "fruit", {}))
    for number, named in (("1", True), ("2", False)):
        (folder / number).mkdir()
        made = write_bundle(folder / number / "bundle", names=named, features=named)
        assert pyfunc.register(uri, run_id, "fruit", made, {}) == number
    Registry(uri, "fruit").promote("1", by="ann", why="first")
    return uri


@contextmanager
def started(uri: str, *options: str) -> Iterator[subprocess.Popen[str]]:
    command = [sys.executable, "-m", "recsys.cli", "serve", "--model", "fruit", "--workers", "2"]
    variables = os.environ | {"MLFLOW_TRACKING_URI": uri}
    process = subprocess.Popen(
        [*command, *options], env=variables, cwd=ROOT, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip
    try:
        yield process
    finally:
        process.kill()
        process.wait(PATIENCE)


def workers_of(process: subprocess.Popen[str]) -> set[psutil.Process]:
    """The processes that answer: those that the first one has forked."""
    children = psutil.Process(process.pid).children()
    return {child for child in children if child.status() != psutil.STATUS_ZOMBIE}


@contextmanager
def alone(worker: psutil.Process, others: set[psutil.Process], address: str) -> Iterator[Client]:
    """A client that one worker answers, as the others are stopped."""
    for other in others - {worker}:
        other.suspend()
    try:
        with Client(address, timeout=PATIENCE) as client:  # a new connection
            yield client
    finally:
        for other in others - {worker}:
            other.resume()


def asked_alone(worker: psutil.Process, others: set[psutil.Process], address: str) -> list[str]:
    """What one worker says of the likes of eve, while the others are stopped."""
    with alone(worker, others, address) as client:
        return [said.item for said in client.stored_likes("eve").log]


def change_under_load(uri: str, address: str, workers: set[psutil.Process]) -> None:
    """Version 2 is promoted while many ask: all are answered, by one version or by the other."""
    asked = [{"query": "recommend", "id": user, "n": 3, "include_seen": True} for user in USERS]
    registry = Registry(uri, "fruit")
    expected = {}
    for number in ("1", "2"):
        model = Recommender.load(locate_bundle(f"models:/fruit/{number}", uri))
        lists = [model.recommend(user, 3, Filters(include_seen=True)) for user in USERS]
        expected[number] = [one.as_dicts() for one in lists]
    assert expected["1"] != expected["2"]
    ended = threading.Event()

    def load(_: int) -> list[str]:
        """The versions that answer one connection, which is one worker's, in turn."""
        versions = []
        with httpx.Client(timeout=PATIENCE) as session:
            while not ended.is_set():
                answer = session.post(f"{address}/v1/questions", json={"questions": asked})
                assert answer.status_code == 200, answer.text
                found = answer.json()
                rows = [one["rows"] for one in found["answers"]]
                assert rows == expected[found["version"]]
                versions.append(found["version"])
        return versions

    def changed(worker: psutil.Process) -> bool:
        with alone(worker, workers, address) as client:
            return client.version().version == "2"

    with ThreadPoolExecutor(6) as pool:
        connections = [pool.submit(load, number) for number in range(6)]
        try:
            registry.promote("2", by="ann", why="a better one")
            for worker in workers:
                wait_until(lambda worker=worker: changed(worker))  # type: ignore[misc]
        finally:
            ended.set()
    for versions in [one.result() for one in connections]:
        assert versions == sorted(versions)
    with Client(address) as client:
        assert {client.version().version for _ in range(10)} == {"2"}


@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "ended"])
def test_workers_share_likes_are_replaced_follow_the_champion_and_end_with_the_server(
    ended_by: signal.Signals, uri: str, tmp_path: Path
) -> None:
    likes = str(tmp_path / "likes.sqlite")
    with started(uri, "--port", "0", "--likes", likes, "--every", "0.2") as process:
        assert process.stdout is not None
        said = process.stdout.readline()
        assert said.startswith("fruit version 1 answers at http://127.0.0.1:"), said
        address = said.split()[-1]
        first = workers_of(process)
        assert len(first) == 2
        for number in range(2):
            with Client(address, timeout=PATIENCE) as client:
                client.add_likes([Like("eve", "ab"[number])])
            for one in first:
                assert asked_alone(one, first, address) == ["a", "b"][: number + 1]
        # Whichever is asked adds up what all of them have counted.
        for one in first:
            with alone(one, first, address):
                counted = httpx.get(f"{address}/metrics", timeout=PATIENCE).text.splitlines()
            assert 'recsys_workers{version="1"} 2.0' in counted
            assert 'recsys_requests_total{path="/likes",status="200"} 2.0' in counted
        killed = first.pop()
        killed.send_signal(signal.SIGKILL)
        for _ in range(20):
            with Client(address, timeout=PATIENCE) as client:
                assert len(client.recommend("ann", 2)) == 2
        wait_until(lambda: len(workers_of(process)) == 2 and killed not in workers_of(process))
        assert first <= workers_of(process)
        [new] = workers_of(process) - first
        assert asked_alone(new, workers_of(process), address) == ["a", "b"]
        left = workers_of(process)
        if ended_by == signal.SIGTERM:  # once is enough
            change_under_load(uri, address, left)
        process.send_signal(ended_by)
        assert process.wait(PATIENCE) == -ended_by
        assert psutil.wait_procs(left, PATIENCE)[1] == []
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_what_a_worker_cannot_serve_is_told(tmp_path: Path) -> None:
    told, tells = multiprocessing.Pipe(duplex=False)
    ending = (signal.SIGINT, signal.SIGTERM)
    before = [signal.getsignal(number) for number in ending]
    opened = partial(open_champion, "fruit", tmp_path / "nowhere.csv", tmp_path / "likes.sqlite")
    try:
        with listen("127.0.0.1", 0) as listener:
            _answer(Work(opened, "fruit", Limits()), listener, tells)
    finally:
        for number, handler in zip(ending, before, strict=True):
            signal.signal(number, handler)
    fault = told.recv()
    assert isinstance(fault, NotFoundError)
    assert "nowhere.csv" in fault.found
