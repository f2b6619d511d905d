"""Runners: Prefect task runners that train the segments of a search, each as a task run."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable, Iterator
from concurrent.futures import BrokenExecutor
from contextlib import AbstractContextManager, ExitStack, contextmanager, nullcontext
from typing import Any, Generic, TypeVar, cast

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.context import TaskRunContext
from prefect.settings import PREFECT_API_URL, temporary_settings
from prefect.task_runners import ProcessPoolTaskRunner, TaskRunner, ThreadPoolTaskRunner

from recsys.base.config import Search
from recsys.base.errors import ConfigError, WorkerError
from recsys.base.events import Note, emit
from recsys.models import clusters
from recsys.models.clusters import WorkerWatch, dask_workers, ray_cores
from recsys.tuning.workers import FutureResult
from tasks.caching import worth_retrying

A = TypeVar("A")
R = TypeVar("R")


@task(
    name="segment",
    task_run_name="{argument}",
    cache_policy=NO_CACHE,
    persist_result=False,
    retries=2,
    retry_delay_seconds=[2.0, 10.0],
    retry_condition_fn=worth_retrying,
)
def _segment(call: Callable[[Any], Any], argument: Any) -> Any:
    return call(argument)


# With too little memory for this many times, there is too little for the next time.
MAX_REPLACED = 2


class RunnerPool:
    """The workers of a Prefect task runner, which starts with the first call.

    If one process is killed, most often for lack of memory, its whole pool is lost. The pool is
    replaced a few times and the segments that it was training are submitted again. The models of
    paused trials are in files, so nothing else is trained twice, and the results are the same.
    Dask and Ray replace their workers themselves.

    Parameters
    ----------
    search : Search
        With the runner and how many workers it has.
    stack : ExitStack
        Ends the runner.
    """

    def __init__(self, search: Search, stack: ExitStack) -> None:
        self.shares_memory = search.runner == "threads"
        self._search, self._stack = search, stack
        self._runner: TaskRunner[Any] | None = None
        self._server: dict[Any, Any] = {}
        self._lost = 0
        self._watch: WorkerWatch | None = None

    def submit(self, call: Callable[[A], R], argument: A, /) -> FutureResult[R]:
        """Start `call(argument)` in a worker."""
        return _Submitted(self, call, argument)

    def start(self, call: Callable[[A], R], argument: A) -> tuple[FutureResult[R], int]:
        """Submit a call to the runner; returns its future and how many pools were lost before."""
        while True:
            lost, runner = self._lost, self._started()
            try:
                with self._reporting(), self._without_parameters():
                    future = runner.submit(_segment, {"call": call, "argument": argument})
                return cast("FutureResult[R]", future), lost
            except BrokenExecutor as fault:
                self.replace(lost, fault)

    def wait(self, future: FutureResult[R]) -> R:
        """Wait for a result.

        Raises
        ------
        WorkerError
            If the cluster that makes it has had no worker for too long.
        """
        if self._watch is not None:
            self._watch.wait(lambda: self._arrived(future))
        return future.result()

    def _arrived(self, future: Any) -> bool:
        """Whether a call in a cluster has ended, after a few seconds at most."""
        if self._search.runner == "dask":
            future.wait(clusters.LOOK)
            return bool(future.wrapped_future.done())
        import ray

        return bool(ray.wait([future.wrapped_future], timeout=clusters.LOOK)[0])

    def replace(self, lost: int, fault: BrokenExecutor) -> None:
        """Replace a lost pool, unless another segment has done so already.

        Parameters
        ----------
        lost : int
            How many pools had been lost before this one.
        fault : BrokenExecutor

        Raises
        ------
        WorkerError
            If it was lost too often.
        """
        if lost < self._lost:
            return
        if lost == MAX_REPLACED:
            raise WorkerError(
                f"processes that trained trials were killed {lost + 1} times, perhaps for lack of "
                "memory",
                "workers that live until the search ends",
                "run again: what was finished is kept (fewer search.workers need less memory)",
            ) from fault
        self._lost, self._runner = lost + 1, None
        emit(Note("a process that trained a trial was killed: another trains this part again"))

    def _reporting(self) -> AbstractContextManager[object]:
        """Settings that name the server: workers take those in force when a task is submitted.

        Threads know the server anyway, and making settings anew takes a tenth of a second.
        """
        return temporary_settings(self._server) if self._server else nullcontext()

    @contextmanager
    def _without_parameters(self) -> Iterator[None]:
        """The context of the task run that submits segments, without the task's arguments.

        Prefect sends this context to the worker with each call. Among the arguments of the search
        are a recorder and this pool, which cannot be sent to another process.
        """
        around = None if self.shares_memory else TaskRunContext.get()
        with nullcontext() if around is None else around.model_copy(update={"parameters": {}}):
            yield

    def _started(self) -> TaskRunner[Any]:
        if self._runner is None:
            if not self.shares_memory:
                self._server = {PREFECT_API_URL: _server()}
            with self._reporting():
                self._runner = self._stack.enter_context(task_runner(self._search))
            self._watch = _watch(self._search, self._runner)
        return self._runner


class _Submitted(Generic[A, R]):
    """The future of a submitted call, which is submitted again if its pool is lost."""

    def __init__(self, pool: RunnerPool, call: Callable[[A], R], argument: A) -> None:
        self._pool, self._call, self._argument = pool, call, argument
        self._future, self._lost = pool.start(call, argument)

    def result(self) -> R:
        """Wait for the result; raises what the call raised."""
        while True:
            try:
                return self._pool.wait(self._future)
            except BrokenExecutor as fault:
                self._pool.replace(self._lost, fault)
                self._future, self._lost = self._pool.start(self._call, self._argument)


@contextmanager
def runner_pool(search: Search) -> Iterator[RunnerPool]:
    """The workers of a search, started with the first call and stopped at the end."""
    with ExitStack() as stack:
        yield RunnerPool(search, stack)


def task_runner(search: Search) -> TaskRunner[Any]:
    """The Prefect task runner that a search is configured with.

    Raises
    ------
    ConfigError
        If its integration is not installed.
    """
    if search.runner == "threads":
        return ThreadPoolTaskRunner(max_workers=search.workers)
    if search.runner == "processes":
        return ProcessPoolTaskRunner(max_workers=search.workers)
    try:
        return _dask(search) if search.runner == "dask" else _ray(search)
    except ImportError as fault:
        raise ConfigError(
            f"search.runner is {search.runner}, but {fault.name} is not installed",
            f"Prefect's integration with {search.runner}",
            f"pip install 'liked-this[{search.runner}]', or take another runner",
        ) from fault


def _dask(search: Search) -> TaskRunner[Any]:
    from prefect_dask.task_runners import DaskTaskRunner

    if search.cluster is not None:
        return DaskTaskRunner(address=search.cluster)
    # One thread for each process: a trial trains on one thread.
    cluster = {"n_workers": search.workers, "threads_per_worker": 1, "dashboard_address": None}
    return DaskTaskRunner(cluster_kwargs=cluster)


def _ray(search: Search) -> TaskRunner[Any]:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # no usage statistics are sent
    from prefect_ray.task_runners import RayTaskRunner

    if search.cluster is not None:
        return RayTaskRunner(address=search.cluster)
    settings = {"num_cpus": search.workers, "include_dashboard": False, "log_to_driver": False}
    settings["logging_level"] = logging.ERROR
    return RayTaskRunner(init_kwargs=settings)


def _watch(search: Search, runner: Any) -> WorkerWatch | None:
    """Who looks after the workers of a cluster; None for those of this machine's own pools."""
    address = search.cluster or f"this machine, by {search.runner}"
    if search.runner == "dask":
        return WorkerWatch(address, lambda: len(dask_workers(runner.client)))
    return WorkerWatch(address, ray_cores) if search.runner == "ray" else None


def _server() -> str:
    """The address of the Prefect server of this run, which may be a temporary one.

    Without it each worker would start a temporary server of its own.
    """
    with get_client(sync_client=True) as client:
        return str(client.api_url)
