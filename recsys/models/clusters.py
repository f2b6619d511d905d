"""Clusters that one fit is spread over: Dask's and Ray's, by their address."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from operator import itemgetter
from typing import Any

from recsys.base.cores import at_most
from recsys.base.errors import ConfigError, WorkerError
from recsys.base.events import Note, emit
from recsys.models.spreading import Cluster

LOOK = 5.0
"""Seconds between two looks at whether a cluster has workers, while a result is waited for."""
PATIENCE = 300.0
"""Seconds without any worker after which a cluster is given up."""


class WorkerWatch:
    """Gives up a cluster that has had no worker for too long.

    One that replaces its workers has none for a moment. Where they have all gone for good, Dask and
    Ray wait for others, and would do so for ever.

    Parameters
    ----------
    address : str
        For messages.
    count : callable
        How many workers the cluster has now.
    """

    def __init__(self, address: str, count: Callable[[], int]) -> None:
        self._address, self._count = address, count

    def wait(self, arrived: Callable[[], bool]) -> None:
        """Wait for a result.

        Parameters
        ----------
        arrived : callable
            Whether it is there; takes a few seconds, `LOOK`, to say that it is not.

        Raises
        ------
        WorkerError
            If there has been no worker for as long as `PATIENCE`.
        """
        since: float | None = None
        while not arrived():
            now = time.monotonic()
            if self._count():
                since = None
            elif since is None:
                since = now
                self._say()
            elif now - since >= PATIENCE:
                raise WorkerError(
                    f"the cluster at {self._address} had no worker for {PATIENCE:.0f} seconds",
                    "workers that live until a run ends",
                    "start workers, then start the run again: what was finished is kept",
                )

    def _say(self) -> None:
        where, most = self._address, f"at most {PATIENCE:.0f} seconds"
        emit(Note(f"the cluster at {where} has no worker: one is waited for, {most}"))


@contextmanager
def open_cluster(address: str, seconds: float = 20) -> Iterator[Cluster]:
    """Connect to a cluster; it goes on when the fit is over.

    Parameters
    ----------
    address : str
        Of Ray's where it begins with `ray://` or is `auto`, else of a scheduler of Dask.
    seconds : float
        After which a scheduler of Dask that does not answer is none.

    Raises
    ------
    ConfigError
        If Dask or Ray is not installed here, or nothing answers at the address.
    """
    name = "ray" if address == "auto" or address.startswith("ray://") else "dask"
    try:
        opened = _ray(address) if name == "ray" else _dask(address, seconds)
    except ImportError as fault:
        raise ConfigError(
            f"fit.cluster is {address}, but {fault.name} is not installed",
            f"{name.capitalize()}, to reach its cluster",
            f"pip install 'liked-this[{name}]', or leave fit.cluster out",
        ) from fault
    except (OSError, ConnectionError) as fault:
        raise ConfigError(
            f"nothing answers at {address}",
            f"the address of a running cluster of {name.capitalize()}",
            "start the cluster, or correct fit.cluster",
        ) from fault
    try:
        yield opened
    finally:
        opened.close()


def _dask(address: str, seconds: float) -> DaskCluster:
    import distributed

    connect: Any = distributed.Client
    return DaskCluster(connect(address, set_as_default=False, timeout=seconds), address)


def _ray(address: str) -> RayCluster:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage statistics are sent
    import ray

    ours = not ray.is_initialized()
    if ours:
        ray.init(address=address, log_to_driver=False)
    return RayCluster(ours, address)


def worker_of(place: float, workers: int) -> int:
    """Which of so many workers makes calls of a `place` from 0 to below 1."""
    return int(place * workers)


class DaskCluster:
    """A Dask cluster as a fit needs it.

    Parameters
    ----------
    client : distributed.Client
        Closed with the cluster.
    address : str
        For messages.
    """

    def __init__(self, client: Any, address: str) -> None:
        from distributed import CancelledError, KilledWorker

        self.lost = (KilledWorker, CancelledError)
        self._client = client
        self._workers = sorted(dask_workers(client))
        self._watch = WorkerWatch(address, lambda: len(dask_workers(client)))

    def call(
        self, function: Callable[..., Any], *arguments: Any, results: int = 1, place: float = 0
    ) -> Any:
        """Start a call in a worker."""
        # Other workers may take it, above all where this one is lost. A name of its own saves
        # hashing the arguments.
        workers = self._workers
        home = workers[worker_of(place, len(workers))] if workers else None
        settings = {"workers": home, "allow_other_workers": home is not None, "pure": False}
        future = self._client.submit(_alone, function, *arguments, **settings)
        if results == 1:
            return future
        parts = map(itemgetter, range(results))
        return [self._client.submit(part, future, **settings) for part in parts]

    def get(self, references: Sequence[Any]) -> list[Any]:
        """Wait for results."""
        import distributed

        wait: Any = distributed.wait

        def arrived() -> bool:
            with suppress(TimeoutError), self._client.as_current():
                wait(list(references), timeout=LOOK)
                return True
            return False

        self._watch.wait(arrived)
        found: list[Any] = self._client.gather(list(references))
        return found

    def close(self) -> None:
        """Leave the cluster, which goes on."""
        self._client.close()


def dask_workers(client: Any) -> list[str]:
    """The addresses of the workers that a Dask cluster has now.

    Parameters
    ----------
    client : distributed.Client
    """
    return list(client.scheduler_info(n_workers=-1)["workers"])


def ray_cores() -> int:
    """How many cores a Ray cluster has now, of all its workers."""
    import ray

    resources: Any = ray.cluster_resources
    return int(resources().get("CPU", 0))


class RayCluster:
    """A Ray cluster as a fit needs it, connected to already.

    Parameters
    ----------
    ours : bool
        Whether to disconnect in the end.
    address : str
        For messages.
    """

    def __init__(self, ours: bool, address: str) -> None:
        import ray

        self._ray, self._ours = ray, ours
        self._watch = WorkerWatch(address, ray_cores)
        self.lost = (ray.exceptions.WorkerCrashedError, ray.exceptions.ObjectLostError)

    def call(
        self, function: Callable[..., Any], *arguments: Any, results: int = 1, place: float = 0
    ) -> Any:
        """Start a call in a worker; Ray itself prefers one that has the arguments."""
        remote = self._ray.remote(_alone).options(num_returns=results, max_retries=3)
        return remote.remote(function, *arguments)

    def get(self, references: Sequence[Any]) -> list[Any]:
        """Wait for results."""
        every = list(references)
        self._watch.wait(lambda: not self._ray.wait(every, num_returns=len(every), timeout=LOOK)[1])
        found: list[Any] = self._ray.get(every)
        return found

    def close(self) -> None:
        """Leave the cluster, which goes on."""
        if self._ours:
            self._ray.shutdown()


def _alone(function: Callable[..., Any], *arguments: Any) -> Any:
    """A call on one core: the cluster's other workers have the others."""
    with at_most(1):
        return function(*arguments)
