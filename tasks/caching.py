"""A stage function as a Prefect task: cached by what its product is made of."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Concatenate, ParamSpec

from prefect import task
from prefect.context import TaskRunContext
from prefect.logging import get_run_logger

from recsys.base.events import Note, StageDone, StageStarted, emit
from recsys.store.stages import O_co, Outcome, Stage, StageFunction, intact, product_lock

P = ParamSpec("P")


def cached_task(
    function: StageFunction[P, O_co], retries: int = 0
) -> Callable[Concatenate[str, P], Stage[O_co]]:
    """A function like `function` that runs as a Prefect task.

    Prefect's own result caching decides what is reused. The key is the name of the product,
    which is a hash of the stage's version, parameters and inputs; the result is its path. A
    product that was deleted or damaged since is made again.

    Parameters
    ----------
    function : StageFunction
    retries : int
        For stages that read from or write to other systems; delays of 2, 10 and 30 seconds.
    """

    @task(
        name=function.name,
        task_run_name=function.name,
        persist_result=True,
        result_serializer="json",
        cache_key_fn=_key,
        retries=retries,
        retry_delay_seconds=[2.0, 10.0, 30.0][:retries],
        retry_condition_fn=worth_retrying,
    )
    def run(folder: str, call: Callable[[], Stage[Outcome]]) -> str:
        made = call()
        get_run_logger().info("%s: %s", function.name, made.counts())
        return made.path

    def staged(interim: str, /, *args: P.args, **kwargs: P.kwargs) -> Stage[O_co]:
        folder = function.folder(Path(interim), *args, **kwargs)
        emit(StageStarted(function.name))
        start = time.monotonic()
        # Also where the product is there: Prefect writes its record of it a moment later, not at
        # once, and another run must not read half of that.
        with product_lock(folder, None if intact(folder) else _waiting(function.name)):
            state: Any = run.with_options(refresh_cache=not intact(folder))(
                str(folder), lambda: function(Path(interim), *args, **kwargs), return_state=True
            )
            state.result()
            stage = function.load(folder)
        reused = state.name == "Cached"
        emit(StageDone(function.name, reused, time.monotonic() - start, stage.counts()))
        for sentence in stage.outcome.told():
            get_run_logger().warning("%s: %s", function.name, sentence)
            emit(Note(sentence))
        return stage

    return staged


def _waiting(name: str) -> Callable[[], None]:
    return lambda: emit(Note(f"another run is making {name} on the same data; waiting for it"))


def _key(_: TaskRunContext, parameters: dict[str, Any]) -> str:
    return hashlib.sha256(parameters["folder"].encode()).hexdigest()


def worth_retrying(_: object, __: object, state: Any) -> bool:
    """Whether a retry may help: after an OSError it may, after a wrong input it does not."""
    try:
        state.result()
    except OSError:
        return True
    except Exception:
        return False
    return False
