"""Data sets in the terminal: the list of those with a name."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from recsys.cli.options import AsJson

if TYPE_CHECKING:
    from recsys.data.datasets import DatasetInfo


def list_named(as_json: AsJson = False) -> None:
    """List the named data sets, their licences, and whether they are on this machine."""
    from recsys.data.datasets import list_datasets

    found = list_datasets()
    if as_json:
        print(json.dumps([_as_dict(info) for info in found], indent=1, ensure_ascii=False))
        return
    from rich.box import SIMPLE
    from rich.console import Console
    from rich.table import Table

    table = Table(box=SIMPLE)
    for column in ("name", "what it is", "licence", "here"):
        table.add_column(column)
    for info in found:
        size = f"{info.size / 1e6:.1f} MB" if info.size else ""
        here = size if info.cached else "fetched on first use"
        table.add_row(info.dataset.name, info.dataset.title, info.dataset.licence, here)
    Console().print(table)


def _as_dict(info: DatasetInfo) -> dict[str, Any]:
    dataset = info.dataset
    return {
        "name": dataset.name,
        "title": dataset.title,
        "origin": dataset.origin,
        "licence": dataset.licence,
        "cached": info.cached,
        "bytes": info.size,
    }
