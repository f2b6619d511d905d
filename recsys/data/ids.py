"""Ids as text: one rule for whatever type they come in, in files, in Python and in questions."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from recsys.base.errors import InputError
from recsys.base.missing_words import MISSING_WORDS

ENCODED = pa.dictionary(pa.int32(), pa.string())
_EXACT = {16: 2.0**11, 32: 2.0**24, 64: 2.0**53}
_WHOLE = r"^-?(0|[1-9][0-9]*)(\.0+)?$"


def id_text(value: object) -> str:
    """An id as text: whole numbers without a decimal point, whatever their type.

    Parameters
    ----------
    value : object
        ``1042``, ``1042.0``, ``Decimal("1042.00")`` and ``"1042"`` are one id.
    """
    if isinstance(value, float | np.floating) and math.isfinite(value) and value == int(value):
        return str(int(value))
    if isinstance(value, Decimal) and value.is_finite() and value == value.to_integral_value():
        return str(int(value))
    return str(value)


def encode_ids(column: pa.ChunkedArray, name: str, source: str) -> pa.ChunkedArray:
    """A column of ids, dictionary-encoded as text.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
        Of text, integers, floating-point numbers or decimals.
    name, source : str
        Of the column and the table, for messages.

    Raises
    ------
    InputError
        If it holds something else, or numbers that are too large to be exact.
    """
    return whole_numbers(encode_some_ids(column, name, source))


def encode_some_ids(column: pa.ChunkedArray, name: str, source: str) -> pa.ChunkedArray:
    """As `encode_ids`, for a part of a column: what all of its rows decide is left undecided.

    That is whether ".0" belongs to ids of text, see `whole_numbers`.
    """
    try:
        if column.type == ENCODED:
            return column
        if pa.types.is_dictionary(column.type):
            column = column.cast(column.type.value_type)
        if pa.types.is_floating(column.type):
            return _floats(column, name, source)
        if pa.types.is_null(column.type):
            return column.cast(pa.string()).dictionary_encode()
        encoded = column.dictionary_encode()
        if encoded.type == ENCODED:
            return encoded
        if pa.types.is_decimal(column.type):
            return _mapped(encoded, _texts)
        return _mapped(encoded, lambda values: values.cast(pa.string()))
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as fault:
        kind = str(column.type)
        raise InputError(
            f"the column {name} of {source} holds {kind if len(kind) < 80 else kind[:80] + '…'} "
            "values",
            "numbers or text",
            "convert it first, or name another column",
        ) from fault


_SCIENTIFIC = r"^[0-9](\.[0-9]+)?[eE]\+[0-9]{1,3}$|^[0-9]\.[0-9]+[eE][0-9]{1,3}$"


def refuse_scientific(column: pa.ChunkedArray, name: str, source: str) -> None:
    """A stop where ids were rounded to scientific notation, as spreadsheets do.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
        Dictionary-encoded text.
    name, source : str
        Of the column and the table, for messages.

    Raises
    ------
    InputError
        If one of a hundred distinct ids is written so.
    """
    found = Scientific()
    found.look_at(column)
    found.refuse(name, source)


@dataclass
class Scientific:
    """How many ids are in scientific notation, counted part by part.

    Parameters
    ----------
    number, rounded : int
        Distinct ids of the parts, and those among them in this notation.
    example : str
    """

    number: int = 0
    rounded: int = 0
    example: str = ""

    def look_at(self, column: pa.ChunkedArray) -> None:
        """Count the ids of a part, dictionary-encoded."""
        for values, _ in _by_dictionary(column):
            match = pc.match_substring_regex(values, _SCIENTIFIC)
            found = values.filter(pc.fill_null(match, False))
            self.number, self.rounded = self.number + len(values), self.rounded + len(found)
            self.example = found[0].as_py() if len(found) else self.example

    def refuse(self, name: str, source: str) -> None:
        """Stop if there are too many; see `refuse_scientific`."""
        if self.rounded and self.rounded >= 0.01 * self.number:
            raise InputError(
                f"the column {name} of {source} holds ids in scientific notation, such as "
                f"{self.example!r}, in which different ids are the same",
                "ids with all of their digits",
                "write the column again from its origin, as text or integers",
            )


def occurring(column: pa.ChunkedArray, values: Sequence[str]) -> np.ndarray:
    """Where a dictionary-encoded column has one of some values: bool (n,)."""
    wanted = pa.array(values, pa.string())
    parts = [np.zeros(0, dtype=bool)]
    for dictionary, chunks in _by_dictionary(column):
        # One more, for null.
        marks = np.append(np.asarray(pc.is_in(dictionary, value_set=wanted)), False)
        parts += [marks[np.asarray(pc.fill_null(c.indices, len(dictionary)))] for c in chunks]
    return np.concatenate(parts)


def missing(column: pa.ChunkedArray, words: Sequence[str]) -> np.ndarray:
    """Where a column has no value: null, empty, or a word that stands for none: bool (n,)."""
    without = pa.array(["", *words], pa.string())
    if not len(column):
        return np.zeros(0, dtype=bool)
    if column.type != ENCODED:
        values = column.cast(pa.string())
        return np.asarray(pc.or_kleene(pc.is_null(values), pc.is_in(values, value_set=without)))
    parts = []
    for dictionary, chunks in _by_dictionary(column):
        # One more, for null.
        marks = np.append(np.asarray(pc.is_in(dictionary, value_set=without)), True)
        parts += [marks[np.asarray(pc.fill_null(c.indices, len(dictionary)))] for c in chunks]
    return np.concatenate(parts)


def missing_words(column: pa.ChunkedArray, words: Sequence[str]) -> list[str]:
    """Which of the words that stand for a missing value are in a column."""
    if not words:
        return []
    known = pa.array(words, pa.string())
    found: set[str] = set()
    for values, _ in _by_dictionary(column):
        found.update(values.filter(pc.is_in(values, value_set=known)).to_pylist())
    return [word for word in words if word in found]


def _by_dictionary(column: pa.ChunkedArray) -> Iterator[tuple[pa.Array, list[pa.Array]]]:
    """Consecutive chunks of a dictionary-encoded column that share their dictionary."""
    group: list[pa.Array] = []
    for chunk in column.chunks:
        if group and not _same(group[0].dictionary, chunk.dictionary):
            yield group[0].dictionary, group
            group = []
        group.append(chunk)
    if group:
        yield group[0].dictionary, group


def _same(one: pa.Array, other: pa.Array) -> bool:
    """Whether two arrays are one in memory."""
    places = ([b and b.address for b in array.buffers()] for array in (one, other))
    return len(one) == len(other) and one.offset == other.offset and next(places) == next(places)


def _texts(values: pa.Array) -> pa.Array:
    texts = [None if value is None else id_text(value) for value in values.to_pylist()]
    return pa.array(texts, pa.string())


def _mapped(encoded: pa.ChunkedArray, change: Callable[[pa.Array], pa.Array]) -> pa.ChunkedArray:
    """The column with its distinct values changed."""
    chunks = []
    for dictionary, group in _by_dictionary(encoded):
        texts = change(dictionary)
        chunks += [
            pa.DictionaryArray.from_arrays(chunk.indices.cast(pa.int32()), texts) for chunk in group
        ]
    return _merged(pa.chunked_array(chunks, ENCODED))


def _merged(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """The column with one entry for each distinct value, as two numbers may have one text."""
    if any(pc.count_distinct(d).as_py() < len(d) for d, _ in _by_dictionary(column)):
        return column.cast(pa.string()).dictionary_encode()
    return column


def _floats(column: pa.ChunkedArray, name: str, source: str) -> pa.ChunkedArray:
    kind = column.type
    # pandas turns integers with gaps into floats: 7.0 is the id "7".
    column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column).cast(pa.float64())
    large = pc.greater_equal(pc.abs(column), _EXACT[kind.bit_width])
    if pc.any(large).as_py():
        example = column.filter(pc.fill_null(large, False))[0].as_py()
        raise InputError(
            f"the column {name} of {source} holds ids as floating-point numbers that are too large "
            f"to be exact, such as {example!r}",
            "ids as text or integers",
            "write the column again from its origin, where two ids may have become one",
        )
    return _mapped(column.dictionary_encode(), _texts)


def whole_numbers(column: pa.ChunkedArray) -> pa.ChunkedArray:
    """Without ".0" where all ids are whole numbers and some have it, as floats have.

    Parameters
    ----------
    column : pyarrow.ChunkedArray
        Dictionary-encoded text, all of it.
    """
    without = pa.array(["", *MISSING_WORDS], pa.string())
    some = False
    for values, _ in _by_dictionary(column):
        first = next((text for text in values.slice(0, 9).to_pylist() if text), "")
        if first and first not in MISSING_WORDS and not re.match(_WHOLE, first):
            return column
        some = some or bool(pc.any(pc.match_substring(values, ".0")).as_py())
    if not some:
        return column
    for values, _ in _by_dictionary(column):
        values = values.filter(pc.invert(pc.fill_null(pc.is_in(values, value_set=without), True)))
        if pc.any(pc.invert(pc.match_substring_regex(values, _WHOLE))).as_py():
            return column
    return _mapped(
        column, lambda texts: pc.replace_substring_regex(texts, r"^(-?[0-9]+)\.0+$", r"\1")
    )
