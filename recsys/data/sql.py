"""SQL: the rows of a table or a query of PostgreSQL or MySQL, read only and streamed.

Passwords are taken from the environment where the address has none, as the programs of the
databases take them: PGPASSWORD and ~/.pgpass, MYSQL_PWD.
"""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any, Protocol
from urllib.parse import parse_qsl, quote, unquote, urlencode, urlsplit, urlunsplit

import numpy as np
import pandas as pd
import pyarrow as pa

from recsys.base.errors import InputError
from recsys.base.redaction import redacted
from recsys.data.columnar import lacking
from recsys.data.containers import first_line
from recsys.data.ids import ENCODED, id_text
from recsys.data.json_lines import column_of

_ROWS = 65_536  # fetched at once from MySQL
_SCHEMES = {
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "mysql": "mysql",
    "mariadb": "mysql",
}
_QUERY = re.compile(r"\s*(select|with|table|values)\b", re.IGNORECASE)
_SECONDS = 20  # until a server has to answer at all


class _Dialect(Protocol):
    """How a kind of server is asked."""

    quote: str

    def batches(self, address: str, query: str) -> Iterator[pa.RecordBatch]:
        """The rows of a query, as they come."""


def is_sql(source: object) -> bool:
    """Whether a source is an address of a database server."""
    return (
        isinstance(source, str)
        and source.split("://", 1)[0].lower() in _SCHEMES
        and ("://" in source)
    )


@dataclass(frozen=True)
class SqlTable:
    """A table or a query of a database server.

    Parameters
    ----------
    address : str
        Such as ``postgresql://ann@host/shop``.
    part : str
        The name of a table, perhaps with its schema, or a query.
    """

    address: str
    part: str
    _known: list[str] = field(default_factory=list)

    @staticmethod
    def of(source: str) -> SqlTable:
        """From an address with a table or a query after a ``#``.

        Raises
        ------
        InputError
            If there is none.
        """
        address, _, part = source.partition("#")
        if not part.strip():
            raise InputError(
                f"{redacted(address)} names no table",
                "a table or a query after a #",
                f"as in {redacted(address)}#likes",
            )
        return SqlTable(address, part.strip().rstrip(";"))

    @property
    def label(self) -> str:
        """Its name in messages, without secrets."""
        part = " ".join(self.part.split())
        return f"{redacted(self.address)}#{part if len(part) <= 60 else part[:57] + '...'}"

    @property
    def names(self) -> Sequence[str]:
        """Its columns; no rows are fetched."""
        if not self._known:
            query = f"SELECT * FROM {self._relation()} LIMIT 0"  # noqa: S608  # nosec B608
            with self._faults():
                self._known.extend(next(self._batches(query)).schema.names)
        return self._known

    def load(self, names: Sequence[str], ids: Collection[str]) -> pa.Table:
        """Read columns, in batches as they come; text of `ids` is dictionary-encoded."""
        listed = ", ".join(self._quoted(name) for name in names)
        query = f"SELECT {listed} FROM {self._relation()}"  # noqa: S608  # nosec B608
        with self._faults():
            tables = [_compact(batch, ids) for batch in self._batches(query)]
        return pa.concat_tables(tables, promote_options="permissive")

    def fingerprint(self) -> str:
        """A hash (32 hex digits) of its rows, in whatever order they come."""
        query = f"SELECT * FROM {self._relation()}"  # noqa: S608  # nosec B608
        total, mixed, rows = 0, 0, 0
        digest = hashlib.blake2b(self.part.encode(), digest_size=16)
        with self._faults():
            for place, batch in enumerate(self._batches(query)):
                if not place:
                    digest.update("\0".join(batch.schema.names).encode())
                frame = pa.Table.from_batches([batch]).to_pandas().astype("string").fillna("\0")
                hashes = pd.util.hash_pandas_object(frame, index=False).to_numpy()
                total = (total + int(hashes.sum(dtype=np.uint64))) % 2**64
                mixed ^= int(np.bitwise_xor.reduce(hashes, initial=0))
                rows += len(hashes)
        digest.update(f"{rows} {total} {mixed}".encode())
        return digest.hexdigest()

    def _relation(self) -> str:
        if _QUERY.match(self.part):
            return f"({self.part}) AS part"
        return ".".join(self._quoted(name) for name in self.part.split("."))

    def _quoted(self, name: str) -> str:
        mark = self._dialect.quote
        return mark + name.replace(mark, mark * 2) + mark

    @property
    def _dialect(self) -> _Dialect:
        kind = _SCHEMES[self.address.split("://", 1)[0].lower()]
        return _Postgres() if kind == "postgresql" else _MySql()

    def _batches(self, query: str) -> Iterator[pa.RecordBatch]:
        return self._dialect.batches(self.address, query)

    @contextmanager
    def _faults(self) -> Iterator[None]:
        """Say of what a server refuses what it was."""
        try:
            yield
        except InputError:
            raise
        except ImportError as fault:
            package = (fault.name or "its driver").split(".")[0]
            raise lacking(redacted(self.address), "a database", package, "sql") from fault
        except Exception as fault:  # each driver has errors of its own
            said = _plain(fault, self.address)
            raise InputError(
                f"{self.label} cannot be read ({said})",
                "a server that answers, and a table or query that may be read",
                "check the address, the rights, and PGPASSWORD or MYSQL_PWD",
            ) from fault


def _plain(fault: Exception, address: str) -> str:
    """The first line of a driver's message, without the password."""
    said = first_line(fault).removeprefix("INVALID_ARGUMENT: ")
    password = urlsplit(address).password
    return said.replace(unquote(password), "***").replace(password, "***") if password else said


class _Postgres:
    quote = '"'

    def batches(self, address: str, query: str) -> Iterator[pa.RecordBatch]:
        """The rows of a query, by COPY, in a transaction that may not write."""
        import adbc_driver_postgresql.dbapi

        with (
            adbc_driver_postgresql.dbapi.connect(_read_only(address)) as connection,
            connection.cursor() as cursor,
        ):
            cursor.execute(query)
            reader = cursor.fetch_record_batch()
            names = reader.schema.names
            found = False
            for batch in reader:
                found = True
                yield pa.RecordBatch.from_arrays([_plain_type(c) for c in batch.columns], names)
            if not found:
                yield pa.RecordBatch.from_arrays(
                    [_plain_type(pa.array([], kind)) for kind in reader.schema.types], names
                )


def _read_only(address: str) -> str:
    """The address with what makes every transaction a reading one, and does not wait for ever."""
    parts = urlsplit(address)
    given = dict(parse_qsl(parts.query))
    given["options"] = (given.get("options", "") + " -c default_transaction_read_only=on").strip()
    given.setdefault("connect_timeout", str(_SECONDS))
    return urlunsplit(parts._replace(query=urlencode(given, quote_via=quote)))


def _plain_type(column: pa.Array) -> pa.Array:
    """Numbers of any precision, and types that Arrow does not know, as text."""
    if isinstance(column, pa.ExtensionArray):
        column = column.storage
    if pa.types.is_fixed_size_binary(column.type) and column.type.byte_width == 16:
        import uuid

        values = [None if v is None else str(uuid.UUID(bytes=v)) for v in column.to_pylist()]
        return pa.array(values, pa.string())
    return column


class _MySql:
    quote = "`"

    def batches(self, address: str, query: str) -> Iterator[pa.RecordBatch]:
        """The rows of a query, from a cursor of the server, in a transaction that may not write."""
        import pymysql
        from pymysql.cursors import SSCursor

        parts = urlsplit(address)
        connection = pymysql.connect(
            host=parts.hostname or "localhost",
            port=parts.port or 3306,
            user=unquote(parts.username) if parts.username else os.environ.get("USER"),
            password=unquote(parts.password or "") or os.environ.get("MYSQL_PWD", ""),
            database=unquote(parts.path.strip("/")) or None,
            charset="utf8mb4",
            connect_timeout=_SECONDS,
            cursorclass=SSCursor,
        )
        try:
            with connection.cursor() as cursor:
                cursor.execute("SET SESSION TRANSACTION READ ONLY")
                cursor.execute("START TRANSACTION READ ONLY")
                cursor.execute(query)
                names = [column[0] for column in cursor.description]
                yield from _fetched(names, cursor.fetchmany)
        finally:
            connection.close()


def _fetched(names: list[str], fetch: Callable[[int], Sequence[Any]]) -> Iterator[pa.RecordBatch]:
    rows = fetch(_ROWS)
    while True:
        columns = [column_of([_value(row[at]) for row in rows]) for at in range(len(names))]
        arrays = [c.combine_chunks() if isinstance(c, pa.ChunkedArray) else c for c in columns]
        yield pa.RecordBatch.from_arrays(arrays, names)
        if len(rows) < _ROWS:
            return
        rows = fetch(_ROWS)


def _value(value: object) -> object:
    if isinstance(value, bytes):
        return value.decode("utf-8", "replace")
    return id_text(value) if isinstance(value, Decimal) else value


def _compact(batch: pa.RecordBatch, ids: Collection[str]) -> pa.Table:
    """The rows as a table, text of ids dictionary-encoded so that it takes less memory."""
    table = pa.Table.from_batches([batch])
    for place, name in enumerate(table.column_names):
        kind = table.schema.field(place).type
        if pa.types.is_large_string(kind) or pa.types.is_string_view(kind):
            table = table.set_column(place, name, table.column(place).cast(pa.string()))
        if name in ids and pa.types.is_string(table.schema.field(place).type):
            encoded = table.column(place).dictionary_encode().cast(ENCODED)
            table = table.set_column(place, name, encoded)
    return table
