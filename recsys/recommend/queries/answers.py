"""Answers: ranked rows with a reason each, and notes about the whole."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, overload


@dataclass(frozen=True)
class Ranked:
    """One row of an answer.

    Parameters
    ----------
    id, name : str
        Of an item, a user or a feature; the name is the id where there is no other.
    score : float
    reason : str
        Why it is there, for a person to read; empty where there is none.
    """

    id: str
    name: str
    score: float
    reason: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The row as plain values."""
        return {"id": self.id, "name": self.name, "score": self.score, "reason": self.reason}


@dataclass(frozen=True)
class Answer(Sequence[Ranked]):
    """Rows, best first, and notes; a sequence of its rows.

    Parameters
    ----------
    rows : tuple of Ranked
    notes : tuple of str
        Sentences that belong to the answer, such as which tags were unknown and ignored, or that
        it goes by popularity.
    """

    rows: tuple[Ranked, ...]
    notes: tuple[str, ...] = ()

    def __len__(self) -> int:
        return len(self.rows)

    @overload
    def __getitem__(self, place: int) -> Ranked: ...

    @overload
    def __getitem__(self, place: slice) -> tuple[Ranked, ...]: ...

    def __getitem__(self, place: int | slice) -> Ranked | tuple[Ranked, ...]:
        return self.rows[place]

    def __iter__(self) -> Iterator[Ranked]:
        return iter(self.rows)

    def with_note(self, note: str) -> Answer:
        """The answer with one note more."""
        return replace(self, notes=(*self.notes, note))

    def as_dicts(self) -> list[dict[str, Any]]:
        """The rows as plain dicts (id, name, score, reason)."""
        return [row.as_dict() for row in self.rows]

    def to_frame(self) -> Any:
        """The rows as a DataFrame (id, name, score, reason); needs pandas, which is not loaded
        before."""
        import pandas as pd

        columns = ["id", "name", "score", "reason"]
        return pd.DataFrame(self.as_dicts(), columns=columns).astype({"score": "float64"})


def complete(found: Answer, n: int) -> Answer:
    """The answer, which says so if there was less to answer than was asked for."""
    if len(found) >= n:
        return found
    left = f"only {len(found):,} of {n:,} asked for" if found else "an empty answer"
    return replace(found, notes=(*found.notes, f"{left}: all else is known or left out"))
