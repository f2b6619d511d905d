"""The page of a new user, who chooses items and gets recommendations."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.base.errors import InputError
from recsys.gallery.cards import Card, PageContext, RulesNote, Section
from recsys.gallery.formatting import counted

MOST_LIKES = 100
RECOMMENDED, OFFERED = 12, 24
_POOL = (
    240  # every tenth of so many popular items is offered; the most popular say little of a user
)


@dataclass(frozen=True)
class NewUserPage:
    """What the page shows; cards in `liked` remove an item, the others add one."""

    liked: list[Card]
    notes: tuple[str, ...]
    recommended: Section
    offered: list[Card]
    again: str
    pick: str
    ids: list[str]
    share: str
    rules: RulesNote


def new_user_page(context: PageContext, likes: list[str], own: bool = False) -> NewUserPage:
    """Collect recommendations for a new user who likes some items, and items to choose from.

    Unknown items are left out; a note says so. `own` as for `recsys.gallery.user_page.user_page`.

    Raises
    ------
    InputError
        If there are more than `MOST_LIKES`.
    """
    distinct = [item for item in dict.fromkeys(likes) if item]
    if len(distinct) > MOST_LIKES:
        raise InputError(counted(len(distinct), "like"), f"at most {MOST_LIKES}", "remove some")
    recommender, source, links = context.opened.recommender, context.opened.source, context.links
    known = [item for item in distinct if item in recommender.items]
    unknown = [item for item in distinct if item not in recommender.items]
    notes = (f"{counted(len(unknown), 'unknown item')} left out",) if unknown else ()

    def more(item: str) -> str:
        return links.new([*known, item], own=own)

    def fewer(item: str) -> str:
        return links.new([other for other in known if other != item], own=own)

    places = recommender.items.indices(known)
    recommended = Section()
    if known:
        recommended = context.section(
            lambda: context.lists(own).recommend_for(known, RECOMMENDED), more
        )
    shown = {card.id for card in recommended.rows} | set(known)
    popular = np.argsort(-source.likes, kind="stable")[:_POOL]
    offered = [
        card for card in context.items(spread(popular, OFFERED), more) if card.id not in shown
    ]
    return NewUserPage(
        liked=context.items(places, fewer, hint=False),
        notes=notes,
        recommended=recommended,
        offered=offered,
        again=links.new(own=own),
        pick=links.new(known, own=own),
        ids=known,
        share=links.new(known, own=own),
        rules=context.rules_note(own, links.new(known, own=not own)),
    )


def spread(items: np.ndarray, n: int) -> np.ndarray:
    """Choose n items evenly spread over a list."""
    if len(items) <= n:
        return items
    return items[np.linspace(0, len(items) - 1, n).astype(int)]
