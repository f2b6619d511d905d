"""Exporting: the online log as Parquet, for those who compute with it themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from recsys.online.online_log import OnlineLog

_TEXT, _TIME = pa.string(), pa.timestamp("us", tz="UTC")
_TABLES = {
    "answers": (
        "SELECT id, time, person, comparison, arm, version, query, segment, instead, items "
        "FROM answers ORDER BY time, id",
        pa.schema(
            [
                ("recommendation", _TEXT), ("time", _TIME), ("user", _TEXT),
                ("comparison", _TEXT), ("arm", _TEXT), ("version", _TEXT), ("query", _TEXT),
                ("segment", _TEXT), ("instead", pa.bool_()),
                ("items", pa.list_(pa.struct([("item", _TEXT), ("side", _TEXT)]))),
            ]
        ),
    ),
    "outcomes": (
        "SELECT recommendation, item, outcome, place, side, time FROM outcomes "
        "ORDER BY time, recommendation, place, outcome",
        pa.schema(
            [
                ("recommendation", _TEXT), ("item", _TEXT), ("outcome", _TEXT),
                ("rank", pa.int32()), ("side", _TEXT), ("time", _TIME),
            ]
        ),
    ),
    "shadows": (
        "SELECT recommendation, version, seconds, fault, items FROM shadows "
        "ORDER BY recommendation",
        pa.schema(
            [
                ("recommendation", _TEXT), ("version", _TEXT), ("seconds", pa.float64()),
                ("fault", _TEXT), ("items", pa.list_(_TEXT)),
            ]
        ),
    ),
}  # fmt: skip


def export_log(log: OnlineLog, folder: Path) -> dict[str, int]:
    """Write `answers.parquet`, `outcomes.parquet` and `shadows.parquet`, in place of older ones.

    Parameters
    ----------
    log : OnlineLog
    folder : Path
        Made if it is not there.

    Returns
    -------
    dict of str to int
        How many rows each has.
    """
    folder.mkdir(parents=True, exist_ok=True)
    counts = {}
    for name, (query, schema) in _TABLES.items():
        # Under another name until it is whole.
        part, rows = folder / f".{name}.parquet.part", 0
        with pq.ParquetWriter(part, schema) as writer:
            for table in _batches(log, query, schema):
                writer.write_table(table)
                rows += table.num_rows
        part.replace(folder / f"{name}.parquet")
        counts[name] = rows
    return counts


def _batches(log: OnlineLog, query: str, schema: pa.Schema) -> Iterator[pa.Table]:
    for rows in log.database.rows(query):
        columns = [
            pa.array([_value(row[place], one) for row in rows], one.type)
            for place, one in enumerate(schema)
        ]
        yield pa.table(columns, schema=schema)


def _value(value: Any, column: pa.Field) -> Any:
    if column.type == _TIME:
        return round(1_000_000 * value)
    if column.name == "items":
        items = json.loads(value)
        if column.type == pa.list_(_TEXT):
            return items
        return [{"item": item, "side": side} for item, side in items]
    return bool(value) if column.type == pa.bool_() else value
