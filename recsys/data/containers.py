"""Containers: what a file is by its first bytes, whatever its name says, decompressed."""

from __future__ import annotations

import lzma
import re
import zipfile
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal

import pyarrow as pa
import pyarrow.fs as pafs

from recsys.base.errors import InputError

Kind = Literal["text", "json", "parquet", "arrow", "feather", "excel", "sqlite", "duckdb"]

HEAD = 1 << 18  # bytes from which formats are recognised
_MOST_LAYERS = 3

# What opening, decompressing and decoding raise.
FAULTS = (
    pa.ArrowException,
    OSError,
    ValueError,
    LookupError,
    EOFError,
    lzma.LZMAError,
    zipfile.BadZipFile,
    zlib.error,
    RuntimeError,
)

_CODECS = {
    b"\x1f\x8b": "gzip",
    b"BZh": "bz2",
    b"\x28\xb5\x2f\xfd": "zstd",
    b"\x04\x22\x4d\x18": "lz4",
    b"\xfd7zXZ\x00": "xz",
}
_FORMATS: dict[bytes, Kind] = {
    b"PAR1": "parquet",
    b"ARROW1": "arrow",
    b"FEA1": "feather",
    b"SQLite format 3\x00": "sqlite",
}
# Formats that are not read, by their first bytes.
_REFUSED = {
    b"PARE": "an encrypted Parquet file",
    b"ORC": "an ORC file",
    b"Obj\x01": "an Avro file",
    b"\x89HDF": "an HDF5 file",
    b"\x80\x03": "a Python pickle",
    b"\x80\x04": "a Python pickle",
    b"\x80\x05": "a Python pickle",
    b"\x93NUMPY": "a NumPy array",
    b"7z\xbc\xaf": "a 7z archive",
    b"Rar!": "a RAR archive",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook (.xls)",
    b"%PDF": "a PDF document",
    b"<stata_dta>": "a Stata file",
    b"$FL2": "an SPSS file",
    b"X\n\x00\x00\x00": "a file of R (.rds)",
    b"RDX": "a file of R (.RData)",
    b"\x89PNG": "a picture",
    b"\xff\xd8\xff": "a picture",
    b"GIF8": "a picture",
}
_IN_PYTHON = (
    "convert it first; or, in Python, hand what {} returns, as a matrix of users by items, to "
    "recsys.read_interactions"
)
# As in <likes>, and in a dump of a database, perhaps below comments and settings.
_ELEMENT = re.compile(rb"<[a-z][\w:.-]*(\s[^<>]*)?>\s*<")
_STATEMENT = re.compile(
    rb"(--[^\n]*\n\s*)*(insert into|create table|drop table|set [\w.]+ ?=|begin;)"
)


@dataclass(frozen=True)
class Content:
    """What is in a file, below its compression.

    Parameters
    ----------
    label : str
        The file's path, and the name of the member of an archive.
    kind : str
        What it is, by its first bytes.
    head : bytes
        Its beginning, at most `HEAD` bytes.
    open : callable
        Opens it anew, as a binary stream of what is below the compression.
    compressed : bool
        Whether there is a compression.
    """

    label: str
    kind: Kind
    head: bytes
    open: Callable[[], Any]
    compressed: bool


def recognise(filesystem: pafs.FileSystem, path: str, part: str | None = None) -> Content:
    """Find out what a file is.

    Parameters
    ----------
    filesystem : pyarrow.fs.FileSystem
    path : str
        A file in it.
    part : str or None
        Of a zip archive, the file in it.

    Raises
    ------
    InputError
        If it cannot be read, is empty, or of a format that is not read.
    """
    label, opener, compressed = path, _opener(filesystem, path), False
    try:
        for _ in range(_MOST_LAYERS):
            head = _beginning(opener)
            codec = next((name for mark, name in _CODECS.items() if head.startswith(mark)), None)
            if head.startswith(b"PK\x03\x04"):
                member, opener = _member(opener, label, part)
                if member is None:
                    return Content(label, "excel", head, opener, compressed)
                label = f"{label} ({member})"
            elif codec is not None:
                opener = _decompressed(opener, codec)
            else:
                break
            compressed = True
    except FAULTS as fault:
        raise unreadable(label, fault) from fault
    if not head:
        raise InputError(
            f"{label} cannot be read (it holds nothing)",
            "a header line and rows",
            "check how it is written",
        )
    return Content(label, _kind(head, label), head, opener, compressed)


def unreadable(label: str, fault: Exception) -> InputError:
    """The error for a file that could not be opened or decompressed."""
    return InputError(
        f"{label} cannot be read ({first_line(fault)})",
        "a whole file, plain or compressed",
        "write it again",
    )


def first_line(fault: Exception) -> str:
    """The first line of an exception's message, or its type."""
    return str(fault).splitlines()[0][:200] if str(fault) else type(fault).__name__


def _opener(filesystem: pafs.FileSystem, path: str) -> Callable[[], Any]:
    # A file that can be searched, as archives have their index at the end.
    return lambda: filesystem.open_input_file(path)


def _beginning(opener: Callable[[], Any]) -> bytes:
    with opener() as stream:
        parts: list[bytes] = []
        missing = HEAD
        while missing and (block := stream.read(missing)):
            parts.append(block)
            missing -= len(block)
        return b"".join(parts)


def _decompressed(opener: Callable[[], Any], codec: str) -> Callable[[], Any]:
    if codec == "xz":
        return lambda: lzma.open(opener(), "rb")
    return lambda: pa.CompressedInputStream(opener(), codec)


def _member(
    opener: Callable[[], Any], label: str, part: str | None
) -> tuple[str | None, Callable[[], Any]]:
    """The file of a zip archive, and how to open it; None for an Excel workbook."""
    with opener() as stream, zipfile.ZipFile(stream) as archive:
        names = [entry.filename for entry in archive.infolist() if not entry.is_dir()]
    if "xl/workbook.xml" in names:
        return None, opener
    names = [name for name in names if (name == part if part else not _hidden(name))]
    if names and all(name.endswith(".npy") for name in names):
        raise InputError(
            f"{label} is an archive of NumPy arrays",
            "delimited text, JSON lines, Parquet, Arrow, Excel or a database",
            _IN_PYTHON.format("scipy.sparse.load_npz"),
        )
    if len(names) != 1:
        raise InputError(
            f"{label} is a zip archive of {len(names):,} files ({', '.join(names[:5])})",
            "an archive of one file, or its name",
            f"write it after a #, as in {label}#{names[0] if names else 'likes.csv'}, or unpack it",
        )
    return names[0], lambda: zipfile.ZipFile(opener()).open(names[0])


def _hidden(name: str) -> bool:
    """Whether a file is of no concern, as `_SUCCESS`, `.part.crc` and `__MACOSX/` are."""
    return any(part.startswith((".", "_")) for part in name.split("/"))


def _kind(head: bytes, label: str) -> Kind:
    for mark, kind in _FORMATS.items():
        if head.startswith(mark):
            return kind
    if head[8:12] == b"DUCK":
        return "duckdb"
    refused = next((name for mark, name in _REFUSED.items() if head.startswith(mark)), None)
    if head[257:262] == b"ustar":
        refused = "a tar archive"
    start = head.lstrip(b"\xef\xbb\xbf \t\r\n")[:200].lower()
    if start.startswith((b"<!doctype html", b"<html", b"<?xml")) or _ELEMENT.match(start):
        refused = refused or "a page of HTML or XML"
    if _STATEMENT.match(start):
        refused = "a script of SQL"
    if start.startswith(b"%%matrixmarket"):
        raise InputError(
            f"{label} is a matrix in the format of Matrix Market",
            "delimited text, JSON lines, Parquet, Arrow, Excel or a database",
            _IN_PYTHON.format("scipy.io.mmread"),
        )
    if refused:
        raise InputError(
            f"{label} is {refused}",
            "delimited text, JSON lines, Parquet, Arrow, Excel or a database",
            "convert it first",
        )
    return "json" if re.match(rb"\{\s*[\"}]|\[\s*\{", start) else "text"
