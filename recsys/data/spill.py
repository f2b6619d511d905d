"""Spill: arrays of one length that are kept on disk and read back a part at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

import numpy as np
from numpy.typing import DTypeLike

from recsys.base.arrays import AnyArray, Int64Array


class Spill:
    """Columns on disk, plain numbers of each in a file of its own.

    Parameters
    ----------
    folder : Path
        Exists, and has no other spill of these names in it.
    kinds : mapping of str to dtype
        The columns.
    """

    def __init__(self, folder: Path, kinds: Mapping[str, DTypeLike]) -> None:
        self._kinds = {name: np.dtype(kind) for name, kind in kinds.items()}
        self._paths = {name: folder / f"{name}.bin" for name in kinds}
        self._rows = 0
        for path in self._paths.values():
            path.touch(exist_ok=False)

    def __len__(self) -> int:
        return self._rows

    def append(self, *columns: AnyArray) -> None:
        """Add rows: one array for each column, in their order."""
        for (name, kind), values in zip(self._kinds.items(), columns, strict=True):
            with self._paths[name].open("ab") as file:
                values.astype(kind, copy=False).tofile(file)
        self._rows += len(columns[0])

    def parts(self, rows: int) -> Iterator[list[AnyArray]]:
        """The columns of so many rows at a time."""
        files: list[BinaryIO] = []
        try:
            files += [path.open("rb") for path in self._paths.values()]
            for start in range(0, self._rows, rows):
                count = min(rows, self._rows - start)
                kinds = self._kinds.values()
                yield [
                    np.fromfile(file, kind, count) for file, kind in zip(files, kinds, strict=True)
                ]
        finally:
            for file in files:
                file.close()

    def remove(self) -> None:
        """Delete the files."""
        for path in self._paths.values():
            path.unlink()


class Buckets:
    """Rows on disk, put in order roughly: all of a bucket come before those of the next one.

    Parameters
    ----------
    folder : Path
        Exists and is empty.
    counts : int (n_groups,)
        Rows of each group (a user, say); groups stay together, in ascending order.
    rows : int
        Bound of the rows of a bucket, unless a group alone has more.
    """

    def __init__(self, folder: Path, counts: Int64Array, rows: int) -> None:
        self._folder = folder
        self._bucket = _filled(counts, rows)
        self._width = 1
        self._number = int(self._bucket[-1]) + 1 if len(counts) else 0

    def append(self, group: AnyArray, *columns: Int64Array) -> None:
        """Add rows: the group of each, and one number or several, the same for all rows."""
        bucket, self._width = self._bucket[group], len(columns)
        # Sorting small numbers stably is a radix sort.
        order = np.argsort(
            bucket.astype(np.uint16) if self._number < 2**16 else bucket, kind="stable"
        )
        ends = np.cumsum(np.bincount(bucket, minlength=self._number))
        values, start = np.stack(columns, axis=1)[order], 0
        for number, end in enumerate(ends.tolist()):
            if end > start:
                with self._path(number).open("ab") as file:
                    values[start:end].tofile(file)
            start = end

    def take(self) -> Iterator[list[Int64Array]]:
        """The columns of each bucket, which is deleted."""
        for number in range(self._number):
            path = self._path(number)
            if path.exists():
                values = np.fromfile(path, np.int64).reshape(-1, self._width)
                yield list(np.ascontiguousarray(values.T))
                path.unlink()

    def _path(self, number: int) -> Path:
        return self._folder / f"{number}.bin"


def _filled(counts: Int64Array, rows: int) -> Int64Array:
    """The bucket of each group, when buckets are filled one after the other: int64 (n_groups,)."""
    ends = np.cumsum(counts)
    starts, bucket = ends - counts, np.empty(len(counts), np.int64)
    begin = number = 0
    while begin < len(counts):
        end = int(np.searchsorted(ends, starts[begin] + rows, side="right"))
        end = max(end, begin + 1)
        bucket[begin:end] = number
        begin, number = end, number + 1
    return bucket


def user_aligned(
    parts: Iterator[Sequence[AnyArray]],
) -> Iterator[list[AnyArray]]:
    """Parts of columns sorted by the first one, cut where its value changes.

    Parameters
    ----------
    parts : iterator of sequences of arrays
        Columns of some rows each, the first one ascending over all parts.
    """
    held: list[list[AnyArray]] = []  # of one value of the first column, perhaps to be continued
    for part in parts:
        if not len(part[0]):
            continue
        cut = int(np.searchsorted(part[0], part[0][-1]))
        head, tail = [c[:cut] for c in part], [c[cut:] for c in part]
        if held and cut == 0 and held[-1][0][-1] == tail[0][0]:
            held.append(tail)
            continue
        if held or cut:
            yield [np.concatenate(columns) for columns in zip(*held, head, strict=True)]
        held = [tail]
    if held:
        yield [np.concatenate(columns) for columns in zip(*held, strict=True)]
