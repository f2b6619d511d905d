"""Preface: lines above a table's header or first row, which are comments or a title."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Sequence
from itertools import takewhile

from recsys.data.column_names import find_known, known_columns

MARKS = ("#", "%")
_LOOKED_AT = 20
# As in `|---|:--:|` of Markdown, `----|----` and `----,----` of sqlcmd, `+----+----+` of MySQL.
_RULE = re.compile(r"[|+]?(\s*:?-{2,}:?\s*[|+,;\t ])+(\s*:?-{2,}:?)?")

# What the records of some lines are with a delimiter.
Records = Callable[[Sequence[str], str], list[list[str]]]


def comment_lines(
    lines: Sequence[str],
    delimiters: Sequence[Sequence[str]],
    records: Records,
    header: bool | None,
    wanted: Collection[str],
) -> int:
    """How many lines at the beginning are comments; a header that begins with a mark is none.

    Parameters
    ----------
    lines : sequence of str
    delimiters : sequence of sequence of str
        What may be between fields; those of a later group where none of an earlier one fits.
    records : callable
    header : bool or None
        Whether there is a header; None: not known.
    wanted : collection of str
        Names of columns that the caller has asked for.
    """
    written = [place for place, line in enumerate(lines) if line.strip()]
    marked = list(takewhile(lambda place: lines[place].lstrip().startswith(MARKS), written))
    if not marked or len(marked) == len(written):
        return 0
    body = lines[written[len(marked)] :]
    groups = ([one for one in group if _uniform(records(body, one))] for group in delimiters)
    fitting = next((group for group in groups if group), [])
    for delimiter in fitting:
        first = [name.strip() for name in records(body[:1], delimiter)[0]]
        if set(wanted) & set(first) or known_columns(first) > 1:
            # The header stands below, however wide the comments are.
            break
        wide = [
            sum(map(len, records([lines[place]], delimiter)[:1])) == len(first) for place in marked
        ]
        if all(wide):
            # A header such as "#user,item", or ids that begin with a mark.
            return 0
        if wide[-1] and header is not False:
            return marked[-1]
    return written[len(marked)] if fitting else 0


def title_lines(rows: Sequence[Sequence[str]], wanted: Collection[str]) -> int:
    """How many rows above the header are a title, as spreadsheets have it.

    Only what has the names of columns in it that are wanted, or those of users and of items, is
    known to be a header; each row above it has to have fewer fields that are not empty.

    Parameters
    ----------
    rows : sequence of sequence of str
    wanted : collection of str
        Names of columns that the caller has asked for.
    """
    filled: list[int] = []
    for place, row in enumerate(rows[:_LOOKED_AT]):
        names = [field.strip() for field in row]
        named = sum(1 for name in names if name)
        asked_for = bool(wanted) and set(wanted) <= set(names)
        if asked_for or (find_known(names, "user") and find_known(names, "item")):
            return place if all(other < named for other in filled) else 0
        filled.append(named)
    return 0


def rule_of(lines: Sequence[str]) -> str:
    """The rule at the header of a table that is drawn for people; '' where there is none."""
    stripped = (line.strip() for line in lines[:2])
    return next((line for line in stripped if _RULE.fullmatch(line)), "")


def said_of_titles(number: int) -> str:
    """What people are told of rows above the header."""
    return f"{number} {'line' if number == 1 else 'lines'} above the header left out"


def said_of_comments(number: int) -> str:
    """What people are told of comments."""
    return f"{number} {'line of comments' if number == 1 else 'lines of comments'} left out"


def _uniform(rows: Sequence[Sequence[str]]) -> bool:
    """Whether nine of ten rows are as wide as the first one, which has several fields."""
    width = len(rows[0]) if rows else 0
    return width > 1 and sum(len(row) == width for row in rows) >= 0.9 * len(rows)
