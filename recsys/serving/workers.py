"""Workers: several processes that answer on one address, each replaced when it dies.

They are forked from the process that watches over them, which imports everything, opens the bundle
that there is at the start and starts no threads of Python, so that all share the memory of modules
and of that bundle. All of them accept connections of one socket. What they have to tell each other
is on disk: the likes log, and the registry, which each of them looks into by itself.
"""

from __future__ import annotations

import logging
import multiprocessing
import os
import signal
import socket
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import TYPE_CHECKING

from recsys.base.errors import RecsysError, UnavailableError
from recsys.base.redaction import redact_logs
from recsys.serving.limits import Limits
from recsys.serving.listening import address_of, listen
from recsys.serving.observing import Observing
from recsys.store.scratch import scratch_folder

if TYPE_CHECKING:
    from recsys.serving.champion import Champion
    from recsys.serving.server import Server

_log = logging.getLogger(__name__)
SERVED = "RECSYS_SERVED_MODEL"  # environment: the model whose champion is opened before forking
_COUNTS = "PROMETHEUS_MULTIPROC_DIR"  # environment: read when prometheus-client is imported
_ENDING = (signal.SIGINT, signal.SIGTERM)
_SHORT = 10.0  # seconds of a life after which the next worker is waited with
_LONGEST_PAUSE = 30.0


@dataclass(frozen=True)
class Work:
    """What every worker serves.

    Parameters
    ----------
    champion : callable
        Opens the champion, in the worker; a module's function or a `functools.partial` of one, as
        it is sent to the worker.
    model : str
        Its name.
    limits : Limits
        Of each worker.
    observing : Observing
        What each of them records; sent to it as well.
    """

    champion: Callable[[], Champion]
    model: str
    limits: Limits
    observing: Observing = Observing()


def serve_with_workers(
    work: Work, host: str, port: int, workers: int, ready: Callable[[str, str], None]
) -> None:
    """Answer with several processes until interrupted.

    Parameters
    ----------
    work : Work
    host, port, ready
        As for `recsys.serving.server.serve`.
    workers : int

    Raises
    ------
    NotFoundError, RegistryError
        If there is no champion to begin with.
    ConfigError
        If the address cannot be had.
    """
    redact_logs()
    with listen(host, port) as listener, _signals() as signalled, _counted_together():
        running = _Workers(work, listener, workers)
        try:
            version = running.begin()
            ready(version, address_of(host, listener))
            caught = running.keep(signalled)
        finally:
            running.end()
    signal.raise_signal(caught)


@contextmanager
def _signals() -> Iterator[int]:
    """A file descriptor from which the numbers of signals that end the server can be read."""
    readable, writable = os.pipe()
    os.set_blocking(writable, False)
    before = {number: signal.signal(number, lambda *_: None) for number in _ENDING}
    woken = signal.set_wakeup_fd(writable)
    try:
        yield readable
    finally:
        signal.set_wakeup_fd(woken)
        for number, handler in before.items():
            signal.signal(number, handler)
        os.close(readable)
        os.close(writable)


@contextmanager
def _counted_together() -> Iterator[None]:
    """A folder in which each worker counts, named to all of them before they are started."""
    with scratch_folder(Path(tempfile.gettempdir()), "recsys-metrics-") as folder:
        before = os.environ.get(_COUNTS)
        os.environ[_COUNTS] = str(folder)
        try:
            yield
        finally:
            if before is None:
                del os.environ[_COUNTS]
            else:
                os.environ[_COUNTS] = before


@dataclass
class _Worker:
    process: ForkProcess
    news: Connection
    started: float = field(default_factory=time.monotonic)


@dataclass
class _Workers:
    """The workers that are alive, kept at their number."""

    work: Work
    listener: socket.socket
    number: int
    _alive: list[_Worker] = field(default_factory=list)
    _pause: float = 0.0

    def __post_init__(self) -> None:
        self._context = multiprocessing.get_context("fork")
        os.environ[SERVED] = self.work.model
        import recsys.serving.preloaded  # noqa: F401  opens the champion once, for all of them

    def begin(self) -> str:
        """Start all of them; the version that they answer with.

        Raises
        ------
        RecsysError
            If one of them cannot answer, and why.
        """
        for _ in range(self.number):
            self._start()
        versions = [self._first_news(worker) for worker in self._alive]
        return versions[-1]

    def keep(self, signalled: int) -> int:
        """Replace those that die until there is a signal, whose number is returned."""
        due = 0.0
        while True:
            now = time.monotonic()
            while len(self._alive) < self.number and now >= due:
                self._start()
            sentinels = {worker.process.sentinel: worker for worker in self._alive}
            missing = len(self._alive) < self.number
            for found in wait([signalled, *sentinels], max(0.0, due - now) if missing else None):
                if found == signalled:
                    return os.read(signalled, 1)[0]
                assert isinstance(found, int)
                self._bury(sentinels[found])
                due = time.monotonic() + self._pause

    def end(self) -> None:
        """End all, after the requests that they are answering."""
        for worker in self._alive:
            worker.process.terminate()
        until = time.monotonic() + 3 * self.work.limits.seconds + 5
        for worker in self._alive:
            worker.process.join(max(0.0, until - time.monotonic()))
            if worker.process.is_alive():
                worker.process.kill()
                worker.process.join()
        self._alive.clear()

    def _start(self) -> None:
        news, told = self._context.Pipe(duplex=False)
        process = self._context.Process(
            target=_answer, args=(self.work, self.listener, told), name="recsys worker"
        )
        # Until it has handlers of its own, a worker would write to the pipe of this process.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _ENDING)
        try:
            process.start()
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
        told.close()
        self._alive.append(_Worker(process, news))

    def _first_news(self, worker: _Worker) -> str:
        """The version that a worker answers with; waits until it does."""
        try:
            found = worker.news.recv()
        except EOFError:
            worker.process.join()
            found = UnavailableError(
                f"a worker that ended with exit code {worker.process.exitcode}",
                "one that answers",
                "see what it said above",
            )
        if isinstance(found, RecsysError):
            raise found
        return str(found)

    def _bury(self, worker: _Worker) -> None:
        worker.process.join()
        self._alive.remove(worker)
        worker.news.close()
        # One that cannot live is not started a hundred times a second.
        lived = time.monotonic() - worker.started
        self._pause = 0.0 if lived > _SHORT else min(_LONGEST_PAUSE, 2 * self._pause or 0.5)
        for counts in Path(os.environ[_COUNTS]).glob(f"gauge_live*_{worker.process.pid}.db"):
            counts.unlink()  # what holds while a process lives
        code, process = worker.process.exitcode, worker.process.pid
        _log.warning("worker %s ended with exit code %s; another takes its place", process, code)


def _answer(work: Work, listener: socket.socket, told: Connection) -> None:
    """The life of a worker: it tells which version it answers with, or what is wrong."""
    signal.set_wakeup_fd(-1)
    # Ctrl+C reaches all processes of a terminal; this one is ended by the first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, _ENDING)
    redact_logs()
    from recsys.serving.server import make_server  # takes long to import

    try:
        champion = work.champion()
        champion.current()
        server = make_server(
            champion, work.model, work.limits, _once(told, champion), work.observing
        )
        threading.Thread(target=_end_with_parent, args=(server,), daemon=True).start()
    except RecsysError as fault:
        told.send(fault)
        return
    with champion.followed():
        server.run(sockets=[listener])


def _once(told: Connection, champion: Champion) -> Callable[[], None]:
    """Tells that the worker answers."""

    def tell() -> None:
        told.send(champion.version)
        told.close()

    return tell


def _end_with_parent(server: Server) -> None:
    """Nobody ends the worker of a server that was killed."""
    parent = multiprocessing.parent_process()
    assert parent is not None
    parent.join()
    server.should_exit = True
