"""Recommended: an answer that can be referred to later, and the versions that its rows are of."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from recsys.recommend.queries.answers import Answer


@dataclass(frozen=True)
class Recommended(Answer):
    """An answer to a recommendation while versions are compared online.

    Parameters
    ----------
    rows, notes
        See `Answer`. The rank of a row is its place, from 1.
    recommendation : str or None
        By which outcomes name the answer; None if it could not be recorded.
    version : str or None
        The version that answers; None if each row has its own.
    versions : tuple of str or None
        Of each row, where lists of two versions are interleaved.
    """

    recommendation: str | None = None
    version: str | None = None
    versions: tuple[str | None, ...] = ()

    def record(self) -> dict[str, Any]:
        """The answer as plain values, with the rank of each row."""
        rows = [{**row, "rank": place} for place, row in enumerate(self.as_dicts(), 1)]
        for row, version in zip(rows, self.versions, strict=False):
            row["version"] = version
        return {
            "rows": rows,
            "notes": self.notes,
            "recommendation": self.recommendation,
            "version": self.version,
        }
