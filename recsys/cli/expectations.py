"""The command `recsys expect check`: what an owner expects, asked of any version of a model."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from recsys.cli.models import open_model
from recsys.cli.options import Model
from recsys.cli.questions import ruled


def expect(
    action: Annotated[Literal["check"], typer.Argument(help="what to do: check")],
    file: Annotated[Path, typer.Argument(help="a TOML file of expectations")],
    model: Model = "sample",
    rules: Annotated[
        Path | None, typer.Option(help="a TOML file of house rules that lists follow")
    ] = None,
) -> None:
    """Check what is expected of a model's answers, one line each."""
    from recsys.base.errors import InputError
    from recsys.recommend.expectations import check_expectations, read_expectations

    expected = read_expectations(file)
    results = check_expectations(ruled(open_model(model), rules, None), expected)
    for result in results:
        print(f"{'✓' if result.met else '✗'} {result.expected}: {result.found}")
    failed = sum(not result.met for result in results)
    if failed:
        raise InputError(
            f"{model} does not meet {failed} of {len(results)} expectations of {file}",
            "all of them",
            "look at the lists, correct the expectations, or add house rules",
        )
