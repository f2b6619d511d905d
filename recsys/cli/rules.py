"""The command `recsys rules check`: house rules against a model, and a list before and after."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from recsys.cli.models import open_model
from recsys.cli.options import Model, Number
from recsys.cli.questions import ruled


def rules(
    action: Annotated[Literal["check"], typer.Argument(help="what to do: check")],
    file: Annotated[Path, typer.Argument(help="a TOML file of house rules")],
    user: Annotated[
        list[str] | None, typer.Option("--user", help="a user whose list is shown with them")
    ] = None,
    model: Model = "sample",
    n: Number = 10,
    answers: Annotated[
        Path | None, typer.Option(help="the file of what was shown, for rules that hide it")
    ] = None,
) -> None:
    """Check that house rules can be read and name what the model knows; show lists with them."""
    from recsys.base.errors import InputError
    from recsys.recommend.house_rules import read_rules
    from recsys.recommend.queries.ruled import rules_of

    read = read_rules(file)
    plain = open_model(model)
    asked = ruled(plain, file, answers)
    compiled = rules_of(asked.view)
    assert compiled is not None
    print(f"{file}: {read.described()}")
    for sentence in compiled.unknown:
        print(f"unknown: {sentence}")
    for one in user or []:
        before = [row.id for row in plain.recommend(one, n)]
        from rich.console import Console

        from recsys.cli.tables import answer

        after = asked.recommend(one, n)
        Console().print(answer(f"for {one}, with the rules", after))
        gone = [item for item in before if item not in {row.id for row in after}]
        print(f"without the rules: {', '.join(before)}")
        print(f"not on the list any more: {', '.join(gone) or 'none'}")
    if compiled.unknown:
        count = len(compiled.unknown)
        raise InputError(
            f"{count} of the names in {file} {'is' if count == 1 else 'are'} unknown to {model}",
            "tags, ids and user features that the model knows",
            "correct them, or train with them",
        )
