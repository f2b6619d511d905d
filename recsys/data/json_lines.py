"""JSON: an object for each row, on a line each, in one list or one after the other; or columns."""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from typing import Any

import pyarrow as pa

from recsys.base.errors import InputError
from recsys.data.containers import FAULTS, Content, first_line
from recsys.data.ids import id_text


def read_json(content: Content) -> pa.Table:
    """Read JSON lines, other objects one after the other, or a list of objects.

    One object of lists, or of objects with the same names, is a table by its columns, as pandas
    writes it. Numbers stay what they are where a column has nothing else; otherwise all of it is
    text.

    Parameters
    ----------
    content : Content

    Raises
    ------
    InputError
        If it is no JSON, or a row is no object.
    """
    columns: dict[str, list[Any]] = {}
    rows = 0
    try:
        for number, row in enumerate(_rows(content), start=1):
            if not isinstance(row, dict):
                raise ValueError(f"row {number:,} is no object")
            for name, value in row.items():
                column = columns.setdefault(name, [])
                if len(column) < rows:
                    column.extend([None] * (rows - len(column)))
                column.append(value)
            rows += 1
    except (*FAULTS, RecursionError) as fault:
        raise InputError(
            f"{content.label} cannot be read as JSON ({first_line(fault)})",
            "an object on each line, or a list of objects",
            "write it again",
        ) from fault
    for column in columns.values():
        column.extend([None] * (rows - len(column)))
    if rows == 1:
        columns = _by_columns(columns)
    return pa.table({name: column_of(values) for name, values in columns.items()})


def _rows(content: Content) -> Iterator[Any]:
    with content.open() as stream:
        if content.head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"["):
            yield from json.loads(stream.read())
            return
        held = b""
        number = 0
        while block := stream.read(1 << 22):
            *lines, held = (held + block).split(b"\n")
            for line in lines:
                number += 1
                if number == 1 and not _is_whole(line):
                    yield from _objects(content)
                    return
                yield from _row(line, number)
        if number == 0 and not _is_whole(held):
            yield from _objects(content)
            return
        yield from _row(held, number + 1)


def _is_whole(line: bytes) -> bool:
    """Whether the first line holds an object and nothing else, or nothing at all."""
    try:
        return all(True for _ in _row(line, 1))
    except ValueError:
        return False


def _objects(content: Content) -> Iterator[Any]:
    """Objects that do not end with their line, one after the other."""
    with content.open() as stream:
        text = stream.read().decode("utf-8-sig").rstrip()
    decoder, place = json.JSONDecoder(), 0
    while place < len(text):
        if text[place].isspace():
            place += 1
            continue
        row, place = decoder.raw_decode(text, place)
        yield row


def _by_columns(row: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """The columns of a table that is one object; the row itself if it is none."""
    columns = {name: cell for name, (cell,) in row.items()}
    cells = list(columns.values())
    if all(isinstance(cell, list) for cell in cells) and len(set(map(len, cells))) == 1:
        return columns
    if all(isinstance(cell, dict) and cell.keys() == cells[0].keys() for cell in cells):
        return {name: [cell[place] for place in cells[0]] for name, cell in columns.items()}
    return row


def _row(line: bytes, number: int) -> Iterator[Any]:
    stripped = line.removeprefix(b"\xef\xbb\xbf").strip()
    if stripped:
        try:
            yield json.loads(stripped)
        except ValueError as fault:
            raise ValueError(f"line {number:,}: {fault}") from fault


def column_of(values: Sequence[Any]) -> pa.Array:
    """Python's values as a column: of their type if they have one, else as text."""
    kinds = {type(value) for value in values if value is not None}
    if kinds <= {list}:
        inner = {type(one) for value in values if value is not None for one in value}
        if float in inner and inner <= {int, float}:
            return pa.array(values, pa.list_(pa.float64()))
        return pa.array([None if value is None else [str(v) for v in value] for value in values])
    if len(kinds) < 2 or kinds == {int, float}:
        try:
            return pa.array(values)
        except (pa.ArrowException, OverflowError):
            pass
    return pa.array([None if value is None else id_text(value) for value in values], pa.string())
