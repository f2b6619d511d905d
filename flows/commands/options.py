"""Options and output that the commands of this package share."""

from __future__ import annotations

import json
from typing import Annotated, Any

import typer

RegisteredModel = Annotated[
    str, typer.Option("--model", "-m", envvar="RECSYS_MODEL", help="the registered name")
]


def say(outcome: dict[str, Any], text: str, as_json: bool) -> None:
    """Print what a command did: a line for a person, or JSON for a program."""
    print(json.dumps(outcome, indent=1, ensure_ascii=False) if as_json else text)
