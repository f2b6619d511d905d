"""Tables: read from delimited text, Parquet, any fsspec URL or a DataFrame."""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeAlias, cast

import fsspec
import fsspec.core
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pacsv
import pyarrow.dataset as pads
import pyarrow.fs as pafs

from recsys.base.errors import InputError

Source: TypeAlias = str | Path | pd.DataFrame
# What reading text raises: Arrow, the file system, and codecs.
TEXT_FAULTS = (pa.ArrowException, OSError, ValueError, LookupError)
# What Arrow and pandas raise for values that cannot be a column, such as complex numbers.
CONVERSION_FAULTS = (pa.ArrowException, OverflowError, TypeError, UnicodeError)


@dataclass(frozen=True)
class TextFormat:
    """The format of delimited text; ignored for Parquet and DataFrames.

    Parameters
    ----------
    delimiter : str
        The character between fields.
    quote, escape : str or None
        One character each, or None if the file has none.
    encoding : str
        Any of Python's text encodings.
    """

    delimiter: str = "|"
    quote: str | None = '"'
    escape: str | None = "\\"
    encoding: str = "utf-8"


@dataclass
class Malformed:
    """Counts rows without the header's number of fields, and keeps one that spans lines.

    Parameters
    ----------
    count : int
    running : str or None
        The first such row with a line break in it, the sign of a quote that is never closed.
    """

    count: int = field(default=0)
    running: str | None = None

    def skip(self, row: pacsv.InvalidRow) -> str:
        """Count a row; Arrow then leaves it out."""
        self.count += 1
        if self.running is None and "\n" in (row.text or "").rstrip("\r\n"):
            self.running = row.text
        return "skip"


def read_table(
    source: Source, columns: Mapping[str, str], ids: Sequence[str], text: TextFormat
) -> tuple[pa.Table, int]:
    """Read some columns of a table under the names that the caller gives them.

    Parameters
    ----------
    source : path, fsspec URL or DataFrame
        Text (plain, or compressed by its ending: gz, zst, bz2, lz4), a Parquet file or a folder
        of Parquet files.
    columns : mapping
        Name of each column in the result, and its name in the source.
    ids : sequence of str
        Names in the result of columns with identifiers, which are returned as dictionary-encoded
        text whatever their type in the source.
    text : TextFormat

    Returns
    -------
    table : pyarrow.Table
        One column for each of `columns`; null or empty if the source has no value.
    malformed : int
        Number of rows of a text file left out for a wrong number of fields.

    Raises
    ------
    InputError
        If the source is missing or empty, has another format than its name says, or lacks a
        column; if a quote is not closed in its line.
    """
    if isinstance(source, pd.DataFrame):
        return _encode_ids(_from_frame(source, columns), columns, ids, "the DataFrame"), 0
    filesystem, path = _locate(str(source))
    if _is_parquet(filesystem, path):
        table = _from_parquet(filesystem, path, columns, ids)
        return _encode_ids(table, columns, ids, path), 0
    table, malformed = _from_text(filesystem, path, columns, ids, text)
    return _encode_ids(table, columns, ids, path), malformed


def check_table(source: str, columns: Mapping[str, str], text: TextFormat) -> None:
    """Make sure that `read_table` will find the columns, reading the first rows at most.

    Parameters
    ----------
    source, columns, text
        See `read_table`.

    Raises
    ------
    InputError
        As `read_table`, if the source is missing or empty, has another format than its name says,
        or lacks a column.
    """
    filesystem, path = _locate(source)
    if _is_parquet(filesystem, path):
        with _parquet_errors(path):
            names = pads.dataset(path, filesystem=filesystem, format="parquet").schema.names
            _require(names, columns, path)
        return
    _require_codec(text.encoding)
    try:
        options = _csv_options(columns, (), text, Malformed())
        with filesystem.open_input_stream(path) as stream, _undecodable_rows_unprinted():
            pacsv.open_csv(stream, *options).close()
    except TEXT_FAULTS as fault:
        raise _text_fault(filesystem, path, columns, text, fault) from fault
    _require_once(_header(filesystem, path, text), columns, path)


def fingerprint(source: Source) -> str:
    """A hash (32 hex digits) of a source's content.

    Raises
    ------
    InputError
        If the source is missing.
    """
    digest = hashlib.blake2b(digest_size=16)
    if isinstance(source, pd.DataFrame):
        hashed = cast("pd.Series[int]", pd.util.hash_pandas_object(source, index=False))
        digest.update(hashed.to_numpy().tobytes())
        digest.update("\0".join(map(str, source.columns)).encode())
        return digest.hexdigest()
    filesystem, path = _locate(str(source))
    for name in _files_of(filesystem, path):
        digest.update(name.removeprefix(path).encode())
        with filesystem.open_input_stream(name, compression=None) as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def _locate(source: str) -> tuple[pafs.FileSystem, str]:
    """The Arrow file system and path of a local path or fsspec URL."""
    if not source or "\0" in source:
        raise InputError(
            f"the path {source!r}", "a file, folder or URL", "check the path in the configuration"
        )
    if "://" not in source:
        filesystem, path = pafs.LocalFileSystem(), str(Path(source).expanduser())
    else:
        try:
            remote, path = cast("tuple[Any, str]", fsspec.core.url_to_fs(source))
        except (ValueError, ImportError) as fault:
            raise InputError(
                f"{source} cannot be reached ({_first_line(fault)})",
                "a URL that fsspec knows",
                "check the address, or install what its protocol needs",
            ) from fault
        filesystem = pafs.PyFileSystem(pafs.FSSpecHandler(remote))
    try:
        info = filesystem.get_file_info(path)
    except OSError as fault:
        raise InputError(
            f"{source} cannot be reached ({fault})",
            "a readable file or folder",
            "check the address and the rights on it",
        ) from fault
    if info.type == pafs.FileType.NotFound:
        raise InputError(
            f"no file or folder {source}", "a readable table", "check the path in the configuration"
        )
    if info.type == pafs.FileType.Unknown:
        # Reading a pipe or a device may never end.
        raise InputError(f"{source} is not a file", "a file or folder", "write it to a file first")
    if info.type == pafs.FileType.File and info.size == 0:
        raise InputError(f"{source} is empty", "a header line and rows", "check how it is written")
    return filesystem, path


def _files_of(filesystem: pafs.FileSystem, path: str) -> list[str]:
    if filesystem.get_file_info(path).is_file:
        return [path]
    found = filesystem.get_file_info(pafs.FileSelector(path, recursive=True))
    return sorted(entry.path for entry in found if entry.is_file)


def _is_parquet(filesystem: pafs.FileSystem, path: str) -> bool:
    return not filesystem.get_file_info(path).is_file or path.endswith((".parquet", ".pq"))


def _from_frame(frame: pd.DataFrame, columns: Mapping[str, str]) -> pa.Table:
    names = [str(name) for name in frame.columns]
    _require(names, columns, "the DataFrame")
    # One column may be used twice, as the item's id and its name.
    wanted = list(dict.fromkeys(columns.values()))
    try:
        chosen = _arrow(frame[wanted])
    except CONVERSION_FAULTS as fault:
        # Columns of mixed types (7 and "7") are read as text, as ids are.
        try:
            chosen = _arrow(frame[wanted].astype("string"))
        except CONVERSION_FAULTS:
            raise InputError(
                f"a DataFrame column that cannot be converted ({_first_line(fault)})",
                "numbers or text",
                "convert it first",
            ) from fault
    return chosen.select(list(columns.values())).rename_columns(list(columns))


def _arrow(frame: pd.DataFrame) -> pa.Table:
    return pa.Table.from_pandas(frame, preserve_index=False)


def _from_parquet(
    filesystem: pafs.FileSystem, path: str, columns: Mapping[str, str], ids: Sequence[str]
) -> pa.Table:
    wanted = [columns[name] for name in ids if name in columns]
    with _parquet_errors(path):
        options = pads.ParquetReadOptions(dictionary_columns=set(wanted))
        layout = pads.ParquetFileFormat(read_options=options)
        dataset = pads.dataset(path, filesystem=filesystem, format=layout)
        _require(dataset.schema.names, columns, path)
        table = dataset.to_table(columns=list(columns.values()))
    return table.rename_columns(list(columns))


@contextmanager
def _parquet_errors(path: str) -> Iterator[None]:
    """Say of what is no Parquet that it is none."""
    try:
        yield
    # ValueError comes from Arrow for invalid files and from Python for invalid names.
    except (pa.ArrowException, ValueError, OSError) as fault:
        raise InputError(
            f"{path} cannot be read as Parquet ({_first_line(fault)})",
            "a Parquet file or a folder of Parquet files",
            "write it again, or name a text file by another ending",
        ) from fault


def _from_text(
    filesystem: pafs.FileSystem,
    path: str,
    columns: Mapping[str, str],
    ids: Sequence[str],
    text: TextFormat,
) -> tuple[pa.Table, int]:
    _require_codec(text.encoding)
    malformed = Malformed()
    try:
        options = _csv_options(columns, ids, text, malformed)
        # The stream recognises the compression by the file's ending.
        with filesystem.open_input_stream(path) as stream, _undecodable_rows_unprinted():
            table = pacsv.read_csv(stream, *options)
    except TEXT_FAULTS as fault:
        raise _text_fault(filesystem, path, columns, text, fault) from fault
    # Arrow silently takes the first of two columns of one name.
    _require_once(_header(filesystem, path, text), columns, path)
    _require_closed_quotes(table, malformed, text, path)
    return table.rename_columns(list(columns)), malformed.count


def _csv_options(
    columns: Mapping[str, str], ids: Sequence[str], text: TextFormat, malformed: Malformed
) -> tuple[pacsv.ReadOptions, pacsv.ParseOptions, pacsv.ConvertOptions]:
    """How Arrow is to read some text, and which columns of it."""
    # Ids are encoded by Arrow's parser, in several threads and without Python objects.
    encoded = pa.dictionary(pa.int32(), pa.string())
    types = {own: encoded if name in ids else pa.string() for name, own in columns.items()}
    convert = pacsv.ConvertOptions(
        column_types=types, include_columns=list(columns.values()), strings_can_be_null=False
    )
    parse = pacsv.ParseOptions(
        delimiter=text.delimiter,
        quote_char=text.quote or False,
        escape_char=text.escape or False,
        invalid_row_handler=malformed.skip,
    )
    return pacsv.ReadOptions(encoding=text.encoding, block_size=1 << 22), parse, convert


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


def _require_codec(encoding: str) -> None:
    """Refuse codecs of Python that are no text encodings, such as rot13 and base64."""
    try:
        # As the header is read, which idna does not support.
        b"a".decode(encoding, errors="replace")
    except (LookupError, ValueError) as fault:
        raise InputError(
            f"the encoding {encoding!r}", "one of Python's text encodings", "try utf-8 or latin-1"
        ) from fault


def _require_closed_quotes(
    table: pa.Table, malformed: Malformed, text: TextFormat, path: str
) -> None:
    """Refuse a quote that spans lines, because the rows in it would be lost unnoticed."""
    if text.quote is None:
        return
    running = malformed.running
    for column in table.columns:
        for chunk in column.chunks if running is None else ():
            values = chunk.dictionary if pa.types.is_dictionary(chunk.type) else chunk
            over = values.filter(pc.match_substring_regex(values, "[\\r\\n]"))
            if len(over):
                running = over[0].as_py()
    if running is not None:
        raise InputError(
            f"{path} has a quote that is not closed in its line: {running[:60]!r}",
            "fields that begin and end in one line",
            'escape the quote, or set data.quote = "" if quotes are ordinary letters',
        )


def _text_fault(
    filesystem: pafs.FileSystem,
    path: str,
    columns: Mapping[str, str],
    text: TextFormat,
    fault: Exception,
) -> InputError:
    """The error for a text file that could not be read: a missing column, or Arrow's message."""
    if isinstance(fault, pa.ArrowKeyError) or "include_columns" in str(fault):
        try:
            header = _header(filesystem, path, text)
            _require(header, columns, path)
        except InputError as missing:
            return missing
        except (OSError, UnicodeError, pa.ArrowInvalid):
            pass
    return InputError(
        f"{path} cannot be read ({_first_line(fault)})",
        f"{text.encoding} text with {text.delimiter!r} between fields",
        "set delimiter, quote, escape and encoding to what the file has",
    )


def _header(filesystem: pafs.FileSystem, path: str, text: TextFormat) -> list[str]:
    with filesystem.open_input_stream(path) as stream:
        start = stream.read(1 << 16).decode(text.encoding, errors="replace")
    names = start.splitlines()[0].split(text.delimiter) if start else []
    return [name.strip(text.quote) if text.quote else name for name in names]


def _require(found: Sequence[str], columns: Mapping[str, str], source: str) -> None:
    missing = [own for own in columns.values() if own not in found]
    if missing:
        raise InputError(
            f"{source} has the columns {', '.join(found[:20])}",
            f"a column {' and a column '.join(missing)}",
            "name the columns in the configuration (user_column, item_column, ...)",
        )
    _require_once(found, columns, source)


def _require_once(found: Sequence[str], columns: Mapping[str, str], source: str) -> None:
    twice = [own for own in columns.values() if list(found).count(own) > 1]
    if twice:
        raise InputError(
            f"{source} has more than one column {twice[0]}", "one", "rename or drop the others"
        )


def _encode_ids(
    table: pa.Table, columns: Mapping[str, str], ids: Sequence[str], source: str
) -> pa.Table:
    """Encode identifier columns as text with one dictionary each."""
    for name in ids:
        if name not in table.column_names:
            continue
        position = table.column_names.index(name)
        try:
            codes = _as_codes(table.column(name))
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as fault:
            raise InputError(
                f"the column {columns[name]} of {source} holds {table.column(name).type} values",
                "numbers or text",
                "convert it first, or name another column",
            ) from fault
        table = table.set_column(position, name, codes)
    return table.unify_dictionaries()


def _as_codes(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        if pa.types.is_string(kind.value_type) and pa.types.is_int32(kind.index_type):
            return column
        column = column.cast(kind.value_type)
        kind = column.type
    if pa.types.is_floating(kind):
        # pandas turns integers with gaps into floats: 7.0 is the id "7".
        column = pc.if_else(pc.is_nan(column), pa.scalar(None, kind), column)
        exact = pc.less(pc.abs(column), 2.0**53)
        whole = pc.all(pc.and_(exact, pc.equal(pc.floor(column), column))).as_py()
        column = column.cast(pa.int64()) if whole else column
    return column.cast(pa.string()).dictionary_encode()


def _first_line(fault: Exception) -> str:
    return str(fault).splitlines()[0][:200] if str(fault) else type(fault).__name__
