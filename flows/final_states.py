"""Final states: the state that a run ends in, named so that an automation can act on it."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar, cast

from prefect.flow_engine import FlowRunTimeoutError
from prefect.logging import get_run_logger
from prefect.states import Completed, Failed

from flows.state_names import HELD, SHRUNKEN, STAGE_FAILED
from recsys.base.errors import RecsysError
from recsys.base.events import Event, StageDone, StageStarted, listening
from recsys.pipeline.promotion import Decision, Ending

P = ParamSpec("P")
R = TypeVar("R")


def named_states(run: Callable[P, R]) -> Callable[P, R]:
    """Have a flow's function end in a state of its own name where that is worth knowing.

    A result whose `decision` holds the version ends it in the state Held or Shrunken, an exception
    in StageFailed, whose message begins with the stage. What a person should know of the data is in
    the message of the state. Put it between `@flow` and the function.
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
        decision = getattr(outcome, "decision", None)
        if decision is None or decision.ending is Ending.PROMOTED:
            notes = getattr(outcome, "notes", ())
            return (
                cast("R", Completed(message="; ".join(notes), data=outcome)) if notes else outcome
            )
        return cast("R", _held(outcome, decision))

    # Prefect derives the form for parameters from the signature, and would look for the types here.
    named.__signature__ = inspect.signature(run, eval_str=True)  # type: ignore[attr-defined]
    return named


def _failed(where: str, fault: Exception) -> Any:
    if not isinstance(fault, RecsysError):
        # What a person can fix is said in one line; of anything else the traceback is needed.
        get_run_logger().exception("%s: failed", where)
    # Prefect unpacks a state that a flow returns: the caller gets the exception.
    message = f"{where}: {fault or type(fault).__name__}"
    return Failed(name=STAGE_FAILED, message=message, data=fault)


def _held(outcome: Any, decision: Decision) -> Any:
    name = SHRUNKEN if decision.ending is Ending.SHRUNKEN else HELD
    said = (*decision.reasons, *getattr(outcome, "notes", ()))
    return Completed(name=name, message="; ".join(said), data=outcome)
