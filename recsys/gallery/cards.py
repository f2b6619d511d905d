"""Items, tags and users as pages show them: cards with pictures, links to tags and to users."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from recsys.base.arrays import IntArray
from recsys.base.errors import RecsysError
from recsys.gallery.formatting import counted, feature_parts, tidy
from recsys.gallery.links import Links
from recsys.gallery.opened_models import OpenedModel
from recsys.gallery.pictures import Pictures
from recsys.gallery.placeholders import Dot
from recsys.recommend.queries.answers import Answer, Ranked
from recsys.recommend.recommender import Recommender


@dataclass(frozen=True)
class Card:
    """An item on a page.

    Parameters
    ----------
    id, name, href : str
    hue : int
        Of its category.
    category : str
    dots : tuple of Dot
        The drawing that stands in for a picture.
    picture : str or None
        The address of its picture.
    score : float or None
    reason : str
    mark : str
        How it differs from another list: "new", "gone", "up 2", "down 1", or "".
    lacks : bool
        Whether it does not have the tag that was asked for.
    """

    id: str
    name: str
    href: str
    hue: int
    category: str
    dots: tuple[Dot, ...]
    picture: str | None
    score: float | None = None
    reason: str = ""
    mark: str = ""
    lacks: bool = False


@dataclass(frozen=True)
class TagLink:
    """A tag on a page, which leads to the tag's own page.

    Parameters
    ----------
    id, kind, value, href : str
    hint : str
        A short remark, such as how many items have it.
    extra : str
        A second link, such as to the same page with the tag added; "" for none.
    """

    id: str
    kind: str
    value: str
    href: str
    hint: str = ""
    extra: str = ""


@dataclass(frozen=True)
class UserLink:
    """A user on a page, who leads to the user's own page.

    Parameters
    ----------
    id, href, reason, mark : str
    """

    id: str
    href: str
    reason: str = ""
    mark: str = ""


@dataclass(frozen=True)
class Section:
    """A section of a page: what was found with notes about it, or why there is nothing.

    Parameters
    ----------
    rows : list of Card
    notes : tuple of str
    fault : str
        Why there are no rows; "" if nothing failed.
    """

    rows: list[Card] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True)
class RulesNote:
    """What a list of a user has to do with house rules.

    Parameters
    ----------
    followed : bool
        Whether the list is the one that rules make.
    described : str
        The rules; "" if there are none, of which nothing is said.
    other : str
        The address of the other list, the model's own or the one that rules make.
    """

    followed: bool
    described: str
    other: str


@dataclass(frozen=True)
class PageContext:
    """What a page is made from: a model version, the links to other pages, and the pictures.

    Parameters
    ----------
    opened : OpenedModel
    links : Links
    pictures : Pictures
    """

    opened: OpenedModel
    links: Links
    pictures: Pictures

    def items(
        self, items: IntArray, href: Callable[[str], str] | None = None, hint: bool = True
    ) -> list[Card]:
        """Make cards of items given by index, with their numbers of likes."""
        items = np.asarray(items, np.int64)
        ids, names = self.opened.source.ids_and_names(items)
        colours, likes = self.opened.colours, self.opened.source.likes
        return [
            Card(
                external,
                tidy(name),
                (href or self.links.item)(external),
                int(colours.hues[item]),
                colours.label(item),
                dots,
                self.pictures.of(external, self.links),
                reason=counted(int(likes[item]), "like") if hint else "",
            )
            for item, external, name, dots in zip(
                items.tolist(), ids, names, self.opened.placeholders.dots(items), strict=True
            )
        ]

    def cards(self, rows: Sequence[Ranked], href: Callable[[str], str] | None = None) -> list[Card]:
        """Make cards of an answer's rows, with scores and reasons."""
        places = self.opened.recommender.items.indices([row.id for row in rows])
        made = self.items(places, href, hint=False)
        return [
            replace(card, score=row.score, reason=tidy(row.reason))
            for card, row in zip(made, rows, strict=True)
        ]

    def lists(self, own: bool) -> Recommender:
        """Who makes lists of users: the model alone, or with house rules."""
        return self.opened.recommender if own else self.opened.ruled

    def rules_note(self, own: bool, other: str) -> RulesNote:
        """What is said of a list, and the address of the other one."""
        described = self.opened.rules.described
        return RulesNote(bool(described) and not own, described, other)

    def section(
        self, ask: Callable[[], Answer], href: Callable[[str], str] | None = None
    ) -> Section:
        """Ask a question and make cards of the answer, or say why it cannot be answered."""
        try:
            found = ask()
        except RecsysError as fault:
            return Section(fault=str(fault))
        return Section(self.cards(found.rows, href), found.notes)

    def users(self, rows: Sequence[Ranked]) -> list[UserLink]:
        """Make links to the users of an answer."""
        return [UserLink(row.id, self.links.user(row.id), tidy(row.reason, 80)) for row in rows]

    def tags_of(
        self, rows: Sequence[Ranked], extra: Callable[[str], str] | None = None
    ) -> list[TagLink]:
        """Make links to the tags of an answer."""
        words = self.opened.source.item_lookup
        assert words is not None
        return self.tags([words.find(row.id) for row in rows], [row.reason for row in rows], extra)

    def tags(
        self,
        features: Sequence[int],
        hints: Sequence[str] | None = None,
        extra: Callable[[str], str] | None = None,
    ) -> list[TagLink]:
        """Make links to features given by their index in the vocabulary."""
        words = self.opened.source.item_lookup
        if words is None or not len(features):
            return []
        support = words.vocabulary.support
        kinds = words.vocabulary.types
        made = []
        for place, (feature, name) in enumerate(zip(features, words.names(features), strict=True)):
            hint = hints[place] if hints else f"on {counted(int(support[feature]), 'item')}"
            kind, value = feature_parts(name, str(kinds[int(feature)].as_py()))
            second = extra(name) if extra else ""
            made.append(
                TagLink(name, tidy(kind, 30), tidy(value, 60), self.links.tag([name]), hint, second)
            )
        return made


def mark_differences(
    before: Sequence[Card], after: Sequence[Card]
) -> tuple[list[Card], list[Card]]:
    """Mark the differences between two lists.

    Returns
    -------
    before, after : list of Card
        Items that are gone are marked in the first; new and moved ones in the second.
    """
    old = {card.id: place for place, card in enumerate(before)}
    new = {card.id for card in after}
    left = [card if card.id in new else replace(card, mark="gone") for card in before]
    right = [replace(card, mark=_moved(old.get(card.id), i)) for i, card in enumerate(after)]
    return left, right


def _moved(before: int | None, after: int) -> str:
    if before is None:
        return "new"
    return "" if before == after else f"{'up' if after < before else 'down'} {abs(before - after)}"
