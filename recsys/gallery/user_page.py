"""The page of a user: liked items, recommendations, and the parts of each score."""

from __future__ import annotations

from dataclasses import dataclass

from recsys.gallery.cards import Card, PageContext, RulesNote
from recsys.gallery.formatting import tidy
from recsys.recommend.queries.explanation import Explanation

LIKED, RECOMMENDED, NEAREST = 24, 12, 3


@dataclass(frozen=True)
class Bar:
    """One part of a score as a bar that begins at `start`, in hundredths of the drawing.

    Parameters
    ----------
    kind : {"taste", "likes", "item", "tags", "user"}
        User vector times the item's own vector; likes whose neighbour the item is; item bias;
        tags of the item; user bias.
    value : float
    start, width : float
    """

    kind: str
    value: float
    start: float
    width: float


@dataclass(frozen=True)
class Why:
    """A recommended item and the reasons for it.

    Parameters
    ----------
    card : Card
    score : float
    bars : tuple of Bar
        Their values add up to the score.
    zero : float
        The position of zero, in hundredths.
    tags : tuple of (str, float)
        Tags that contribute to the score, largest part first.
    nearest : list of (Card, float)
        The most similar liked items and their cosines.
    """

    card: Card
    score: float
    bars: tuple[Bar, ...]
    zero: float
    tags: tuple[tuple[str, float], ...]
    nearest: list[tuple[Card, float]]


@dataclass(frozen=True)
class UserPage:
    """What the page of a user shows."""

    id: str
    likes: int
    liked: list[Card]
    recommended: list[Why]
    notes: tuple[str, ...]
    as_new: str
    rules: RulesNote


def user_page(context: PageContext, user: str, own: bool = False) -> UserPage:
    """Collect what the page of a user shows.

    Parameters
    ----------
    context : PageContext
    user : str
        An id.
    own : bool
        Whether the list is the model's own, and not the one that house rules make.

    Raises
    ------
    NotFoundError
        If the user is unknown.
    """
    recommender, source = context.opened.recommender, context.opened.source
    index = recommender.users.index(user)
    everything = source.bundle.seen.of(index)
    note = context.rules_note(own, context.links.user(user, own=not own))
    found = context.lists(own).recommend(user, RECOMMENDED)
    reasons = recommender.explain_many([(user, row.id) for row in found], NEAREST)
    scale = _scale(reasons)
    near = {row.id for reason in reasons for row in reason.nearest}
    cards = {card.id: card for card in context.items(recommender.items.indices(sorted(near)))}
    liked = recommender.liked(user)[:LIKED]
    return UserPage(
        user,
        len(everything),
        context.items(recommender.items.indices([row.id for row in liked])),
        [
            _why(card, reason, cards, scale)
            for card, reason in zip(context.cards(found.rows), reasons, strict=True)
        ],
        found.notes,
        context.links.new([row.id for row in liked][:12], own=own),
        note,
    )


def parts_of(reason: Explanation) -> dict[str, float]:
    """Split a score into parts that add up to it."""
    parts = {"taste": 0.0, "item": 0.0, "tags": 0.0, "user": 0.0}
    for part in reason.parts:
        if part.kind == "like":
            parts["likes"] = parts.get("likes", 0.0) + part.value
        elif part.kind == "user":
            parts["user"] += part.value
        elif part.kind == "item":
            parts["taste"] += part.vector
            parts["item"] += part.bias
        else:
            parts["tags"] += part.value
    return parts


def _scale(reasons: list[Explanation]) -> tuple[float, float]:
    """The ends of the drawing: the smallest sum of negative parts, the largest of positive ones."""
    sums = [list(parts_of(reason).values()) for reason in reasons] or [[0.0]]
    low = min(sum(value for value in values if value < 0) for values in sums)
    high = max(sum(value for value in values if value > 0) for values in sums)
    return low, max(high, low + 1e-6)


def _why(
    card: Card, reason: Explanation, cards: dict[str, Card], scale: tuple[float, float]
) -> Why:
    low, high = scale

    def place(value: float) -> float:
        return round(100 * (value - low) / (high - low), 2)

    bars = []
    ends = {
        True: 0.0,
        False: 0.0,
    }  # positive parts are drawn to the right of zero, negative ones to the left
    for kind, value in parts_of(reason).items():
        start = ends[value >= 0]
        ends[value >= 0] = start + value
        left, right = sorted((start, start + value))
        bars.append(Bar(kind, value, place(left), round(place(right) - place(left), 2)))
    tags = [(tidy(part.id, 60), part.value) for part in reason.parts if part.kind == "feature"]
    return Why(
        card,
        reason.score,
        tuple(bars),
        place(0.0),
        tuple((name, value) for name, value in tags if abs(value) >= 0.005),
        [(cards[row.id], row.score) for row in reason.nearest],
    )
