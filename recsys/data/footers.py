"""Footers: a row below a table that says how many rows it has, as exports of spreadsheets have."""

from __future__ import annotations

import re
from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from recsys.base.arrays import BoolArray
from recsys.data.ids import missing_words, occurring

_WORDS = (
    "total", "totals", "grand total", "sum", "count", "rows", "gesamt", "gesamtsumme", "summe",
    "insgesamt", "anzahl", "totale", "totaal", "suma", "somme", "итого", "всего", "合计", "总计",
    "合計",
)  # fmt: skip
NAMES = tuple(
    dict.fromkeys(
        f"{form}{end}"
        for word in _WORDS
        for form in (word, word.capitalize(), word.title(), word.upper())
        for end in ("", ":")
    )
)


def total_rows(ids: Mapping[str, pa.ChunkedArray], rows: int) -> BoolArray:
    """Where a row is no interaction, but says how many others there are: bool (n,).

    One id is a word for a total, which no other row has, and the other one is the number of the
    other rows. That no user and no item is called so cannot be known from less.

    Parameters
    ----------
    ids : mapping of str to dictionary-encoded column
        Of `user` and `item`.
    rows : int
        All rows of the table, those among them that cannot be read too.
    """
    found = np.zeros(len(ids["user"]), dtype=bool)
    for named, counted in (("user", "item"), ("item", "user")):
        if not missing_words(ids[named], NAMES):
            continue
        places = np.flatnonzero(occurring(ids[named], NAMES))
        if len(places) != 1:
            continue
        number = ids[counted][int(places[0])].as_py() or ""
        if re.sub(r"[\s.,']", "", number) == str(rows - 1):
            found[places] = True
    return found
