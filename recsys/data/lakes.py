"""Lakes: Delta Lake and Iceberg tables, whose log says which of their files count."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.fs as pafs

from recsys.base.errors import InputError
from recsys.data.columnar import lacking
from recsys.data.containers import first_line


def find_lake(filesystem: pafs.FileSystem, path: str, address: str) -> Lake | None:
    """The Delta Lake or Iceberg table of a folder; None if it is neither.

    Parameters
    ----------
    filesystem : pyarrow.fs.FileSystem
    path : str
        The folder in it.
    address : str
        The folder as it was given, which the readers open by themselves.
    """
    logs = {
        kind: filesystem.get_file_info(pafs.FileSelector(f"{path}/{kind}", allow_not_found=True))
        for kind in ("_delta_log", "metadata")
    }
    if logs["_delta_log"]:
        return Lake(address, "a Delta Lake table", _delta(address))
    written = [info.path for info in logs["metadata"] if info.path.endswith(".metadata.json")]
    if written:
        return Lake(address, "an Iceberg table", _iceberg(filesystem, path, address, written))
    return None


@dataclass(frozen=True)
class Lake:
    """A table of a lake, opened by the library that knows its log."""

    label: str
    kind: str
    table: Any

    @property
    def names(self) -> Sequence[str]:
        """Its columns."""
        with _faults(self.label, self.kind):
            if self.kind == "an Iceberg table":
                return list(self.table.schema().column_names)
            return [part.name for part in self.table.schema().fields]

    def load(self, names: Sequence[str], ids: Collection[str]) -> pa.Table:
        """Read columns of those rows that the log says are there."""
        with _faults(self.label, self.kind):
            if self.kind == "an Iceberg table":
                found = self.table.scan(selected_fields=tuple(names)).to_arrow()
            else:
                found = self.table.to_pyarrow_table(columns=list(names))
            return pa.table({name: found.column(name) for name in names})


def _delta(address: str) -> Any:
    try:
        import deltalake
    except ImportError as fault:
        raise lacking(address, "a Delta Lake table", "deltalake", "delta") from fault
    with _faults(address, "a Delta Lake table"):
        return deltalake.DeltaTable(str(Path(address)) if "://" not in address else address)


def _iceberg(filesystem: pafs.FileSystem, path: str, address: str, written: Sequence[str]) -> Any:
    """The table as its newest metadata describe it."""
    try:
        from pyiceberg.table import StaticTable
    except ImportError as fault:
        raise lacking(address, "an Iceberg table", "pyiceberg", "iceberg") from fault
    with _faults(address, "an Iceberg table"):
        updated = {}
        for name in written:
            with filesystem.open_input_stream(name) as stream:
                updated[name] = int(json.loads(stream.read())["last-updated-ms"])
        newest = max(written, key=lambda name: (updated[name], name))
        inner = newest.removeprefix(path)
        return StaticTable.from_metadata(address.rstrip("/") + inner)


@contextmanager
def _faults(label: str, kind: str) -> Iterator[None]:
    try:
        yield
    except InputError:
        raise
    except Exception as fault:  # each library has errors of its own
        raise InputError(
            f"{label} is {kind} and cannot be read ({first_line(fault)})",
            "a whole table, whose files are where its log says",
            "repair it, or export it to Parquet and name that",
        ) from fault
