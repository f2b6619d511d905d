"""Run processes: those that a worker of Prefect starts for one run each, as `prefect.engine`."""

from __future__ import annotations

import functools
import inspect
import os
from collections.abc import Callable
from contextlib import nullcontext
from typing import ParamSpec, TypeVar

from prefect.context import FlowRunContext

from recsys.store.scratch import own_temporary_folder

P = ParamSpec("P")
R = TypeVar("R")
RUN = "PREFECT__FLOW_RUN_ID"  # which run a worker has started a process for


def own_files(run: Callable[P, R]) -> Callable[P, R]:
    """Have a flow's temporary files in one folder where the process is there for its run alone.

    MLflow's folders would stay in the system's one if the process is killed, as a worker does it
    to a run that is cancelled. A program that calls the flow may have files of its own, and is left
    as it is. Put it between `@flow` and the function.
    """

    @functools.wraps(run)
    def with_own_files(*args: P.args, **kwargs: P.kwargs) -> R:
        with own_temporary_folder() if _is_own_process() else nullcontext():
            return run(*args, **kwargs)

    # Prefect derives the form for parameters from the signature.
    with_own_files.__signature__ = inspect.signature(run, eval_str=True)  # type: ignore[attr-defined]
    return with_own_files


def _is_own_process() -> bool:
    """Whether a worker has started this process for the run that is under way."""
    context = FlowRunContext.get()
    started_for = os.environ.get(RUN)
    return context is not None and str(context.flow_run and context.flow_run.id) == started_for
