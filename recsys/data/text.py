"""Delimited text read into Arrow tables, with every row accounted for.

Arrow's reader is fast, and right where quotes and escapes have no part in it or stand where CSV
has them. Whether that is so is observed while it reads. Any other file is read by Python's csv,
strictly: a quoted field has to end where its quote does. `docs/experiments/readers.md` has the
comparison with other readers.
"""

from __future__ import annotations

import codecs
import io
import re
import sys
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from operator import itemgetter
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pacsv

from recsys.base.errors import InputError
from recsys.data.containers import FAULTS, Content, first_line
from recsys.data.dialects import (
    ESCAPE,
    QUOTE,
    Dialect,
    TextFormat,
    find_dialect,
    find_encoding,
    read_records,
)

_BLOCK = 1 << 22
_BATCH = 1 << 16
_STAND_IN = b"\x1f"  # the unit separator, in the place of a delimiter of several characters
_NEWLINE, _RETURN = 10, 13
_ENCODED = pa.dictionary(pa.int32(), pa.string())


@dataclass(frozen=True)
class TextRows:
    """What was read of a text file.

    Parameters
    ----------
    columns : list of pyarrow.ChunkedArray
        In the order in which they were asked for: text, dictionary-encoded for identifiers.
    rows : int
        All rows but the header and blank lines.
    malformed : int
        Rows among them that have a wrong number of fields, and are left out.
    """

    columns: list[pa.ChunkedArray]
    rows: int
    malformed: int


class NotPlainError(Exception):
    """A table that has to be read at once: Arrow alone cannot, or all of a column says how to."""


@dataclass
class RowsCounted:
    """How many rows there are, and how many of them are left out for their number of fields."""

    rows: int = 0
    malformed: int = 0


class _Skipped:
    """Leaves out rows of a wrong width, and counts them."""

    def __init__(self) -> None:
        self.number = 0

    def __call__(self, _: object) -> str:
        self.number += 1
        return "skip"


class TextTable:
    """A delimited text file.

    Parameters
    ----------
    content : Content
    text : TextFormat
    wanted : collection of str
        Names of columns that the caller has asked for, which help to recognise the header.

    Raises
    ------
    InputError
        If it is no text, or can be read in more than one way.
    """

    def __init__(self, content: Content, text: TextFormat, wanted: Collection[str]) -> None:
        self._content, self._text, self._wanted = content, text, wanted
        self.dialect = find_dialect(content, text, wanted)

    @property
    def names(self) -> tuple[str, ...]:
        """The columns, from the header or by their position."""
        return self.dialect.names

    def read(self, places: Sequence[int], encoded: Sequence[bool]) -> TextRows:
        """Read some of the columns.

        Parameters
        ----------
        places : sequence of int
            Which ones, from 0.
        encoded : sequence of bool
            Which of these are identifiers, to be dictionary-encoded.

        Raises
        ------
        InputError
            If the file is damaged, in another encoding, or has quotes that are not closed.
        """
        try:
            rows = self._fast(places, encoded) or self._careful(places, encoded)
            if rows.rows and rows.malformed == rows.rows:
                raise self._of_other_width(rows.rows)
            return rows
        except UnicodeDecodeError as fault:
            if self._text.encoding is not None:
                raise self._unreadable(fault) from fault
            # The encoding shows beyond the beginning.
            found = find_encoding(self._content, self._text, whole=True)
            if found == self.dialect.encoding:
                raise self._unreadable(fault) from fault
            self.dialect = find_dialect(self._content, self._text, self._wanted, found)
            return self.read(places, encoded)
        except FAULTS as fault:
            raise self._unreadable(fault) from fault

    def _fast(self, places: Sequence[int], encoded: Sequence[bool]) -> TextRows | None:
        """Arrow's reading; None where it is not certain that it is right."""
        stream = self._observed()
        if stream is None:
            return None
        skipped = _Skipped()
        try:
            with _undecodable_rows_unprinted():
                table = pacsv.read_csv(
                    pa.PythonFile(stream, mode="r"), *self._options(places, encoded, skipped)
                )
        except UnicodeDecodeError:
            raise
        except pa.ArrowInvalid as fault:
            if "UTF8" in str(fault):
                raise UnicodeDecodeError("utf-8", b"", 0, 1, "invalid UTF8 data") from fault
            return None
        finally:
            stream.close()
        if not self._trusted(stream, table.num_rows + skipped.number):
            return None
        columns = [table.column(str(place)) for place in places]
        return TextRows(columns, table.num_rows + skipped.number, skipped.number)

    def parts(
        self, places: Sequence[int], encoded: Sequence[bool], counted: RowsCounted
    ) -> Iterator[list[pa.Array]]:
        """Read some of the columns a block at a time, so that the file may exceed the memory.

        Parameters
        ----------
        places, encoded : sequence
            See `read`.
        counted : RowsCounted
            Increased as the blocks are read; complete when the last one is.

        Yields
        ------
        list of pyarrow.Array
            As the columns of `TextRows`, of some rows.

        Raises
        ------
        NotPlainError
            If Arrow cannot be trusted with the file, which shows at its end perhaps; `read` reads
            such a file.
        """
        stream = self._observed()
        if stream is None:
            raise NotPlainError
        skipped, read = _Skipped(), 0
        try:
            with _undecodable_rows_unprinted():
                reader = pacsv.open_csv(
                    pa.PythonFile(stream, mode="r"), *self._options(places, encoded, skipped)
                )
                for batch in reader:
                    read += batch.num_rows
                    yield [batch.column(str(place)) for place in places]
        except (UnicodeDecodeError, pa.ArrowInvalid, *FAULTS) as fault:
            raise NotPlainError from fault
        finally:
            stream.close()
        if not read or not self._trusted(stream, read + skipped.number):
            raise NotPlainError
        counted.malformed += skipped.number
        counted.rows += read + skipped.number

    def _observed(self) -> _Observed | None:
        """The file as a stream for Arrow; None if its beginning shows that Arrow is no help."""
        stream = _Observed(self._content.open(), self.dialect, self._quote(), self._escape())
        if self._single().isascii() and not stream.doubtful(self._content.head):
            return stream
        stream.close()
        return None

    def _trusted(self, stream: _Observed, rows: int) -> bool:
        """Whether as many rows were read as were seen, and nothing was seen that misleads Arrow."""
        return stream.certain and stream.rows - self.dialect.above - self.dialect.header == rows

    def _quote(self) -> str:
        return QUOTE if self._text.quote is None else self._text.quote

    def _escape(self) -> str:
        return ESCAPE if self._text.escape is None else self._text.escape

    def _single(self) -> str:
        """The delimiter, or the character that stands for it."""
        delimiter = self.dialect.delimiter
        return _STAND_IN.decode() if len(delimiter) > 1 else delimiter

    def _options(
        self, places: Sequence[int], encoded: Sequence[bool], skipped: _Skipped
    ) -> tuple[pacsv.ReadOptions, pacsv.ParseOptions, pacsv.ConvertOptions]:
        """What Arrow has to know; rows of a wrong width are counted in `skipped`."""
        dialect = self.dialect
        types = {
            str(place): _ENCODED if code else pa.string()
            for place, code in zip(places, encoded, strict=True)
        }
        return (
            pacsv.ReadOptions(
                column_names=[str(place) for place in range(len(dialect.names))],
                skip_rows=dialect.skipped + int(dialect.header),
                block_size=_BLOCK,
            ),
            pacsv.ParseOptions(
                delimiter=self._single(),
                quote_char=self._quote() or False,
                escape_char=False,
                invalid_row_handler=skipped,
            ),
            pacsv.ConvertOptions(
                column_types=types, include_columns=list(types), strings_can_be_null=False
            ),
        )

    def _careful(self, places: Sequence[int], encoded: Sequence[bool]) -> TextRows:
        """Python's reading, with the quotes and escapes under which the file is consistent."""
        quote = self._quote()
        if self._text.escape is not None:
            way = _Way(self._text.escape, self, quote)
            way.read(places, encoded)
        else:
            plain, escaped = _Way("", self, quote), _Way(ESCAPE, self, quote)
            plain.read(places, encoded)
            way = plain
            if plain.followers:
                escaped.read(places, encoded)
                way = _likelier(plain, escaped)
        if way.fault is not None:
            raise self._open_quote(way.fault)
        if way.doubtful is not None and self._text.quote is None:
            raise self._open_quote(way.doubtful)
        return way.rows()

    def lines(self) -> Iterator[str]:
        """The lines of the file, line breaks kept, without what stands before the header."""
        with self._content.open() as stream:
            reader = io.TextIOWrapper(
                io.BufferedReader(_Raw(stream)), encoding=self.dialect.encoding, newline=""
            )
            for number, line in enumerate(reader):
                if number == 0:
                    line = line.removeprefix("\ufeff")
                if number >= self.dialect.skipped:
                    yield line

    def _open_quote(self, start: str) -> InputError:
        return InputError(
            f"{self._content.label} has a quote that is not closed in its line: {start[:60]!r}",
            "quoted fields that end where their quote does",
            f'set {self._text.setting}.quote = "" if quotes are ordinary letters (= \'"\' if they '
            f'span lines), or {self._text.setting}.escape = "\\\\" if backslashes escape them',
        )

    def _of_other_width(self, rows: int) -> InputError:
        """The error of a file of which no row has as many fields as its header."""
        names = self.dialect.names
        before = self.dialect.skipped + int(self.dialect.header)
        lines = self._content.head.decode(self.dialect.encoding, "replace").splitlines()
        example = next(iter(lines[before:]), "")[:80]
        return InputError(
            f"{self._content.label} has {len(names)} columns ({', '.join(names[:5])}), and each of "
            f"its {rows:,} rows another number of fields, such as {example!r}",
            "as many fields as columns",
            "name all columns in the header, write nothing behind the last field, or set "
            f"{self._text.setting}.delimiter, quote and escape to what the file has",
        )

    def _unreadable(self, fault: Exception) -> InputError:
        said = "invalid UTF8 data" if isinstance(fault, UnicodeDecodeError) else first_line(fault)
        return InputError(
            f"{self._content.label} cannot be read ({said})",
            f"{self.dialect.encoding} text with {self.dialect.delimiter!r} between fields",
            f"set {self._text.setting}.delimiter, quote, escape and encoding to what the file has",
        )


class _Way:
    """A file as it is with certain quotes and escapes."""

    def __init__(self, escape: str, table: TextTable, quote: str) -> None:
        self.escape, self._table, self._quote = escape, table, quote
        self.fault: str | None = None
        self.doubtful: str | None = None
        self.followers: set[str] = set()
        self.malformed = self._rows = 0
        self._batches: list[list[pa.Array]] = []
        self._encoded: Sequence[bool] = ()
        self._pending: list[str] = []
        self._last = ""

    def read(self, places: Sequence[int], encoded: Sequence[bool]) -> None:
        """Read the columns at some places; notes what speaks against this way of reading."""
        import csv

        dialect = self._table.dialect
        self._encoded, width = encoded, len(dialect.names)
        pick = itemgetter(*places) if len(places) > 1 else lambda row: (row[places[0]],)
        batch: list[Sequence[str]] = []
        records = read_records(
            self._observed(), dialect.delimiter, self._quote, self.escape, strict=True
        )
        first = dialect.header
        try:
            for row in records:
                if len(self._pending) > 1:
                    self._judge(width, dialect.delimiter)
                self._pending.clear()
                if first:
                    first = False
                    continue
                self._rows += 1
                if len(row) != width:
                    self.malformed += 1
                    continue
                batch.append(pick(row))
                if len(batch) == _BATCH:
                    self._keep(batch)
                    batch = []
        except csv.Error:
            self.fault = (self._pending or [self._last])[0]
            return
        self._keep(batch)

    def rows(self) -> TextRows:
        """What was read."""
        types = [_ENCODED if code else pa.string() for code in self._encoded]
        columns = [
            pa.chunked_array([batch[place] for batch in self._batches], kind)
            for place, kind in enumerate(types)
        ]
        return TextRows(columns, self._rows, self.malformed)

    def _observed(self) -> Iterator[str]:
        for line in self._table.lines():
            if ESCAPE in line:
                self.followers.update(re.findall(r"\\(.)", line, re.DOTALL))
                if self.escape and _dangling(line):
                    # An escape that ends the file escapes nothing.
                    line = line[:-1]
            self._pending.append(line)
            self._last = line
            yield line

    def _judge(self, width: int, delimiter: str) -> None:
        """Doubt a field over several lines that are all whole rows if quotes are letters."""
        if self.doubtful is None and all(
            line.count(delimiter) == width - 1 for line in self._pending
        ):
            self.doubtful = self._pending[0]

    def _keep(self, batch: list[Sequence[str]]) -> None:
        columns = zip(*batch, strict=True) if batch else ((),) * len(self._encoded)
        self._batches.append(
            [
                pa.array(values, pa.string()).dictionary_encode()
                if code
                else pa.array(values, pa.string())
                for values, code in zip(columns, self._encoded, strict=True)
            ]
        )

    @property
    def sound(self) -> bool:
        """Whether nothing speaks against this way of reading."""
        return self.fault is None and self.doubtful is None


def _dangling(line: str) -> bool:
    """Whether a line without a line break ends in an escape that is not escaped itself."""
    return (len(line) - len(line.rstrip(ESCAPE))) % 2 == 1


def _likelier(plain: _Way, escaped: _Way) -> _Way:
    """The way in which a file with backslashes was meant."""
    if plain.sound != escaped.sound:
        return plain if plain.sound else escaped
    if plain.malformed != escaped.malformed:
        return min(plain, escaped, key=lambda way: way.malformed)
    # Who escapes by backslashes puts them before quotes, delimiters and backslashes alone. Escaped
    # delimiters show in the number of fields, so that quotes are what is left to tell by.
    special = {QUOTE, plain._table.dialect.delimiter[0], ESCAPE}
    return escaped if QUOTE in plain.followers <= special else plain


class _Raw(io.RawIOBase):
    """Any object with `read` as Python's raw stream."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def readable(self) -> bool:
        """It is."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Fill a buffer."""
        block = self._stream.read(len(buffer))
        buffer[: len(block)] = block
        return len(block)


class _Observed:
    """A stream of UTF-8 for Arrow, which observes whether Arrow can be trusted with it.

    Parameters
    ----------
    stream : binary stream
    dialect : Dialect
    quote, escape : str
        Characters that have a meaning; '' if none has.
    """

    closed = False

    def __init__(self, stream: Any, dialect: Dialect, quote: str, escape: str) -> None:
        self._stream = stream
        self._quote, self._escape = quote.encode(), escape.encode()
        delimiter = dialect.delimiter.encode()
        self._delimiter = delimiter if len(delimiter) > 1 else b""
        self._separator = (_STAND_IN if self._delimiter else delimiter)[0]
        utf8 = codecs.lookup(dialect.encoding).name == "utf-8"
        self._decoder = None if utf8 else codecs.getincrementaldecoder(dialect.encoding)()
        self._held, self._ready, self._at = b"", b"", 0
        self._begun = self._ended = False
        self._tail = b"\n\n\n"  # what was seen last, of which the last byte is not counted yet
        self._open = False  # whether the tail is within quotes
        self.certain = True
        self.rows = 0

    def doubtful(self, beginning: bytes) -> bool:
        """Whether the beginning alone shows that Arrow cannot be trusted."""
        return bool(self._escape) and self._escape in beginning

    def readable(self) -> bool:
        """It is."""
        return True

    def writable(self) -> bool:
        """It is not."""
        return False

    def seekable(self) -> bool:
        """It is not."""
        return False

    def close(self) -> None:
        """Close the stream below."""
        self.closed = True
        self._stream.close()

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes."""
        while self._at == len(self._ready) and not self._ended:
            self._ready, self._at = self._next(_BLOCK if size < 0 else max(size, 1)), 0
        end = len(self._ready) if size < 0 else self._at + size
        block = self._ready[self._at : end]
        self._at += len(block)
        return block

    def _next(self, size: int) -> bytes:
        block = bytes(self._stream.read(size))
        self._ended = not block
        if self._decoder is not None:
            block = self._decoder.decode(block, self._ended).encode()
        if not self._begun and block:
            self._begun, block = True, block.removeprefix(codecs.BOM_UTF8)
        if self._delimiter:
            block = self._replaced(block)
        self._observe(block)
        return block

    def _replaced(self, block: bytes) -> bytes:
        """The block's whole lines with one byte for the delimiter."""
        if _STAND_IN in block:
            self.certain = False
        block = self._held + block
        end = len(block) if self._ended else block.rfind(b"\n") + 1
        self._held = block[end:]
        return block[:end].replace(self._delimiter, _STAND_IN)

    def _observe(self, block: bytes) -> None:
        """Count the rows, and look for what Arrow could take otherwise than it is meant."""
        if not self.certain:
            return
        if self._escape and self._escape in block:
            self.certain = False
            return
        if block and not self._ended and self._plain(block):
            # The last byte is counted with the next block, which may belong to it.
            self.rows += block.count(b"\n") + self._tail.endswith(b"\n") - block.endswith(b"\n")
            self._tail = (self._tail + block[-3:])[-3:]
            return
        data = self._tail + block
        self._tail = data[-3:]
        if self._ended:
            # What ends the file ends its last row.
            data += b"\n" if data[-1] in (_NEWLINE, _RETURN) else b"\n\n"
        quoted = bool(self._quote) and (self._open or self._quote in data)
        if quoted and self._delimiter:
            # Within quotes the delimiter is text, which the byte for it would replace.
            self.certain = False
            return
        self._observe_each(np.frombuffer(data, np.uint8), quoted)
        if self._ended and self._open:
            self.certain = False

    def _plain(self, block: bytes) -> bool:
        """Whether a block, and the byte before it, have line feeds alone that matter."""
        edge = self._tail[-2:] + block[:1]
        return not (
            (self._quote and (self._open or self._quote in block or self._quote in edge))
            or b"\r" in block
            or b"\r" in edge
            or b"\n\n" in block
            or b"\n\n" in edge
        )

    def _observe_each(self, data: np.ndarray, quoted: bool) -> None:
        here, before, earlier, after = data[2:-1], data[1:-2], data[:-3], data[3:]
        ends = (here == _NEWLINE) | ((here == _RETURN) & (after != _NEWLINE))
        if quoted:
            places = np.flatnonzero(here == self._quote[0])
            opening = np.arange(len(places)) % 2 == int(self._open)
            allowed_before = np.isin(before[places], [self._separator, 10, 13, self._quote[0]])
            allowed_after = np.isin(after[places], [self._separator, 10, 13, self._quote[0]])
            inside = np.searchsorted(places, np.flatnonzero(ends)) % 2 != int(self._open)
            if inside.any() or not np.where(opening, allowed_before, allowed_after).all():
                self.certain = False
                return
            self._open ^= bool(len(places) % 2)
        # A line end that follows a line end ends a blank line.
        pair = (here == _NEWLINE) & (before == _RETURN)
        previous = np.where(pair, earlier, before)
        blank = ends & ((previous == _NEWLINE) | (previous == _RETURN))
        self.rows += int(ends.sum() - blank.sum())


@contextmanager
def _undecodable_rows_unprinted() -> Iterator[None]:
    """Suppress the traceback that Arrow prints for a malformed row that cannot be decoded."""
    before = sys.unraisablehook

    def hook(fault: sys.UnraisableHookArgs) -> None:
        if not isinstance(fault.exc_value, UnicodeDecodeError):
            before(fault)

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
