"""Options that several commands share."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

Model = Annotated[
    str,
    typer.Option(
        "--model",
        "-m",
        envvar="RECSYS_MODEL",
        help="a registered name (its champion), models:/NAME/VERSION, or a bundle's folder",
    ),
]
Number = Annotated[int, typer.Option("--n", "-n", min=1, help="how many")]
AsJson = Annotated[bool, typer.Option("--json", help="print JSON for a program")]
ConfigFile = Annotated[Path | None, typer.Option("--config", "-c", help="a TOML file")]
