"""Several processes on one address: they share what was said, and one that dies is replaced."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import httpx
import psutil
import pytest

from recsys.base.errors import NotFoundError
from recsys.data.likes_log import Like
from recsys.serving import pyfunc
from recsys.serving.client import Client
from recsys.serving.limits import Limits
from recsys.serving.listening import listen
from recsys.serving.opening import open_champion
from recsys.serving.workers import Work, _answer
from recsys.tracking.registry import Registry
from recsys.tracking.runs import StudyDescription, Tracker
from tests.fixtures.bundles import write_bundle
from tests.fixtures.paths import ROOT
from tests.fixtures.tracking_database import tracking_database

PATIENCE = 120.0  # seconds, after which a test that waits fails


@pytest.fixture(scope="module")
def uri(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("workers")
    uri = tracking_database(folder)
    run_id = Tracker.connect(uri, "fruit").open_study(StudyDescription("k", "fruit", {}))
    made = write_bundle(folder / "bundle", features=True)
    number = pyfunc.register(uri, run_id, "fruit", made, {})
    Registry(uri, "fruit").promote(number, by="ann", why="first")
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
    """The processes that answer: those forked by the fork server, which the first one started."""
    return {
        child
        for server in psutil.Process(process.pid).children()
        for child in server.children()
        if child.status() != psutil.STATUS_ZOMBIE
    }


def wait_until(holds: Callable[[], bool]) -> None:
    end = time.monotonic() + PATIENCE
    while not holds():
        assert time.monotonic() < end
        time.sleep(0.05)


def likes_of_eve(address: str) -> list[str]:
    with Client(address, timeout=PATIENCE) as client:
        return [said.item for said in client.stored_likes("eve").log]


def metrics(address: str) -> list[str]:
    return httpx.get(f"{address}/metrics", timeout=PATIENCE).text.splitlines()


def asked_alone(
    worker: psutil.Process,
    others: set[psutil.Process],
    address: str,
    ask: Callable[[str], list[str]] = likes_of_eve,
) -> list[str]:
    """What one worker says (of the likes of eve by default) while the others are stopped."""
    for other in others - {worker}:
        other.suspend()
    try:
        return ask(address)  # over a new connection
    finally:
        for other in others - {worker}:
            other.resume()


@pytest.mark.parametrize("ended_by", [signal.SIGKILL, signal.SIGTERM], ids=["killed", "ended"])
def test_workers_share_likes_are_replaced_and_end_with_the_server(
    ended_by: signal.Signals, uri: str, tmp_path: Path
) -> None:
    with started(uri, "--port", "0", "--likes", str(tmp_path / "likes.sqlite")) as process:
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
            counted = asked_alone(one, first, address, metrics)
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
        process.send_signal(ended_by)
        assert process.wait(PATIENCE) == -ended_by
        assert psutil.wait_procs(left, PATIENCE)[1] == []
        assert process.stderr is not None
        assert "Traceback" not in process.stderr.read()


def test_what_a_worker_cannot_serve_is_told(tmp_path: Path) -> None:
    told, tells = multiprocessing.Pipe(duplex=False)
    before = signal.getsignal(signal.SIGINT)
    opened = partial(open_champion, "fruit", tmp_path / "nowhere.csv", tmp_path / "likes.sqlite")
    try:
        with listen("127.0.0.1", 0) as listener:
            _answer(Work(opened, "fruit", Limits()), listener, tells)
    finally:
        signal.signal(signal.SIGINT, before)
    fault = told.recv()
    assert isinstance(fault, NotFoundError)
    assert "nowhere.csv" in fault.found
