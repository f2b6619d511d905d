"""Workbooks and databases: a sheet or a table of a file that may hold several."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Sequence

import pyarrow as pa

from recsys.base.errors import InputError
from recsys.data.columnar import lacking
from recsys.data.containers import FAULTS, Content, first_line
from recsys.data.json_lines import column_of
from recsys.data.preface import said_of_titles, title_lines


def read_workbook(
    content: Content, part: str | None, wanted: Collection[str] = ()
) -> tuple[pa.Table, str]:
    """Read a sheet of an Excel workbook; its first row below a title names the columns.

    Parameters
    ----------
    content : Content
    part : str or None
        The sheet; None for the only one that is not empty.
    wanted : collection of str
        Names of columns that the caller has asked for, which help to recognise the header.

    Returns
    -------
    table : pyarrow.Table
    told : str
        That rows above the header were left out; empty if there are none.

    Raises
    ------
    InputError
        If it cannot be read, has no such sheet, or several of which none is named.
    """
    try:
        import openpyxl
    except ImportError as fault:
        raise lacking(content.label, "an Excel workbook", "openpyxl", "excel") from fault
    try:
        with content.open() as stream:
            book = openpyxl.load_workbook(
                pa.BufferReader(stream.read()), read_only=True, data_only=True
            )
            sheets = {
                sheet.title: sheet
                for sheet in book.worksheets
                if sheet.max_row and sheet.max_column
            }
            sheet = sheets[_chosen(content.label, list(sheets), part, "sheet")]
            rows = [
                row for row in sheet.iter_rows(values_only=True) if any(c is not None for c in row)
            ]
    except (*FAULTS, KeyError, TypeError) as fault:
        raise _damaged(content.label, "an Excel workbook", fault) from fault
    texts = [["" if cell is None else str(cell).strip() for cell in row] for row in rows[:20]]
    above = title_lines(texts, wanted)
    names = texts[above] if texts else []
    places = [place for place, name in enumerate(names) if name]
    table = pa.Table.from_arrays(
        [column_of([row[place] for row in rows[above + 1 :]]) for place in places],
        names=[names[place] for place in places],
    )
    return table, said_of_titles(above) if above else ""


def read_database(path: str, kind: str, part: str | None) -> pa.Table:
    """Read a table of a SQLite or DuckDB file, which is opened for reading only.

    Parameters
    ----------
    path : str
        A local file.
    kind : {"sqlite", "duckdb"}
    part : str or None
        The table or view; None for the only one.

    Raises
    ------
    InputError
        If it cannot be read, has no such table, or several of which none is named.
    """
    try:
        return _from_duckdb(path, part) if kind == "duckdb" else _from_sqlite(path, part)
    except (*FAULTS, sqlite3.Error) as fault:
        raise _damaged(path, f"a database of {kind}", fault) from fault


def _from_sqlite(path: str, part: str | None) -> pa.Table:
    with sqlite3.connect(f"file:{_quoted_path(path)}?mode=ro", uri=True) as connection:
        listed = (
            "SELECT name FROM sqlite_master "
            "WHERE type IN ('table', 'view') AND name NOT LIKE 'sqlite_%'"
        )
        table = _chosen(path, [name for (name,) in connection.execute(listed)], part, "table")
        # Quoted, and one of the tables that the file lists.
        query = f"SELECT * FROM {_identifier(table)}"  # noqa: S608  # nosec B608
        found = connection.execute(query)
        names = [column[0] for column in found.description]
        rows = found.fetchall()
    return pa.Table.from_arrays(
        [column_of([row[place] for row in rows]) for place in range(len(names))], names=names
    )


def _from_duckdb(path: str, part: str | None) -> pa.Table:
    try:
        import duckdb
    except ImportError as fault:
        raise lacking(path, "a database of DuckDB", "duckdb", "duckdb") from fault
    try:
        with duckdb.connect(path, read_only=True) as connection:
            listed = connection.execute("SELECT table_name FROM information_schema.tables")
            table = _chosen(path, [name for (name,) in listed.fetchall()], part, "table")
            query = f"SELECT * FROM {_identifier(table)}"  # noqa: S608  # nosec B608
            return connection.sql(query).to_arrow_table()
    except duckdb.Error as fault:
        raise _damaged(path, "a database of DuckDB", fault) from fault


def _identifier(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _quoted_path(path: str) -> str:
    return path.replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _chosen(label: str, names: Sequence[str], part: str | None, what: str) -> str:
    """The part that was asked for, or the only one."""
    if part in names:
        return str(part)
    if part is None and len(names) == 1:
        return names[0]
    listed = ", ".join(names[:10]) or "none"
    raise InputError(
        f"{label} has the {what}s {listed}" + (f", and no {part}" if part else ""),
        f"the name of one {what}" if names else f"a {what} with rows",
        f"write it after a #, as in {label}#{names[0] if names else what.upper()}",
    )


def _damaged(label: str, what: str, fault: Exception) -> InputError:
    if isinstance(fault, InputError):
        return fault
    return InputError(
        f"{label} cannot be read as {what} ({first_line(fault)})", "a whole file", "write it again"
    )
