"""Interleaving: two lists merged into one, so that a click on an item speaks for its list.

Team draft, of F. Radlinski, M. Kurup and T. Joachims, "How does clickthrough data reflect retrieval
quality?", CIKM 2008.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from recsys.online.arms import SIDES, Side


def team_draft(
    champion: Sequence[str], challenger: Sequence[str], n: int, coin: Callable[[int], bool]
) -> list[tuple[str, Side | None]]:
    """The first n items of both lists, drafted in turns, each with the list that it counts for.

    In every round both lists add the first of their items that is not there yet; a coin decides
    which goes first. Once one of them has no more, the rest of the other follows and counts for
    neither, as the first could not compete for these places.

    Parameters
    ----------
    champion, challenger : sequence of str
        Ids of items, best first, each at most once in a list.
    n : int
    coin : callable
        Of the number of a round, from 0: whether the challenger goes first.

    Returns
    -------
    list of (str, {"champion", "challenger"} or None)

    Examples
    --------
    >>> team_draft(["a", "b", "c"], ["b", "d"], 4, lambda number: number == 0)
    [('b', 'challenger'), ('a', 'champion'), ('c', 'champion'), ('d', 'challenger')]
    """
    lists = {"champion": list(champion), "challenger": list(challenger)}
    drafted: list[tuple[str, Side | None]] = []
    taken: set[str] = set()

    def first(side: Side) -> str | None:
        waiting = lists[side]
        while waiting and waiting[0] in taken:
            waiting.pop(0)
        return waiting[0] if waiting else None

    number = 0
    while len(drafted) < n and all(first(side) is not None for side in SIDES):
        for side in SIDES[::-1] if coin(number) else SIDES:
            item = first(side)
            if item is not None and len(drafted) < n:
                taken.add(item)
                drafted.append((item, side))
        number += 1
    rest = [item for side in SIDES for item in lists[side] if item not in taken]
    return [*drafted, *((item, None) for item in rest[: n - len(drafted)])]
