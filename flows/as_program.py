"""Flows as programs (`python -m flows.train`): errors in one line, documented exit codes."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any, NoReturn

from flows.temporary_server import served
from recsys.base.errors import HELD_EXIT
from recsys.cli.commands import run
from recsys.store.scratch import own_temporary_folder


def run_as_program(flow: Callable[[], Any]) -> NoReturn:
    """Run a flow with its defaults, and end this process with the exit code for how it went."""
    held: list[Any] = []

    def program() -> None:
        with own_temporary_folder(), served():
            held.extend(getattr(flow(), "held", ()))

    code = run(program)
    sys.exit(code or (HELD_EXIT if held else 0))
