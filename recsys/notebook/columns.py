"""Columns found by their names: which of a table's columns are the users, the items, the rest."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

import fsspec
import pandas as pd
import pyarrow.dataset as pads

from recsys.base.errors import InputError
from recsys.data.tables import Source, TextFormat

# What a column may be called, in the order of preference; case, blanks, `_` and `-` do not count.
KNOWN: Mapping[str, tuple[str, ...]] = {
    "user": (
        "userid", "uid", "user", "customerid", "customer", "visitorid", "memberid", "accountid",
    ),
    "item": (
        "itemid", "mid", "iid", "item", "movieid", "productid", "product", "articleid", "trackid",
        "songid", "bookid", "modelid", "videoid", "isbn", "asin", "sku",
    ),
    "name": ("itemname", "modelname", "itemtitle", "title"),
    "type": ("type", "featuretype", "kind"),
    "value": ("value", "feature", "featurevalue", "tag", "category", "genre"),
}  # fmt: skip
_DELIMITERS = "|\t;,"


def find_columns(
    columns: Sequence[str], wanted: Mapping[str, str | None], required: Sequence[str]
) -> dict[str, str | None]:
    """The table's name of each wanted column: the one given, else the first that is known.

    Parameters
    ----------
    columns : sequence of str
        Those of the table.
    wanted : mapping of str to (str or None)
        Our names, and the table's name where the caller gave one.
    required : sequence of str
        Our names of the columns that there must be.

    Raises
    ------
    InputError
        If a required column is not found; a column that was given is looked for by the reader.
    """
    plain = {re.sub("[^a-z0-9]", "", column.lower()): column for column in reversed(columns)}
    found: dict[str, str | None] = {}
    for ours, given in wanted.items():
        guesses = (plain[name] for name in KNOWN.get(ours, ()) if name in plain)
        found[ours] = given or next(guesses, None)
        if found[ours] is None and ours in required:
            raise InputError(
                f"no column is known as the {ours} among {', '.join(map(repr, columns))}",
                f"one called such as {ours}_id or {ours}",
                f"say which it is: {ours}='…'",
            )
    return found


def read_header(source: Source, delimiter: str | None) -> tuple[list[str], TextFormat]:
    """The names of a table's columns, and how its text is written where it is text.

    Parameters
    ----------
    source : path, fsspec URL or DataFrame
    delimiter : str or None
        Where it is not given, that of `|`, tab, `;` and `,` which is most often in the first line.

    Raises
    ------
    InputError
        If there is no such file, or its first line cannot be read.
    """
    if isinstance(source, pd.DataFrame):
        return [str(name) for name in source.columns], TextFormat()
    address = str(source)
    try:
        if address.endswith((".parquet", ".pq")) or Path(address).is_dir():
            return list(pads.dataset(address).schema.names), TextFormat()
        with fsspec.open(address, "rt", encoding="utf-8-sig", compression="infer") as lines:
            header = lines.readline().rstrip("\r\n")
    except (OSError, ValueError, ImportError) as fault:
        raise InputError(
            f"{address} cannot be read ({str(fault).splitlines()[0] if str(fault) else fault!r})",
            "a DataFrame, or a file of text or Parquet",
            "check the path",
        ) from fault
    chosen = delimiter or max(_DELIMITERS, key=header.count)
    # A backslash escapes in the founding schema; elsewhere it is a character like any other.
    text = TextFormat(chosen, escape="\\" if chosen == "|" else None)
    return [name.strip().strip('"') for name in header.split(chosen)], text
