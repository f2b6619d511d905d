"""Flows as programs (`python -m flows.train`): errors in one line, documented exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from flows.temporary_server import served
from recsys.base.config import Config, Tracking
from recsys.base.errors import HELD_EXIT
from recsys.cli.commands import run
from recsys.store.scratch import own_temporary_folder
from recsys.tracking.reachable import require_reachable


@contextmanager
def as_program(
    tracking: Tracking | None, meanwhile: Callable[[], object] = lambda: None
) -> Iterator[None]:
    """Have what a flow needs that no worker has started, for the time of a `with` block.

    That is temporary files of its own and a Prefect server. Before they are made, the tracking
    server or database is asked whether it can be used: no run ends well without it.

    Parameters
    ----------
    tracking : Tracking or None
        The configuration's section; None if the flow needs neither runs nor models.
    meanwhile : callable
        What to do while a server starts, such as imports that take seconds as well.

    Raises
    ------
    RegistryError
        If the tracking server or database, or the Prefect server that is configured, does not
        answer or cannot be used.
    ServerError
        If no Prefect server can be started.
    """
    if tracking is not None:
        require_reachable(tracking.uri, tracking.patience)
    with own_temporary_folder(), served(meanwhile):
        yield


def run_as_program(flow: Callable[[], Any], *, tracked: bool = True) -> NoReturn:
    """Run a flow with its defaults, and end this process with the exit code for how it went.

    Parameters
    ----------
    flow : callable
    tracked : bool
        Whether it needs runs or models of MLflow.
    """
    held: list[Any] = []

    def program() -> None:
        with as_program(Config().tracking if tracked else None):
            held.extend(getattr(flow(), "held", ()))

    code = run(program)
    sys.exit(code or (HELD_EXIT if held else 0))
