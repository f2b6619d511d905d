"""Numbers written as text: decimal points or commas, and marks between thousands."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from recsys.base.arrays import Float64Array
from recsys.base.errors import InputError

Mark = Literal[".", ","]

_SPACE = " '\u2019\u00a0\u202f"
_NUMERIC = re.compile(rf"[-+]?[\d.,{_SPACE}]*\d")
_POINT = re.compile(r"[-+]?\d*\.\d+(?:e[-+]?\d+)?", re.IGNORECASE)
_GROUPED = {
    ".": re.compile(rf"[-+]?\d{{1,3}}(?:[,{_SPACE}]\d{{3}})+(?:\.\d*)?"),
    ",": re.compile(rf"[-+]?\d{{1,3}}(?:[.{_SPACE}]\d{{3}})+(?:,\d*)?"),
}


def parse_numbers(
    column: pa.ChunkedArray, decimal: Mark | None, likely: Mark | None, named: str
) -> Float64Array:
    """A column of text as float64 (n,); NaN for what is not a number.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
        Of text.
    decimal : {".", ","} or None
        The mark before decimals; None: found by all of the column.
    likely : {".", ","} or None
        What to assume where the column can be read in both ways.
    named : str
        The column and its table, for messages.

    Raises
    ------
    InputError
        If it cannot be told whether commas, or points, stand before decimals or between thousands.
    """
    if decimal != ",":
        try:
            found = np.asarray(pc.cast(column, pa.float64()).to_numpy())
        except pa.ArrowInvalid:
            pass
        else:
            if decimal is None and likely is None:
                _question_points(column, named)
            return found
    encoded = column.dictionary_encode().unify_dictionaries().combine_chunks()
    if isinstance(encoded, pa.ChunkedArray):
        encoded = encoded.chunk(0) if encoded.num_chunks else pa.array([]).dictionary_encode()
    values = [value.strip() for value in encoded.dictionary.cast(pa.string()).to_pylist()]
    mark = decimal or _decimal_mark(values, likely, named)
    plain = pd.Series([_plain(value, mark) for value in values], dtype="object")
    # "0x10" and "1_0" are no numbers here.
    parsed = pd.to_numeric(plain, errors="coerce").to_numpy(np.float64)
    codes = pc.fill_null(encoded.indices, len(values))
    return np.append(parsed, np.nan)[np.asarray(codes)]


def _question_points(column: pa.ChunkedArray, named: str) -> None:
    """A stop where points may stand between thousands: as in 1.204 beside 87.

    A program that writes three decimals writes them of every number.
    """
    pointed = pc.match_substring(column, ".")
    if not pc.any(pointed).as_py() or pc.all(pointed).as_py():
        return
    grouped = pc.match_substring_regex(column, r"^\s*[-+]?[1-9]\d{0,2}\.\d{3}\s*$")
    short = pc.match_substring_regex(column, r"^\s*[-+]?\d{1,3}\s*$")
    if not pc.all(pc.or_(grouped, short)).as_py():
        return
    shown = column.filter(grouped)[0].as_py().strip()
    raise InputError(
        f"{named} has numbers such as {shown!r}, whose point may stand before decimals or between "
        "thousands, since others have none",
        "one way of reading them",
        'set data.decimal = "," if it stands between thousands, or "."',
    )


def _plain(value: str, mark: Mark) -> str:
    """A number with a decimal point and nothing between thousands; other text as it is."""
    if mark == "." and not any(letter in value for letter in f",{_SPACE}"):
        return value
    if _GROUPED[mark].fullmatch(value):
        value = re.sub(rf"[{_SPACE}{',' if mark == '.' else '.'}]", "", value)
    elif mark == "," and "." in value:
        return ""
    return value.replace(",", ".") if mark == "," and value.count(",") == 1 else value


def _decimal_mark(values: Sequence[str], likely: Mark | None, named: str) -> Mark:
    """The mark before decimals, by all values; those without a comma do not say."""
    numeric = [value for value in values if _NUMERIC.fullmatch(value)]
    commas = [value for value in numeric if "," in value]
    if not commas:
        return "."
    if any(_POINT.fullmatch(value) and not _three(value, ".") for value in values):
        return "."
    for_comma = any(_for_comma(value) for value in commas)
    for_point = any(value.count(",") > 1 or re.search(r",.*\.", value) for value in commas)
    if for_comma != for_point:
        return "," if for_comma else "."
    if not for_comma and any(
        "," not in value and float(re.sub(r"[^\d]", "", value)) >= 1000 for value in numeric
    ):
        # Nothing stands between the thousands of other numbers.
        return ","
    if likely is not None and not for_comma:
        return likely
    raise InputError(
        f"{named} has numbers such as {commas[0]!r}, whose comma may stand before decimals or "
        "between thousands",
        "one way of reading them",
        'set data.decimal = "," or "."',
    )


def _for_comma(value: str) -> bool:
    """Whether a number's only comma can stand before decimals alone."""
    if value.count(",") > 1:
        return False
    return (
        not _three(value, ",") or value.lstrip("+-").startswith("0") or "." in value.split(",")[0]
    )


def _three(value: str, mark: str) -> bool:
    """Whether three digits follow a mark, and one to three stand before it."""
    return re.fullmatch(rf"[-+]?\d{{1,3}}(?:[{re.escape(mark)}]\d{{3}})+", value) is not None
