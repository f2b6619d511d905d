"""Wording: counts and short lists as answers and messages say them."""

from __future__ import annotations

from collections.abc import Iterable

_NAMED = 5  # unknown names in a note, at most


def listed(what: str, count: int) -> str:
    """`1 tag`, `2 tags`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"


def shortened(names: Iterable[str], count: int) -> str:
    """The first few of so many names."""
    first = list(names)[:_NAMED]
    more = count - len(first)
    return ", ".join(first) + (f" and {more:,} more" if more > 0 else "")
