"""The page of one or several tags, added or subtracted: items sorted by them, and similar tags."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from recsys.base.errors import InputError, RecsysError
from recsys.gallery.cards import PageContext, Section, TagLink
from recsys.gallery.formatting import counted
from recsys.recommend.queries.feature_lookup import FeatureLookup
from recsys.recommend.queries.filters import Filters
from recsys.recommend.queries.tag_similarity import vocabulary

LISTED, NEIGHBOURS = 24, 16
MOST_TAGS = 12


@dataclass(frozen=True)
class TagPage:
    """What the page shows; `turned` has links that reverse a tag, `without` that remove it."""

    plus: list[TagLink]
    minus: list[TagLink]
    without: dict[str, str]
    turned: dict[str, str]
    every: bool
    other_every: str
    items: Section
    having: int
    carriers: int
    neighbours: list[TagLink]
    subtract: dict[str, str]
    fault: str
    pick: str
    title: str


def tag_page(
    context: PageContext, plus: list[str], minus: list[str], every: bool = False
) -> TagPage:
    """Sort items by the sum of the tags in `plus` less those in `minus`.

    Raises
    ------
    NotFoundError
        If a tag is unknown.
    InputError
        If there is no tag, there are too many, or the model has no features.
    """
    source, links = context.opened.source, context.links
    side, words = vocabulary(source)
    plus, minus = _distinct(words, plus, minus)
    weights: dict[str, float] = {**dict.fromkeys(plus, 1.0), **dict.fromkeys(minus, -1.0)}
    filters = Filters(include_untrained=None if every else False)
    part = context.section(
        lambda: context.opened.recommender.items_for_tag(weights, LISTED, filters)
    )
    wanted = np.array([words.find(tag) for tag in plus], np.int32)
    marked = [replace(card, lacks=not _has(context, card.id, wanted)) for card in part.rows]
    part = replace(part, rows=[replace(card, reason="") for card in marked])
    neighbours, fault = _neighbours(context, [*plus, *minus], plus, minus, every)
    return TagPage(
        plus=context.tags([words.find(tag) for tag in plus]),
        minus=context.tags([words.find(tag) for tag in minus]),
        without={
            tag: links.tag(
                [t for t in plus if t != tag], [t for t in minus if t != tag], every=every
            )
            for tag in weights
        },
        turned={tag: links.tag(*_turned(plus, minus, tag), every=every) for tag in weights},
        every=every,
        other_every=links.tag(plus, minus, every=not every),
        items=part,
        having=sum(not card.lacks for card in part.rows),
        carriers=int(side.vocabulary.support[wanted[0]]) if len(wanted) == 1 and not minus else 0,
        neighbours=neighbours,
        subtract={chip.id: links.tag(plus, [*minus, chip.id], every=every) for chip in neighbours},
        fault=fault,
        pick=links.tag(plus, minus, every=every),
        title=" ".join(
            [f"{'+ ' if i else ''}{tag}" for i, tag in enumerate(words.values(wanted))]
            + [f"\u2212 {words.values(np.array([words.find(tag)]))[0]}" for tag in minus]
        ),
    )


def _distinct(
    words: FeatureLookup, plus: list[str], minus: list[str]
) -> tuple[list[str], list[str]]:
    """Full names of the tags, each once; a tag on both sides is added."""
    if not plus and not minus:
        raise InputError("no tag", "at least one", "search for one")
    if len(plus) + len(minus) > MOST_TAGS:
        raise InputError(
            counted(len(plus) + len(minus), "tag"), f"at most {MOST_TAGS}", "remove some"
        )
    added = list(dict.fromkeys(words.names([words.find(tag)])[0] for tag in plus))
    taken = list(dict.fromkeys(words.names([words.find(tag)])[0] for tag in minus))
    return added, [tag for tag in taken if tag not in added]


def _turned(plus: list[str], minus: list[str], tag: str) -> tuple[list[str], list[str]]:
    if tag in plus:
        return [other for other in plus if other != tag], [*minus, tag]
    return [*plus, tag], [other for other in minus if other != tag]


def _has(context: PageContext, item: str, wanted: np.ndarray) -> bool:
    """Whether an item has all of the tags."""
    source = context.opened.source
    return bool(np.isin(wanted, source.features_of(source.bundle.items.index(item))).all())


def _neighbours(
    context: PageContext, known: list[str], plus: list[str], minus: list[str], every: bool
) -> tuple[list[TagLink], str]:
    """Tags similar to the first one, each with a link that adds it."""
    try:
        found = context.opened.recommender.similar_tags(known[0], NEIGHBOURS, exclude=known)
    except RecsysError as fault:
        return [], str(fault)
    return context.tags_of(
        found, lambda tag: context.links.tag([*plus, tag], minus, every=every)
    ), ""
