"""Columnar sources: what databases and lakes have in common, columns read by their names."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

import pyarrow as pa

from recsys.base.errors import InputError


class Columnar(Protocol):
    """A table that gives some of its columns."""

    @property
    def label(self) -> str:
        """Its name in messages."""

    @property
    def names(self) -> Sequence[str]:
        """Its columns."""

    def load(self, names: Sequence[str], ids: Collection[str]) -> pa.Table:
        """Read columns; text of `ids` may be dictionary-encoded."""


def lacking(label: str, what: str, package: str, extra: str) -> InputError:
    """The error for a source whose reader is not installed."""
    return InputError(
        f"{label} is {what}, and {package} is not installed",
        f"the extra {extra}",
        f"pip install 'liked-this[{extra}]', or export it as Parquet or text",
    )
