"""A step that changes another system, as a Prefect task: never cached, with events."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from prefect import task
from prefect.cache_policies import NO_CACHE

from recsys.base.events import StageDone, StageStarted, emit
from recsys.pipeline.steps import Step

P = ParamSpec("P")
S = TypeVar("S", bound=Step)


def step_task(name: str, function: Callable[P, S]) -> Callable[P, S]:
    """A function like `function` that runs as a Prefect task of this name, every time."""

    @task(name=name, task_run_name=name, cache_policy=NO_CACHE)
    def run(call: Callable[[], S]) -> S:
        return call()

    def step(*args: P.args, **kwargs: P.kwargs) -> S:
        emit(StageStarted(name))
        start = time.monotonic()
        found = run(lambda: function(*args, **kwargs))
        emit(StageDone(name, found.reused, time.monotonic() - start, found.counts()))
        return found

    return step
