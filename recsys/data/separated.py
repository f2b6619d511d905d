"""Separated values: text with several values in a cell, taken apart."""

from __future__ import annotations

import re

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

_LISTED = re.compile(r"^\s*\[.*\]\s*$")


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
