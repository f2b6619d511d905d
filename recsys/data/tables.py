"""Tables: opened whatever they are kept in, read under the names that the caller gives columns."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol, TypeAlias, cast

import fsspec
import fsspec.core
import pandas as pd
import pyarrow as pa
import pyarrow.dataset as pads
import pyarrow.feather
import pyarrow.fs as pafs
import pyarrow.parquet as pq
import scipy.sparse as sp

from recsys.base.errors import InputError
from recsys.base.redaction import redacted
from recsys.data.baskets import is_list, of_lists
from recsys.data.columnar import Columnar
from recsys.data.containers import FAULTS, Content, first_line, recognise
from recsys.data.dialects import TextFormat
from recsys.data.ids import (
    ENCODED,
    Scientific,
    encode_ids,
    encode_some_ids,
    id_text,
    refuse_scientific,
    whole_numbers,
)
from recsys.data.json_lines import read_json
from recsys.data.lakes import find_lake
from recsys.data.sql import SqlTable, is_sql
from recsys.data.text import NotPlainError, RowsCounted, TextTable
from recsys.data.workbooks import read_database, read_workbook

# A path, a URL, or an object of pandas, Polars, Arrow or SciPy.
Source: TypeAlias = Any
# What Arrow and pandas raise for values that cannot be a column, such as complex numbers.
_CONVERSION_FAULTS = (pa.ArrowException, OverflowError, TypeError, UnicodeError)
_BATCH = 1 << 20  # rows of Parquet that are read together
_BUFFER = 1 << 20  # bytes
_COMPRESSED = 5  # bytes of text in a byte of it compressed, or about so many


@dataclass(frozen=True)
class TableRows:
    """Some columns of a table, read.

    Parameters
    ----------
    table : pyarrow.Table
        Under the names of the caller; identifiers are dictionary-encoded text.
    rows : int
        All rows of the source, those left out among them.
    malformed : int
        Rows of text left out for a wrong number of fields.
    notes : tuple of str
        What a person should know.
    read_as : tuple of str
        What was found of how the source is written.
    delimiter : str or None
        Of text.
    numeric : frozenset of str
        Identifiers that are numbers in the source.
    mixed : tuple of str
        What is to be said of identifiers that are numbers in some files of a folder and text in
        others.
    """

    table: pa.Table
    rows: int
    malformed: int = 0
    notes: tuple[str, ...] = ()
    read_as: tuple[str, ...] = ()
    delimiter: str | None = None
    numeric: frozenset[str] = frozenset()
    mixed: tuple[str, ...] = ()

    def said_of_types(self, one_type: bool) -> tuple[str, ...]:
        """Notes, those of mixed identifiers among them, if these are allowed.

        Raises
        ------
        InputError
            If they are not.
        """
        if self.mixed and one_type:
            raise InputError(
                self.mixed[0],
                "one type in all files",
                'write them again, or set data.ids = "text" to read all of them as text',
            )
        return (*self.notes, *self.mixed)


@dataclass
class Told:
    """What is found out of a table while it is read in parts; the fields of `TableRows`."""

    counted: RowsCounted = field(default_factory=RowsCounted)
    read_as: tuple[str, ...] = ()
    delimiter: str | None = None
    numeric: frozenset[str] = frozenset()


class OpenTable(Protocol):
    """A table whose columns are known."""

    @property
    def label(self) -> str:
        """Its name in messages."""

    @property
    def names(self) -> Sequence[str]:
        """Its columns."""

    def read(self, columns: Mapping[str, str], ids: Collection[str]) -> TableRows:
        """Read columns under the names that `columns` maps to the table's own.

        `ids` are those, by the names given, which identify something.
        """


class InParts(OpenTable, Protocol):
    """A table that can be read some rows at a time, if nothing in it asks for all of it."""

    def rows_about(self) -> int:
        """How many rows it has, or about so many."""

    def parts(
        self, columns: Mapping[str, str], ids: Collection[str], told: Told
    ) -> Iterator[pa.Table]:
        """Read columns some rows at a time, those of `ids` dictionary-encoded.

        `told` is complete when the last part was given. What all of a file decides is decided
        (see `recsys.data.ids.whole_numbers`), unless the table is a single file.

        Raises
        ------
        NotPlainError
            If the table is one that only `read` can read; perhaps after many parts.
        """


def open_table(
    source: Source, text: TextFormat = TextFormat(), wanted: Collection[str] = ()
) -> OpenTable:
    """Open a table, whatever it is kept in; files are what their first bytes say.

    Parameters
    ----------
    source : path, URL or object
        Text, JSON lines, Parquet, Arrow or Feather, plain or compressed (gzip, bzip2, zstd, lz4,
        xz, zip); a sheet of an Excel workbook, a table of a SQLite or DuckDB file, a member of a
        zip archive, named after a ``#`` if there are several; a folder of files which are the parts
        of one table; a Delta Lake or Iceberg table; the address of a PostgreSQL or MySQL server,
        with a table or a query after a ``#``; or a table of pandas, Polars or Arrow, or a SciPy
        matrix of users by items.
    text : TextFormat
    wanted : collection of str
        Names of columns that the caller knows to be there, which help to recognise text.

    Raises
    ------
    InputError
        If it is missing, empty, of a format that is not read, or can be read in several ways.
    """
    if not isinstance(source, str | Path):
        return _from_object(source)
    if is_sql(source):
        return _Columns(SqlTable.of(str(source)))
    address, part = split_part(str(source))
    filesystem, path = locate(address)
    if filesystem.get_file_info(path).is_file:
        return _open_file(filesystem, path, text, wanted, part)
    if (lake := find_lake(filesystem, path, address)) is not None:
        return _Columns(lake)
    return _open_folder(filesystem, path, text, wanted)


def read_table(
    source: Source, columns: Mapping[str, str], ids: Sequence[str], text: TextFormat = TextFormat()
) -> tuple[pa.Table, int]:
    """Read some columns of a table under the names that the caller gives them.

    Parameters
    ----------
    source : path, URL or object
        See `open_table`.
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
        If the source is missing, empty or damaged, or lacks a column; if it can be read in more
        than one way.
    """
    found = open_table(source, text, columns.values()).read(columns, ids)
    return found.table, found.malformed


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
    if is_sql(source):
        return SqlTable.of(str(source)).fingerprint()
    address, part = split_part(str(source))
    digest.update((part or "").encode())
    filesystem, path = locate(address)
    for name in _files_of(filesystem, path):
        digest.update(name.removeprefix(path).encode())
        with filesystem.open_input_stream(name, compression=None) as stream:
            while block := stream.read(1 << 22):
                digest.update(block)
    return digest.hexdigest()


def split_part(source: str) -> tuple[str, str | None]:
    """A file, and the sheet, table or member of it that is named after a ``#``.

    A file whose own name has a ``#`` in it is itself.
    """
    address, mark, part = source.rpartition("#")
    if not mark or not address or not part or "\0" in source:
        return source, None
    if "://" not in source and (
        Path(source).expanduser().exists() or not Path(address).expanduser().is_file()
    ):
        return source, None
    return address, part


def locate(source: str) -> tuple[pafs.FileSystem, str]:
    """The Arrow file system and path of a local path or fsspec URL.

    Raises
    ------
    InputError
        If nothing that can be read is there.
    """
    if not source or "\0" in source:
        raise InputError(f"the path {source!r}", "a file, folder or URL", "check the path")
    if "://" not in source:
        filesystem, path = pafs.LocalFileSystem(), str(Path(source).expanduser())
    else:
        try:
            remote, path = cast("tuple[Any, str]", fsspec.core.url_to_fs(source))
        except (ValueError, ImportError) as fault:
            raise InputError(
                f"{source} cannot be reached ({first_line(fault)})",
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
        raise InputError(f"no file or folder {source}", "a readable table", "check the path")
    if info.type == pafs.FileType.Unknown:
        # Reading a pipe or a device may never end.
        raise InputError(f"{source} is not a file", "a file or folder", "write it to a file first")
    if info.type == pafs.FileType.File and info.size == 0:
        raise InputError(f"{source} is empty", "a header line and rows", "check how it is written")
    return filesystem, path


def require_columns(found: Sequence[str], columns: Mapping[str, str], source: str) -> None:
    """Make sure that a table has each of the columns, once.

    Raises
    ------
    InputError
        If one is missing or there twice.
    """
    missing = [own for own in columns.values() if own not in found]
    if missing:
        raise InputError(
            f"{source} has the columns {', '.join(found[:20])}",
            f"a column {' and a column '.join(missing)}",
            "name the columns in the configuration (user_column, item_column, ...)",
        )
    twice = [own for own in columns.values() if list(found).count(own) > 1]
    if twice:
        raise InputError(
            f"{source} has more than one column {twice[0]}", "one", "rename or drop the others"
        )


def _files_of(filesystem: pafs.FileSystem, path: str) -> list[str]:
    if filesystem.get_file_info(path).is_file:
        return [path]
    found = filesystem.get_file_info(pafs.FileSelector(path, recursive=True))
    return sorted(entry.path for entry in found if entry.is_file)


def _open_file(
    filesystem: pafs.FileSystem,
    path: str,
    text: TextFormat,
    wanted: Collection[str],
    part: str | None = None,
) -> OpenTable:
    content = recognise(filesystem, path, part)
    if content.kind == "text":
        found = TextTable(content, text, wanted)
        if len(found.names) < 2 and path.endswith((".parquet", ".pq")):
            raise InputError(
                f"{path} cannot be read as Parquet (it is text, without columns)",
                "a Parquet file, or text with columns",
                "write it again",
            )
        size = filesystem.get_file_info(path).size
        return _TextFile(content.label, found, content, size)
    if content.kind == "parquet":
        return _ParquetFile(path, content, filesystem)
    if content.kind == "json":
        return _InMemory(content.label, read_json(content))
    if content.kind in ("arrow", "feather"):
        return _InMemory(content.label, _arrow_file(content))
    if content.kind == "excel":
        asked_for = [name for name in wanted if not name.isdigit()]
        table, told = read_workbook(content, part, asked_for)
        return _InMemory(content.label, table, told)
    if not content.compressed and isinstance(filesystem, pafs.LocalFileSystem):
        return _InMemory(content.label, read_database(path, content.kind, part))
    raise InputError(
        f"{content.label} is a database of {content.kind}",
        "a database in a local file, not compressed",
        "copy it to this machine first",
    )


def _arrow_file(content: Content) -> pa.Table:
    try:
        with content.open() as stream:
            return pyarrow.feather.read_table(pa.BufferReader(stream.read()))
    except FAULTS as fault:
        raise InputError(
            f"{content.label} cannot be read as Arrow ({first_line(fault)})",
            "an Arrow or Feather file",
            "write it again",
        ) from fault


def _open_folder(
    filesystem: pafs.FileSystem, path: str, text: TextFormat, wanted: Collection[str]
) -> OpenTable:
    """The files of a folder as parts of one table."""
    parts: dict[str, OpenTable] = {}
    files = filesystem.get_file_info(pafs.FileSelector(path, recursive=True))
    for entry in sorted(files, key=lambda entry: entry.path):
        inner = entry.path.removeprefix(path).strip("/")
        if "/_delta_log/" in f"/{inner}" or inner.endswith(".metadata.json"):
            raise InputError(
                f"{path} holds a table of Delta Lake or Iceberg, of whose files some may have been "
                "replaced",
                "the folder of the table itself, or a folder of files which are all of the table",
                "name the folder that has _delta_log or metadata in it",
            )
        # Such as `_SUCCESS` and `.part-0.crc`, which go with the parts.
        hidden = any(name.startswith((".", "_")) for name in inner.split("/"))
        if entry.is_file and entry.size and not hidden:
            part = _open_file(filesystem, entry.path, text, wanted)
            parts[inner] = _Partition.of(part, inner)
    if not parts:
        raise InputError(
            f"{path} holds no files", "a folder of the parts of a table", "check the path"
        )
    kinds = {type(part.table if isinstance(part, _Partition) else part) for part in parts.values()}
    if len(kinds) > 1:
        raise InputError(
            f"{path} holds files of different kinds ({', '.join(list(parts)[:5])})",
            "the parts of one table",
            "name a folder with the parts alone",
        )
    return _Parts(path, list(parts.values()))


def _from_object(source: Any) -> OpenTable:
    """A table that is in memory."""
    if isinstance(source, pd.DataFrame):
        return _Frame(source)
    if sp.issparse(source):
        pairs = sp.coo_matrix(source)
        columns = {"user": pairs.row, "item": pairs.col, "weight": pairs.data}
        return _InMemory("the matrix", pa.table(columns))
    if isinstance(source, pa.RecordBatchReader):
        return _InMemory("the table", source.read_all())
    if isinstance(source, pa.Table | pa.RecordBatch) or hasattr(source, "__arrow_c_stream__"):
        return _InMemory("the table", pa.table(source))
    raise InputError(
        f"a {type(source).__name__}",
        "a path, a URL, a table of pandas, Polars or Arrow, or a SciPy matrix",
        "convert it first",
    )


def _finished(
    table: pa.Table,
    columns: Mapping[str, str],
    ids: Collection[str],
    label: str,
    *,
    malformed: int = 0,
    read_as: tuple[str, ...] = (),
    delimiter: str | None = None,
) -> TableRows:
    """The table with identifiers as text with one dictionary each."""
    numeric, notes = set(), []
    if "item" in table.column_names and is_list(table.schema.field("item").type):
        before, table = table.num_rows, of_lists(table, "item")
        notes.append(
            f"{columns['item']} of {label} holds lists: its {before:,} rows are read as "
            f"{table.num_rows:,}, one for each item"
        )
    for place, name in enumerate(table.column_names):
        if name in ids:
            kind = table.schema.field(place).type
            if pa.types.is_integer(kind) or pa.types.is_floating(kind):
                numeric.add(name)
            codes = encode_ids(table.column(place), columns[name], label)
            if name in ("user", "item", "owner"):
                refuse_scientific(codes, columns[name], label)
            table = table.set_column(place, name, codes)
    return TableRows(
        table.unify_dictionaries(),
        table.num_rows + malformed,
        malformed,
        tuple(notes),
        read_as,
        delimiter,
        frozenset(numeric),
    )


def _encoded(
    parts: Iterator[pa.Table], columns: Mapping[str, str], ids: Collection[str], label: str
) -> Iterator[pa.Table]:
    """Parts of one file with identifiers as text; the checks of `_finished` made at the end."""
    scientific = {name: Scientific() for name in ("user", "item", "owner") if name in columns}
    for table in parts:
        for place, name in enumerate(table.column_names):
            if name not in ids:
                continue
            codes = encode_some_ids(table.column(place), columns[name], label)
            if name in scientific:
                scientific[name].look_at(codes)
            table = table.set_column(place, name, codes)
        yield table
    for name, seen in scientific.items():
        seen.refuse(columns[name], label)


def _short(label: str) -> str:
    """The name of a file without its folder, for what is told of it."""
    # The path of a member of an archive follows in brackets.
    parts = redacted(label).split(" (")
    return " (".join(part.rsplit("/", 1)[-1] for part in parts)


@dataclass(frozen=True)
class _TextFile:
    label: str
    text: TextTable
    content: Content
    size: int  # bytes, as it is stored

    @property
    def names(self) -> Sequence[str]:
        return self.text.names

    def read(self, columns: Mapping[str, str], ids: Collection[str]) -> TableRows:
        require_columns(self.names, columns, self.label)
        # One column may be used twice, as the item's id and its name.
        own = list(dict.fromkeys(columns.values()))
        identify = {columns[name] for name in ids if name in columns}
        found = self.text.read([self.names.index(n) for n in own], [n in identify for n in own])
        by_name = dict(zip(own, found.columns, strict=True))
        table = pa.table({ours: by_name[theirs] for ours, theirs in columns.items()})
        return _finished(
            table,
            columns,
            ids,
            self.label,
            malformed=found.malformed,
            read_as=self._read_as(),
            delimiter=self.text.dialect.delimiter,
        )

    def rows_about(self) -> int:
        head = self.content.head
        size = self.size * (_COMPRESSED if self.content.compressed else 1)
        return size * (head.count(b"\n") or head.count(b"\r") or 1) // max(len(head), 1)

    def parts(
        self, columns: Mapping[str, str], ids: Collection[str], told: Told
    ) -> Iterator[pa.Table]:
        require_columns(self.names, columns, self.label)
        if not set(columns) <= set(ids):
            raise NotPlainError  # how numbers and dates are written is found by all of them
        own = list(dict.fromkeys(columns.values()))
        places, encoded = [self.names.index(name) for name in own], [True] * len(own)
        read = (
            _under_our_names(dict(zip(own, arrays, strict=True)), columns)
            for arrays in self.text.parts(places, encoded, told.counted)
        )
        yield from _encoded(read, columns, ids, self.label)
        told.read_as, told.delimiter = self._read_as(), self.text.dialect.delimiter

    def _read_as(self) -> tuple[str, ...]:
        told = self.text.dialect.found
        return (f"{_short(self.label)} is read as text with {told}",) if told else ()


def _under_our_names(found: Mapping[str, pa.Array], columns: Mapping[str, str]) -> pa.Table:
    """A table under the names that the caller gives columns, of which two may be one."""
    return pa.table({ours: found[theirs] for ours, theirs in columns.items()})


@dataclass(frozen=True)
class _ParquetFile:
    label: str
    content: Content
    filesystem: pafs.FileSystem
    _known: list[str] = field(default_factory=list)

    @property
    def names(self) -> Sequence[str]:
        if not self._known:
            with _parquet_errors(self.label):
                self._known.extend(self._dataset(()).schema.names)
        return self._known

    def _dataset(self, encoded: Collection[str]) -> Any:
        options = pads.ParquetReadOptions(dictionary_columns=set(encoded))
        layout = pads.ParquetFileFormat(read_options=options)
        return pads.dataset(self.label, filesystem=self.filesystem, format=layout)

    def read(self, columns: Mapping[str, str], ids: Collection[str]) -> TableRows:
        identify = [columns[name] for name in ids if name in columns]
        with _parquet_errors(self.label):
            if self.content.compressed:
                with self.content.open() as stream:
                    whole = pq.read_table(pa.BufferReader(stream.read()))
                require_columns(whole.column_names, columns, self.label)
                table = whole.select(list(columns.values()))
            else:
                dataset = self._dataset(identify)
                require_columns(dataset.schema.names, columns, self.label)
                table = dataset.to_table(columns=list(columns.values()))
        table = table.rename_columns(list(columns))
        return _finished(table, columns, ids, self.label)

    def rows_about(self) -> int:
        if self.content.compressed:
            return 0
        with _parquet_errors(self.label), self.filesystem.open_input_file(self.label) as file:
            return int(pq.read_metadata(file).num_rows)

    def parts(
        self, columns: Mapping[str, str], ids: Collection[str], told: Told
    ) -> Iterator[pa.Table]:
        if self.content.compressed:
            raise NotPlainError
        with _parquet_errors(self.label):
            require_columns(self.names, columns, self.label)
            yield from _encoded(self._batches(columns, told), columns, ids, self.label)

    def _batches(self, columns: Mapping[str, str], told: Told) -> Iterator[pa.Table]:
        own = list(dict.fromkeys(columns.values()))
        with (
            self.filesystem.open_input_file(self.label) as file,
            # Buffered and not loaded beforehand, as a file may be one group of rows.
            pq.ParquetFile(file, pre_buffer=False, buffer_size=_BUFFER) as parquet,
        ):
            kinds = {name: parquet.schema_arrow.field(name).type for name in own}
            if any(pa.types.is_nested(kind) for kind in kinds.values()):
                raise NotPlainError
            told.numeric = frozenset(
                ours
                for ours, theirs in columns.items()
                if pa.types.is_integer(kinds[theirs]) or pa.types.is_floating(kinds[theirs])
            )
            for batch in parquet.iter_batches(_BATCH, columns=own):
                told.counted.rows += batch.num_rows
                yield _under_our_names({name: batch.column(name) for name in own}, columns)


@contextmanager
def _parquet_errors(path: str) -> Iterator[None]:
    """Say of what is no Parquet that it is none."""
    try:
        yield
    # ValueError comes from Arrow for invalid files and from Python for invalid names.
    except (pa.ArrowException, ValueError, OSError) as fault:
        raise InputError(
            f"{path} cannot be read as Parquet ({first_line(fault)})",
            "a Parquet file or a folder of Parquet files",
            "write it again",
        ) from fault


@dataclass(frozen=True)
class _InMemory:
    label: str
    table: pa.Table
    told: str = ""

    @property
    def names(self) -> Sequence[str]:
        return list(self.table.column_names)

    def read(self, columns: Mapping[str, str], ids: Collection[str]) -> TableRows:
        require_columns(self.names, columns, self.label)
        table = self.table.select(list(columns.values())).rename_columns(list(columns))
        read_as = (f"{_short(self.label)} is read with {self.told}",) if self.told else ()
        return _finished(table, columns, ids, self.label, read_as=read_as)


@dataclass(frozen=True)
class _Columns:
    source: Columnar

    @property
    def label(self) -> str:
        return self.source.label

    @property
    def names(self) -> Sequence[str]:
        return self.source.names

    def read(self, columns: Mapping[str, str], ids: Collection[str]) -> TableRows:
        require_columns(self.names, columns, self.label)
        own = list(dict.fromkeys(columns.values()))
        found = self.source.load(own, {columns[name] for name in ids if name in columns})
        table = _small(pa.table({ours: found.column(theirs) for ours, theirs in columns.items()}))
        return _finished(table, columns, ids, self.label)


@dataclass(frozen=True)
class _Frame:
    frame: pd.DataFrame
    label: str = "the DataFrame"

    @property
    def names(self) -> Sequence[str]:
        return [str(name) for name in self.frame.columns]

    def read(self, columns: Mapping[str, str], ids: Collection[str]) -> TableRows:
        require_columns(self.names, columns, self.label)
        wanted = list(dict.fromkeys(columns.values()))
        chosen = self.frame.iloc[:, [self.names.index(name) for name in wanted]]
        try:
            table = pa.table({name: _series(chosen.iloc[:, at]) for at, name in enumerate(wanted)})
        except _CONVERSION_FAULTS as fault:
            raise InputError(
                f"a DataFrame column that cannot be converted ({first_line(fault)})",
                "numbers or text",
                "convert it first",
            ) from fault
        table = table.select(list(columns.values())).rename_columns(list(columns))
        return _finished(table, columns, ids, self.label)


def _series(series: pd.Series) -> pa.ChunkedArray:
    """A column of a DataFrame; mixed types (7 and "7") are read as text, as ids are."""
    try:
        found = pa.Array.from_pandas(series)
    except _CONVERSION_FAULTS:
        texts = [None if pd.isna(value) else id_text(value) for value in series]
        found = pa.array(texts, pa.string())
    return found if isinstance(found, pa.ChunkedArray) else pa.chunked_array([found])


@dataclass(frozen=True)
class _Partition:
    """A part of a table whose folders are named after values, as in `day=2026-01-31`."""

    table: OpenTable
    values: Mapping[str, str]

    @classmethod
    def of(cls, table: OpenTable, path: str) -> OpenTable:
        """The part, with a column for each such folder."""
        named = [folder.split("=", 1) for folder in path.split("/")[:-1] if "=" in folder]
        values = {name: value for name, value in named if name not in table.names}
        return cls(table, values) if values else table

    @property
    def label(self) -> str:
        return self.table.label

    @property
    def names(self) -> Sequence[str]:
        return [*self.table.names, *self.values]

    def read(self, columns: Mapping[str, str], ids: Collection[str]) -> TableRows:
        inner = {ours: own for ours, own in columns.items() if own not in self.values}
        found = self.table.read(inner, ids)
        table = found.table
        for ours, own in columns.items():
            if own in self.values:
                constant = pa.array([self.values[own]] * table.num_rows, pa.string())
                table = table.append_column(ours, constant)
        table = _finished(table.select(list(columns)), columns, ids, self.label).table
        return replace(found, table=table)


@dataclass(frozen=True)
class _Parts:
    label: str
    tables: Sequence[OpenTable]

    @property
    def names(self) -> Sequence[str]:
        # A name that is twice in a part stays so.
        first = list(self.tables[0].names)
        others = (name for part in self.tables[1:] for name in part.names)
        return [*first, *dict.fromkeys(name for name in others if name not in first)]

    def read(self, columns: Mapping[str, str], ids: Collection[str]) -> TableRows:
        require_columns(self.names, columns, self.label)
        found = [self._read_part(part, columns, ids) for part in self.tables]
        tables = [_small(each.table) for each in found]
        # Titles that are null in a month have no type in it.
        kinds = [
            {table.schema.field(name).type for table in tables} - {pa.null()} for name in columns
        ]
        drifting = [name for name, kind in zip(columns, kinds, strict=True) if len(kind) > 1]
        whole = pa.concat_tables(
            [_as_text(table, drifting) for table in tables], promote_options="default"
        )
        return TableRows(
            whole.unify_dictionaries(),
            sum(each.rows for each in found),
            sum(each.malformed for each in found),
            tuple(note for each in found for note in each.notes),
            found[0].read_as,
            found[0].delimiter,
            mixed=tuple(self._drift(found, columns)),
        )

    def rows_about(self) -> int:
        return sum(part.rows_about() for part in map(_whole_file, self.tables) if part)

    def parts(
        self, columns: Mapping[str, str], ids: Collection[str], told: Told
    ) -> Iterator[pa.Table]:
        require_columns(self.names, columns, self.label)
        numeric: set[frozenset[str]] = set()
        for place, part in enumerate(map(_whole_file, self.tables)):
            if part is None or not set(columns.values()) <= set(part.names):
                raise NotPlainError
            own = Told(told.counted)
            for table in part.parts(columns, ids, own):
                # What a file decides for its ids would be known at its end only.
                if any(whole_numbers(c) is not c for c in table.columns if c.type == ENCODED):
                    raise NotPlainError
                yield table
            if place == 0:
                told.read_as, told.delimiter = own.read_as, own.delimiter
            numeric.add(own.numeric)
        if len(numeric) > 1:
            raise NotPlainError

    def _drift(self, found: Sequence[TableRows], columns: Mapping[str, str]) -> Iterator[str]:
        """Notes of identifiers that are numbers in some parts and text in others."""
        for ours, own in columns.items():
            numeric = sum(ours in each.numeric for each in found)
            if ours in ("user", "item", "owner") and 0 < numeric < len(found):
                at = next(n for n, each in enumerate(found) if ours in each.numeric)
                yield (
                    f"{own} holds numbers in some files of {self.label}, such as "
                    f"{self.tables[at].label}, and text in others; where zeros in front were lost, "
                    "one id has become another: write it as text in all of them"
                )

    def _read_part(
        self, part: OpenTable, columns: Mapping[str, str], ids: Collection[str]
    ) -> TableRows:
        """A part; columns that only others have are empty in it, but for users and items."""
        there = {ours: own for ours, own in columns.items() if own in part.names}
        lacking = [
            columns[ours]
            for ours in ("user", "item", "owner")
            if ours in columns and ours not in there
        ]
        if lacking:
            raise InputError(
                f"{part.label} has no column {lacking[0]}, which other files of {self.label} have",
                "the same columns in all parts",
                "write it again, or move it away",
            )
        found = part.read(there, ids)
        table = found.table
        for ours in columns:
            if ours not in there:
                kind = ENCODED if ours in ids else pa.null()
                table = table.append_column(ours, pa.nulls(table.num_rows, kind))
        return replace(found, table=table.select(list(columns)))


def _whole_file(part: OpenTable) -> InParts | None:
    """A part of a table that can be read in parts itself, without what its folders are named."""
    inner = part.table if isinstance(part, _Partition) else part
    return inner if isinstance(inner, _TextFile | _ParquetFile) else None


def _small(table: pa.Table) -> pa.Table:
    """The table with one type of text."""
    for place, field_ in enumerate(table.schema):
        if pa.types.is_large_string(field_.type) or pa.types.is_string_view(field_.type):
            table = table.set_column(place, field_.name, table.column(place).cast(pa.string()))
    return table


def _as_text(table: pa.Table, names: Sequence[str]) -> pa.Table:
    """The table with some columns as text, because their type differs from part to part."""
    for name in names:
        place = table.column_names.index(name)
        table = table.set_column(place, name, table.column(place).cast(pa.string()))
    return table
