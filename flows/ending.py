"""Ending: the state that a run ends in, named so that an automation can act on it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Sequence
from typing import Any, ParamSpec, TypeVar, cast

from prefect.flow_engine import FlowRunTimeoutError
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from recsys.base.errors import RecsysError
from recsys.base.events import Event, StageDone, StageStarted, listening
from recsys.evaluation.gate import ALL_THERE

P = ParamSpec("P")
R = TypeVar("R")

# Of the type Completed: the night did its work and a retry would change nothing. A challenger
# that is held because data are missing says so in its own name, as somebody else has to act.
HELD, SHRUNKEN = "Held", "Shrunken"
# Of the type Failed.
STAGE_FAILED = "StageFailed"


def named_states(run: Callable[P, R]) -> Callable[P, R]:
    """Have a flow's function end in a state of its own name where that is worth knowing.

    A result with reasons in `held` ends it in the state Held or Shrunken, an exception in
    StageFailed, whose message begins with the stage. Put it between `@flow` and the function.
    """

    @functools.wraps(run)
    def named(*args: P.args, **kwargs: P.kwargs) -> R:
        where = ["start"]

        def watch(event: Event) -> None:
            if isinstance(event, StageStarted):
                where.append(event.stage)
            elif isinstance(event, StageDone):
                where.append(f"after {event.stage}")

        try:
            with listening(watch):
                outcome = run(*args, **kwargs)
        except FlowRunTimeoutError:
            raise  # Prefect has a name for it: TimedOut
        except Exception as fault:
            return cast("R", _failed(where[-1], fault))
        reasons = getattr(outcome, "held", ())
        return cast("R", _held(outcome, reasons)) if reasons else outcome

    # Prefect makes its form from the signature, and would look for the types in this module.
    named.__signature__ = inspect.signature(run, eval_str=True)  # type: ignore[attr-defined]
    return named


def _failed(where: str, fault: Exception) -> Any:
    if not isinstance(fault, RecsysError):
        # What a person can mend says so in one line; of anything else the place matters.
        get_run_logger().exception("%s: failed", where)
    # Prefect unpacks a state that a flow returns: to the caller the exception is raised.
    message = f"{where}: {fault or type(fault).__name__}"
    return Failed(name=STAGE_FAILED, message=message, data=fault)


def _held(outcome: Any, reasons: Sequence[str]) -> Any:
    shrunken = any(reason.startswith(f"{ALL_THERE}:") for reason in reasons)
    return Completed(name=SHRUNKEN if shrunken else HELD, message="; ".join(reasons), data=outcome)
