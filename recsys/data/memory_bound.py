"""Memory bound: whether interactions are prepared in memory or on disk, a part at a time."""

from __future__ import annotations

from recsys.base.memory import available

# Bytes that an interaction takes at most: all of them in memory, or one of a part
# (docs/growing.md has what was measured).
_IN_MEMORY, _OF_A_PART = 150, 400
_SHARE = 0.5  # of the machine's memory, where no setting says how much
_MOST = 1 << 22  # rows of a part, beyond which a larger one is no faster


def rows_of_a_part(interactions: int, memory: int | None) -> int | None:
    """How many interactions to hold in memory at a time; None for all of them.

    Parameters
    ----------
    interactions : int
        How many there are, or about so many.
    memory : int or None
        The bytes that may be used; None for half of the machine's memory.
    """
    allowed = int(available() * _SHARE) if memory is None else memory
    if interactions * _IN_MEMORY <= allowed:
        return None
    return min(max(allowed // _OF_A_PART, 1), _MOST)
