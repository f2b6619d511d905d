"""Separated values: text with several values in a cell, taken apart."""

from __future__ import annotations

import ast
import json
import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_LISTED = re.compile(r"^\s*\[.*\]\s*$")


# What the name of an object is called, as in the lists of genres of TMDB.
_CALLED = ("name", "title", "label", "value", "tag")


def listed(cell: str) -> list[str] | None:
    """The values of a list that is written as text, by Python or as JSON.

    Parameters
    ----------
    cell : str
        As ``['a', 'b']`` or ``[{"id": 1, "name": "a"}]``.

    Returns
    -------
    list of str or None
        None if it is no such list of texts, numbers, or objects with a name.
    """
    try:
        parts = json.loads(cell)
    except (ValueError, RecursionError):
        try:
            parts = ast.literal_eval(cell.strip())
        except (ValueError, SyntaxError, MemoryError, RecursionError):
            return None
    if not isinstance(parts, list):
        return None
    names = [_name_of(part) for part in parts]
    return None if None in names else [name for name in names if name]


def _name_of(part: object) -> str | None:
    if isinstance(part, dict):
        part = next((part[key] for key in _CALLED if key in part), None)
    return str(part).strip() if isinstance(part, str | int) else None


def flat(column: pa.ChunkedArray) -> pa.Array:
    """A column in one piece."""
    whole = column.combine_chunks()
    if isinstance(whole, pa.ChunkedArray):
        return whole.chunk(0) if whole.num_chunks else pa.array([], whole.type)
    return whole


def split_values(column: pa.ChunkedArray, separator: str) -> tuple[np.ndarray, pa.Array]:
    """The values of cells with a separator, without blanks around them, and the row of each.

    Returns
    -------
    rows : int64 (n_values,)
        Ascending.
    values : pyarrow string array (n_values,)
    """
    text = flat(pc.fill_null(column, ""))
    if len(text) and _LISTED.match(text[0].as_py()):
        # As Python prints a list.
        text = pc.replace_substring_regex(text, r"^\s*\[|\]\s*$|['\"]", "")
    lists = pc.split_pattern(text, separator)
    values = pc.utf8_trim_whitespace(pc.list_flatten(lists))
    return np.asarray(pc.list_parent_indices(lists)), values
