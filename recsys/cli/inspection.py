"""The command `recsys inspect`: what files look like, and a configuration that reads them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from recsys.cli.options import AsJson

if TYPE_CHECKING:
    from recsys.data.inspection import Inspection


def inspect(
    files: Annotated[list[str], typer.Argument(help="files, folders or URLs, in any order")],
    write: Annotated[
        Path | None, typer.Option(help="write a commented configuration that reads them")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show what the columns of files look like, and what would be read of them."""
    from recsys.base.errors import ConfigError
    from recsys.data import inspection

    if write is not None and write.exists():
        raise ConfigError(f"{write} is there", "a new file", "name another one, or move it away")
    found = inspection.inspect(files)
    if as_json:
        print(json.dumps([each.as_dict() for each in found], indent=1, ensure_ascii=False))
    else:
        from rich.console import Console

        console = Console()
        for each in found:
            _show(console, each)
    if write is not None:
        write.write_text(inspection.configuration(found), encoding="utf-8")
        if not as_json:
            print(f"written: {write}; recsys train --config {write}")
    elif not as_json:
        print("recsys inspect … --write mine.toml writes a configuration that reads this")


def _show(console: Any, found: Inspection) -> None:
    from rich.box import SIMPLE
    from rich.table import Table

    from recsys.cli.tables import plain

    title = f"{found.source}: {found.role.replace('_', ' ')}, {found.rows:,} rows"
    table = Table(title=plain(title), title_justify="left", box=SIMPLE)
    for name in ("column", "probably", "kind", "distinct", "missing", "such as"):
        table.add_column(name, justify="right" if name in ("distinct", "missing") else "left")
    for column in found.columns:
        table.add_row(
            plain(column.name), column.role, column.kind, f"{column.distinct:,}",
            f"{column.missing:,}", plain(", ".join(column.examples)),
        )  # fmt: skip
    console.print(table)
    lines = [", ".join(f"{n.replace('_', ' ')} {c:,}" for n, c in found.counts.items())]
    if found.left_out:
        lines.append("left out: " + ", ".join(f"{why} {n:,}" for why, n in found.left_out.items()))
    lines += [found.over_time, *found.notes]
    for line in filter(None, lines):
        console.print(plain(line), soft_wrap=True)
    for question in found.questions:
        console.print(plain(f"? {question}"), style="yellow", soft_wrap=True)
    console.print()
