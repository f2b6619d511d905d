"""The page of an item: tags and suggested tags, similar items, and users who would like it."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from recsys.base.errors import RecsysError
from recsys.gallery.cards import Card, PageContext, Section, TagLink, UserLink, mark_differences
from recsys.recommend.queries.filters import Filters
from recsys.recommend.queries.subjects import known_item
from recsys.recommend.queries.tag_similarity import vocabulary

LISTED, SUGGESTED, PEOPLE = 12, 12, 10
_CHANGED = 8

Described = dict[str, Any]
"""How a query describes the item: by its id, or by its tags alone."""


@dataclass(frozen=True)
class Change:
    """The effect of one more tag on an item that is described by its tags alone.

    Parameters
    ----------
    tag : TagLink
    without : str
        The page without it.
    before, after : list of Card
        Similar items, differences marked.
    joined, left : list of str
        Users who would come into the audience, and who would leave it.
    entered : int
        How many of the similar items are new.
    fault : str
    """

    tag: TagLink
    without: str
    before: list[Card] = field(default_factory=list)
    after: list[Card] = field(default_factory=list)
    joined: list[UserLink] = field(default_factory=list)
    left: list[UserLink] = field(default_factory=list)
    entered: int = 0
    fault: str = ""


@dataclass(frozen=True)
class ItemPage:
    """What the page of an item shows."""

    card: Card
    full_name: str
    likes: int
    trained: bool
    share: float
    tags: list[TagLink]
    new: bool
    every: bool
    as_is: str
    as_new: str
    other_every: str
    similar: Section
    suggested: list[TagLink]
    suggested_fault: str
    audience: list[UserLink]
    audience_fault: str
    hits: int | None
    change: Change | None


def item_page(
    context: PageContext, item: str, new: bool = False, every: bool = False, add: str | None = None
) -> ItemPage:
    """Collect what the page of an item shows.

    Parameters
    ----------
    context : PageContext
    item : str
        An id.
    new : bool
        Describe it by its tags alone, as if nobody had liked it.
    every : bool
        List items that are known by their tags alone as well.
    add : str or None
        A tag to try on the item.

    Raises
    ------
    NotFoundError
        If the item, or the tag to be tried, is unknown.
    """
    source, recommender = context.opened.source, context.opened.recommender
    subject = known_item(source, item)
    assert subject.index is not None
    index, bundle = subject.index, source.bundle
    tags = source.item_lookup.names(subject.features) if source.item_lookup else []
    change = _change(context, item, tags, add, every) if add is not None else None
    new = new or change is not None
    filters = Filters(exclude=[item] if new else [], include_untrained=None if every else False)
    described: Described = {"features": tags} if new else {"item": item}
    suggested, suggested_fault = _suggested(context, item, described, every)
    audience, audience_fault = _audience(context, described)
    if new:
        audience = _mark_likers(context, index, audience)
    similar = context.section(
        lambda: recommender.similar_items(n=LISTED, filters=filters, **described)
    )
    side = bundle.item_features
    return ItemPage(
        card=context.items(np.array([index]))[0],
        full_name=source.names(np.array([index]))[0],
        likes=int(source.likes[index]),
        trained=index < bundle.trained,
        share=float(side.share[index]) if side is not None else 0.0,
        tags=context.tags(subject.features.tolist()),
        new=new,
        every=every,
        as_is=context.links.item(item, every=every),
        as_new=context.links.item(item, new=True, every=every),
        other_every=context.links.item(item, new=new, every=not every, add=add),
        similar=similar,
        suggested=suggested,
        suggested_fault=suggested_fault,
        audience=audience,
        audience_fault=audience_fault,
        hits=sum(bool(person.mark) for person in audience) if index < bundle.trained else None,
        change=change,
    )


def _suggested(
    context: PageContext, item: str, described: Described, every: bool
) -> tuple[list[TagLink], str]:
    """Suggested tags, each with a link that tries it; or why there are none."""
    try:
        found = context.opened.recommender.suggest_tags(n=SUGGESTED, **described)
    except RecsysError as fault:
        return [], str(fault)
    return context.tags_of(found, lambda tag: context.links.item(item, add=tag, every=every)), ""


def _audience(context: PageContext, described: Described) -> tuple[list[UserLink], str]:
    try:
        return context.users(context.opened.recommender.audience(n=PEOPLE, **described).rows), ""
    except RecsysError as fault:
        return [], str(fault)


def _mark_likers(context: PageContext, index: int, audience: list[UserLink]) -> list[UserLink]:
    """Mark the users who like the item; they are in the list if the item is taken for new."""
    users = context.opened.recommender.users
    likers = set(context.opened.source.likers_of(index).tolist())
    return [
        replace(person, mark="likes it") if users.index(person.id) in likers else person
        for person in audience
    ]


def _change(context: PageContext, item: str, tags: list[str], add: str, every: bool) -> Change:
    _, words = vocabulary(context.opened.source)
    recommender, place = context.opened.recommender, words.find(add)
    name, chip = words.names([place])[0], context.tags([place])[0]
    without = context.links.item(item, new=True, every=every)
    filters = Filters(exclude=[item], include_untrained=None if every else False)
    try:
        lists: list[list[Card]] = []
        people: list[list[UserLink]] = []
        for features in (tags, [*tags, name]):
            if not features:
                lists.append([])
                people.append([])
                continue
            found = recommender.similar_items(n=_CHANGED, filters=filters, features=features)
            lists.append(context.cards(found.rows))
            audience = recommender.audience(n=4 * PEOPLE, features=features)
            people.append(context.users(audience.rows))
    except RecsysError as fault:
        return Change(chip, without, fault=str(fault))
    before, after = mark_differences(*lists)
    sets = [{person.id for person in part} for part in people]
    return Change(
        chip,
        without,
        before,
        after,
        joined=[person for person in people[1] if person.id not in sets[0]][:PEOPLE],
        left=[person for person in people[0] if person.id not in sets[1]][:PEOPLE],
        entered=sum(card.mark == "new" for card in after),
    )
