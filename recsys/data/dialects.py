"""Dialects of delimited text: encoding, delimiter and header, as they are set or found."""

from __future__ import annotations

import codecs
import csv
import itertools
import re
from collections import Counter
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from recsys.base.errors import InputError
from recsys.data.column_names import KNOWN, find_known, known_columns
from recsys.data.containers import FAULTS, HEAD, Content, first_line
from recsys.data.preface import (
    MARKS,
    comment_lines,
    rule_of,
    said_of_comments,
    said_of_titles,
    title_lines,
)

DELIMITERS = ("\t", ";", "|", ",", "::", "||", "\x01")
# Letters that are part of values as often as they are between them.
SELDOM = (" ", ":", "^", "~")
QUOTE, ESCAPE = '"', "\\"
# Of the rows that are looked at, so many must have the header's number of fields.
_CONSISTENT = 0.9
_LOOKED_AT = 300
_BLOCK = 1 << 22
_BYTE_ORDER_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_APOSTROPHES = re.compile("'[^']*'")
_SEPARATOR_LINE = re.compile(r'"?sep=(.{1,3}?)"?[\r\n]*', re.IGNORECASE)


@dataclass(frozen=True)
class TextFormat:
    """The format of delimited text; ignored for other files and for DataFrames.

    Parameters
    ----------
    delimiter : str or None
        What is between fields; None: found in the file.
    quote, escape : str or None
        One character each, '' if the file has none; None: found in the file.
    encoding : str or None
        Any of Python's text encodings; None: found in the file.
    header : bool or None
        Whether the first line names the columns; None: found in the file. Without a header the
        columns are called "1", "2" and so on.
    setting : str
        The section of the configuration that sets these, for messages.
    lenient : bool
        Whether another delimiter is looked for where the given one is not in the first line, as
        one setting may be meant for other files only.
    """

    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    encoding: str | None = None
    header: bool | None = None
    setting: str = "data"
    lenient: bool = False


@dataclass(frozen=True)
class Dialect:
    """How a file is written, as far as its beginning shows.

    Parameters
    ----------
    encoding, delimiter : str
    header : bool
    skipped : int
        Lines before the header or the first row: a line ``sep=;``, comments, a title; 0 if there is
        none of these.
    names : tuple of str
        The columns, from the header or by their position.
    found : str
        What was found rather than set, for people; empty if nothing was.
    above : int
        Lines among the skipped ones that are not blank.
    """

    encoding: str
    delimiter: str
    header: bool
    skipped: int
    names: tuple[str, ...]
    found: str
    above: int = 0


def require_codec(encoding: str) -> None:
    """Refuse codecs of Python that are no text encodings, such as rot13 and base64.

    Raises
    ------
    InputError
        If it is none.
    """
    try:
        # As beginnings are read, which idna does not support.
        b"a".decode(encoding, errors="replace")
    except (LookupError, ValueError) as fault:
        raise InputError(
            f"the encoding {encoding!r}", "one of Python's text encodings", "try utf-8 or latin-1"
        ) from fault


def find_dialect(
    content: Content, text: TextFormat, wanted: Collection[str], encoding: str | None = None
) -> Dialect:
    """Find out how a text file is written where it is not said.

    Parameters
    ----------
    content : Content
    text : TextFormat
    wanted : collection of str
        Names (or positions) of columns that the caller has asked for by name.
    encoding : str or None
        What it was found to be by reading all of the file.

    Raises
    ------
    InputError
        If it is no text, or can be read in more than one way.
    """
    encoding = text.encoding or encoding or find_encoding(content, text)
    require_codec(encoding)
    lines = _first_lines(content, encoding)
    every, delimiter = lines, text.delimiter
    start = next((place for place, line in enumerate(lines) if line.strip("\r\n")), len(lines))
    lines = lines[start:]
    _require_text(content, lines)
    said = _SEPARATOR_LINE.fullmatch(lines[0]) if lines else None
    if said is not None:
        lines, delimiter = lines[1:], delimiter or said[1]
    number, told = _preface(lines, delimiter, text, wanted)
    lines = lines[number:]
    if rule := rule_of(lines):
        raise InputError(
            f"{content.label} has a rule at its header ({rule[:40]!r}), as tables have that are "
            "drawn for people",
            "fields and what is between them alone",
            "export it as CSV, or take away the rules and the bars around its lines",
        )
    above = [line for line in every[: len(every) - len(lines)] if line.strip("\r\n")]
    # Blank lines alone are passed over wherever they are.
    skipped = len(every) - len(lines) if above else 0
    if delimiter and text.lenient and lines and delimiter not in lines[0]:
        delimiter = None
    found = [told] if told else []
    if delimiter is None:
        delimiter = _with_blank(lines, _find_delimiter(content, lines, text, wanted), text)
        found.append(f"{delimiter!r} between fields")
    first = next(_records(lines, delimiter, text, _escape(lines, text)), [])
    names = tuple(_name(field, text) for field in first)
    if text.quote is None and names and all(_APOSTROPHES.fullmatch(name) for name in names):
        raise InputError(
            f"the first line of {content.label} has an apostrophe around each field "
            f"({', '.join(names[:5])})",
            "fields in double quotes, or in none",
            f"set {text.setting}.quote = \"'\"; or '\"' if they are letters",
        )
    if not any(names):
        raise _unreadable(content, "it begins with no names of columns", text)
    header = text.header
    if header is None and number and lines[0].lstrip().startswith(MARKS):
        # The last comment is as wide as the rows: it names the columns.
        header = True
    if header is None:
        header = _has_header(content, lines, delimiter, text, names, wanted)
        if not header:
            found.append("no header")
    if not header:
        names = tuple(str(place + 1) for place in range(len(first)))
    if text.encoding is None and encoding != "utf-8":
        found.append(f"the encoding {encoding}")
    return Dialect(encoding, delimiter, header, skipped, names, ", ".join(found), len(above))


def _preface(
    lines: Sequence[str], delimiter: str | None, text: TextFormat, wanted: Collection[str]
) -> tuple[int, str]:
    """How many lines stand above the header or the first row, and what people are told of them."""

    def records(some: Sequence[str], between: str) -> list[list[str]]:
        return list(_records(some, between, text, _escape(some, text)))

    looked_at = lines[: _LOOKED_AT + 1]
    choices = [(delimiter,)] if delimiter and not text.lenient else [DELIMITERS, SELDOM]
    if number := comment_lines(looked_at, choices, records, text.header, _words(wanted)):
        return number, said_of_comments(sum(1 for line in lines[:number] if line.strip()))
    if text.header is False:
        return 0, ""
    for between in choices[0]:
        # Line by line, as no title spans several.
        rows = [next(iter(records([line], between)), []) for line in lines[:20]]
        number = title_lines(rows, _words(wanted))
        if number and (found := records(looked_at[number:], between)) and len(found[0]) > 1:
            return number, said_of_titles(sum(1 for line in lines[:number] if line.strip()))
    return 0, ""


def find_encoding(content: Content, text: TextFormat, whole: bool = False) -> str:
    """The encoding of a file: by its byte order mark, as UTF-8, or as Western European text.

    Parameters
    ----------
    content : Content
    text : TextFormat
    whole : bool
        Whether it is known that the file is not UTF-8 throughout.

    Raises
    ------
    InputError
        If it is none of these.
    """
    for mark, encoding in _BYTE_ORDER_MARKS:
        if content.head.startswith(mark):
            return encoding
    zeros = np.frombuffer(content.head[:4096], np.uint8) == 0
    for encoding, place in (("utf-16-le", 1), ("utf-16-be", 0)):
        if len(zeros) > 1 and zeros[place::2].mean() > 0.7 and zeros[1 - place :: 2].mean() < 0.1:
            return encoding
    if not whole:
        try:
            codecs.getincrementaldecoder("utf-8")().decode(content.head, len(content.head) < HEAD)
        except UnicodeDecodeError:
            pass
        else:
            return "utf-8"
    return _western(content, text)


def _western(content: Content, text: TextFormat) -> str:
    """Windows' Western European encoding, if what is not ASCII looks like it: single letters.

    ISO 8859-1 is the same but for control characters. Other scripts have words of such letters.
    """
    high, pairs, triples, control = 0, 0, 0, False
    undefined = np.array([0x81, 0x8D, 0x8F, 0x90, 0x9D], np.uint8)
    with content.open() as stream:
        while block := stream.read(_BLOCK):
            data = np.frombuffer(block, np.uint8)
            is_high = data >= 0x80
            two = is_high[1:] & is_high[:-1]
            high += int(is_high.sum())
            pairs += int(two.sum())
            triples += int((two[1:] & two[:-1]).sum())
            control |= bool(np.isin(data[is_high], undefined).any())
    if control or 10 * triples > high or (high > 10 and 3 * pairs > high):
        raise InputError(
            f"{content.label} is not utf-8 text, nor does it look like a Western European encoding",
            "text in a known encoding",
            f"set {text.setting}.encoding, as in 'cp1251', 'gb18030', 'shift-jis'",
        )
    return "cp1252"


def _first_lines(content: Content, encoding: str) -> list[str]:
    """The whole lines at the beginning of a file, line breaks kept."""
    head = content.head
    try:
        decoder = codecs.getincrementaldecoder(encoding)(errors="replace")
        beginning = decoder.decode(head, len(head) < HEAD).removeprefix("\ufeff")
    except FAULTS as fault:
        raise InputError(
            f"{content.label} cannot be read ({first_line(fault)})",
            f"{encoding} text",
            "set the encoding to what the file has",
        ) from fault
    lines = re.findall(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+$", beginning)
    if len(head) >= HEAD and len(lines) > 1:
        lines = lines[:-1]
    return lines


def _require_text(content: Content, lines: Sequence[str]) -> None:
    """Refuse what is no text: nobody wants binary junk as names of columns."""
    control = re.compile(r"[\x00\x02-\x08\x0e-\x1e\x7f]")
    if not lines or control.search(lines[0]):
        raise InputError(
            f"{content.label} cannot be read (it does not begin with a line of text)",
            "delimited text, JSON lines, Parquet, Arrow, Excel or a database",
            "check the file, or set its encoding",
        )


def _escape(lines: Sequence[str], text: TextFormat) -> str:
    """The escape under which the first lines are most consistent is not known yet: a guess."""
    if text.escape is not None:
        return text.escape
    return ESCAPE if any('\\"' in line for line in lines[:1]) else ""


def _records(
    lines: Sequence[str], delimiter: str, text: TextFormat, escape: str
) -> Iterator[list[str]]:
    """The records of some lines, read leniently."""
    quote = QUOTE if text.quote is None else text.quote
    # The last record may go on beyond the lines.
    return read_records(iter(lines), delimiter, quote, escape, strict=False)


def read_records(
    lines: Iterator[str], delimiter: str, quote: str, escape: str, *, strict: bool
) -> Iterator[list[str]]:
    """Records of lines, by Python's csv.

    Parameters
    ----------
    lines : iterator of str
        With their line breaks.
    delimiter : str
        One or more characters.
    quote, escape : str
        '' if there is none.
    strict : bool
        Whether a quote that ends before its field does is an error.
    """
    csv.field_size_limit(2**31 - 1)
    single, several = delimiter, len(delimiter) > 1
    if several:
        # The unit separator, which no text has, stands for it.
        single = "\x1f"
        lines = (line.replace(delimiter, single) for line in lines)
    rows = csv.reader(
        lines,
        delimiter=single,
        quotechar=quote or None,
        quoting=csv.QUOTE_MINIMAL if quote else csv.QUOTE_NONE,
        escapechar=escape or None,
        doublequote=True,
        strict=strict,
    )
    for row in rows:
        if row:
            yield [field.replace(single, delimiter) for field in row] if several else row


def _find_delimiter(
    content: Content, lines: Sequence[str], text: TextFormat, wanted: Collection[str]
) -> str:
    """What is between the fields: what gives all rows the same number of them."""
    looked_at = lines[: _LOOKED_AT + 1]
    for candidates in (DELIMITERS, SELDOM):
        scored = {
            delimiter: score
            for delimiter in candidates
            if (score := _score(looked_at, delimiter, text, wanted)) is not None
        }
        # `a::b` has a field more between single colons, which is always empty; in `a|b||d` one is
        # empty now and then.
        for double in ("::", "||"):
            if double in scored:
                alone = any(double[0] in line.replace(double, "") for line in looked_at)
                scored.pop(double if alone and double[0] in scored else double[0], None)
        if not scored:
            continue
        best = max(scored.values())
        chosen = [delimiter for delimiter, score in scored.items() if score == best]
        if len(chosen) > 1:
            raise InputError(
                f"{content.label} can be read with {' and with '.join(map(repr, chosen))} between "
                "fields",
                "one way of reading it",
                f"set {text.setting}.delimiter",
            )
        return chosen[0]
    if lines and text.header is not False and len(looked_at) == 1:
        return ","
    if all(len(row) < 2 for d in DELIMITERS for row in _records(looked_at, d, text, "")):
        # One column: what is missing in it is said by its name.
        return ","
    raise InputError(
        f"{content.label} has rows of different lengths, whatever is taken to be between fields",
        f"one of {', '.join(map(repr, DELIMITERS))} between fields",
        f"set {text.setting}.delimiter, quote and escape to what the file has, or take away what "
        f"stands above the header, if its first line is none ({lines[0].strip()[:60]!r})",
    )


def _with_blank(lines: Sequence[str], delimiter: str, text: TextFormat) -> str:
    """The delimiter with the blank that follows it everywhere, before quotes that would be lost."""
    quote = QUOTE if text.quote is None else text.quote
    wide = delimiter + " "
    looked_at = [line for line in lines[1:_LOOKED_AT] if line.strip()]
    if delimiter == " " or not looked_at:
        return delimiter
    width = lines[0].count(delimiter)
    for follows in (wide + quote, wide) if quote else (wide,):
        if all(line.count(follows) == width for line in looked_at):
            # The header has to be taken apart by it, too.
            return wide if lines[0].count(wide) == width else delimiter
    return delimiter


def _name(field: str, text: TextFormat) -> str:
    """A column's name, without blanks around it and without quotes that stand after blanks."""
    name, quote = field.strip(), QUOTE if text.quote is None else text.quote
    if quote and len(name) > 1 and name.startswith(quote) and name.endswith(quote):
        name = name[1:-1].strip()
    return name


def _score(
    lines: Sequence[str], delimiter: str, text: TextFormat, wanted: Collection[str]
) -> tuple[int, int] | None:
    """How well a delimiter fits: (names that are known, number of fields); None if it does not."""
    if not any(delimiter in line for line in lines[:1]):
        return None
    best: tuple[int, int] | None = None
    for escape in (text.escape,) if text.escape is not None else ("", ESCAPE):
        rows = list(itertools.islice(_records(lines, delimiter, text, escape), _LOOKED_AT))
        width = len(rows[0]) if rows else 0
        if width < 2:
            continue
        names = [name.strip() for name in rows[0]]
        named = len(set(names) & _words(wanted)) * 100
        if find_known(names, "user") or find_known(names, "item"):
            named += known_columns(names)
        widths = Counter(len(row) for row in rows[1:] or rows)
        if named or widths[width] >= _CONSISTENT * widths.total():
            best = max(best or (0, 0), (named, width))
    return best


def _has_header(
    content: Content,
    lines: Sequence[str],
    delimiter: str,
    text: TextFormat,
    first: Sequence[str],
    wanted: Collection[str],
) -> bool:
    """Whether the first line names the columns; a stop where that cannot be told."""
    by_position = bool(wanted) and all(name.isdigit() for name in wanted)
    like_data = _like_data(lines, delimiter, text, first)
    if _words(wanted) & set(first) or any(find_known(first, role) for role in KNOWN):
        return True
    if like_data and by_position:
        return False
    if not like_data and not by_position:
        return True
    raise InputError(
        f"the first line of {content.label} {'looks like' if like_data else 'may be'} data "
        f"({', '.join(repr(field) for field in first[:5])})",
        "names of columns",
        f"set {text.setting}.header = false and name columns by position, as in "
        "user_column = 1 and item_column = 2; or true if these are names",
    )


def _words(wanted: Collection[str]) -> set[str]:
    """The wanted columns that are asked for by a name and not by their position."""
    return {name for name in wanted if not name.isdigit()}


def _like_data(
    lines: Sequence[str], delimiter: str, text: TextFormat, first: Sequence[str]
) -> bool:
    """Whether a number stands in the first line where numbers stand in all others."""
    rows = list(itertools.islice(_records(lines[1:], delimiter, text, ""), 50))
    for place, field in enumerate(first):
        below = [row[place] for row in rows if place < len(row)]
        if _number(field) and all(_number(value) for value in below if value):
            return True
    return False


def _number(field: str) -> bool:
    return re.fullmatch(r"\s*[-+]?\d+([.,:/-]\d+)*\s*", field) is not None


def _unreadable(content: Content, why: str, text: TextFormat) -> InputError:
    return InputError(
        f"{content.label} cannot be read ({why})",
        "text with names of columns in its first line",
        f"set {text.setting}.delimiter, quote, escape and encoding to what the file has",
    )
