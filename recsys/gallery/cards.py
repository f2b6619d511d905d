"""Cards: rows of answers as pages show them, each with its picture or tile, and chips for tags."""

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


@dataclass(frozen=True)
class Card:
    """An item.

    Parameters
    ----------
    id, name, href : str
    hue : int
        Of its category.
    category : str
    dots : tuple of Dot
        Its tile.
    picture : str or None
        The address of its picture.
    score : float or None
    reason : str
    mark : str
        What a comparison says of it: "new", "gone", "up 2", "down 1", or nothing.
    lacks : bool
        Whether it has not the tag that was asked for.
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
    """A tag.

    Parameters
    ----------
    id, kind, value, href : str
    hint : str
        Such as on how many items it is.
    extra : str
        A second link.
    """

    id: str
    kind: str
    value: str
    href: str
    hint: str = ""
    extra: str = ""


@dataclass(frozen=True)
class UserLink:
    """A user.

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
    """A part of a page: what was found, what has to be said of it, or why there is nothing.

    Parameters
    ----------
    rows : list
        Cards, chips or persons.
    notes : tuple of str
    fault : str
        Why there is nothing.
    """

    rows: list[Card] = field(default_factory=list)
    notes: tuple[str, ...] = ()
    fault: str = ""


@dataclass(frozen=True)
class PageContext:
    """Where cards are made, for one version and one kind of links.

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
        """Cards of items of the catalogue, with their likes."""
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
        """Cards of an answer's rows."""
        places = self.opened.recommender.items.indices([row.id for row in rows])
        made = self.items(places, href, hint=False)
        return [
            replace(card, score=row.score, reason=tidy(row.reason))
            for card, row in zip(made, rows, strict=True)
        ]

    def part(self, ask: Callable[[], Answer], href: Callable[[str], str] | None = None) -> Section:
        """The cards of a question, or what keeps it from being answered."""
        try:
            found = ask()
        except RecsysError as fault:
            return Section(fault=str(fault))
        return Section(self.cards(found.rows, href), found.notes)

    def persons(self, rows: Sequence[Ranked]) -> list[UserLink]:
        return [UserLink(row.id, self.links.user(row.id), tidy(row.reason, 80)) for row in rows]

    def chips(
        self, rows: Sequence[Ranked], extra: Callable[[str], str] | None = None
    ) -> list[TagLink]:
        """TagLinks of tags that an answer names."""
        words = self.opened.source.item_lookup
        assert words is not None
        return self.tags([words.find(row.id) for row in rows], [row.reason for row in rows], extra)

    def tags(
        self,
        features: Sequence[int],
        hints: Sequence[str] | None = None,
        extra: Callable[[str], str] | None = None,
    ) -> list[TagLink]:
        """TagLinks of features of the vocabulary."""
        words = self.opened.source.item_lookup
        if words is None or not len(features):
            return []
        support = words.vocabulary.support
        kinds = words.vocabulary.types
        chips = []
        for place, (feature, name) in enumerate(zip(features, words.names(features), strict=True)):
            hint = hints[place] if hints else f"on {counted(int(support[feature]), 'item')}"
            kind, value = feature_parts(name, str(kinds[int(feature)].as_py()))
            second = extra(name) if extra else ""
            chips.append(
                TagLink(name, tidy(kind, 30), tidy(value, 60), self.links.tag([name]), hint, second)
            )
        return chips


def mark_differences(
    before: Sequence[Card], after: Sequence[Card]
) -> tuple[list[Card], list[Card]]:
    """Two lists with their differences marked.

    Returns
    -------
    before, after : list of Card
        What is gone is marked in the first; what is new, or stands elsewhere, in the second.
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
