"""The page that compares two versions: metrics, how far their lists differ, and single answers."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from recsys.base.errors import RecsysError
from recsys.evaluation.churn import measure_churn
from recsys.evaluation.metric_names import METRICS
from recsys.gallery.cards import Card, PageContext, TagLink, mark_differences
from recsys.gallery.formatting import tidy
from recsys.gallery.opened_models import OpenedModel
from recsys.recommend.queries.answers import Answer
from recsys.recommend.queries.filters import Filters
from recsys.recommend.recommender import Recommender

LISTED = 10
_USERS = 150  # whose lists are compared; more would keep the page waiting
_KEPT = 8


@dataclass(frozen=True)
class Figure:
    """One row of the table: both values as text, and which is significantly larger.

    Parameters
    ----------
    name, a, b : str
    better : {"a", "b", ""}
        Only if the intervals do not overlap.
    """

    name: str
    a: str
    b: str
    better: str = ""


@dataclass(frozen=True)
class Column:
    """One version's answer.

    Parameters
    ----------
    number : str
    cards : list of Card
    chips : list of TagLink
        Tags suggested for an item.
    fault : str
    """

    number: str
    cards: list[Card] = field(default_factory=list)
    chips: list[TagLink] = field(default_factory=list)
    fault: str = ""


@dataclass(frozen=True)
class Comparison:
    """Both versions' answers about one item, user or tag."""

    kind: str
    subject: str
    title: str
    a: Column
    b: Column
    same: int
    of: int


class ListDifferences:
    """How far the lists of two bundles differ, computed once for each pair."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: OrderedDict[tuple[str, str], dict[str, Any]] = OrderedDict()

    def between(self, a: OpenedModel, b: OpenedModel) -> dict[str, Any]:
        """The report of `recsys.evaluation.churn.measure_churn`, for evenly spaced users."""
        key = a.digest, b.digest
        with self._lock:
            if key not in self._known:
                report = measure_churn(
                    a.recommender.bundle, b.recommender.bundle, n=LISTED, most=6, users=_USERS
                )
                self._known[key] = report.as_dict()
                while len(self._known) > _KEPT:
                    self._known.popitem(last=False)
            return self._known[key]


def figures(a: OpenedModel, b: OpenedModel) -> list[Figure]:
    """Compare metrics; each version was measured on the holdout of its own run."""
    of_a, of_b = (dict(side.recommender.manifest.get("metrics", {})) for side in (a, b))
    rows = [
        Figure(
            metric.label,
            _estimate(of_a.get(metric.name)),
            _estimate(of_b.get(metric.name)),
            _better(of_a, of_b, metric.name),
        )
        for metric in METRICS
        if metric.name in of_a or metric.name in of_b
    ]
    for title, name in (("users", "users"), ("items", "items"), ("likes", "interactions")):
        counts = [side.recommender.manifest.get("counts", {}).get(name) for side in (a, b)]
        shown = ["" if value is None else f"{value:,}" for value in counts]
        rows.append(Figure(title, shown[0], shown[1]))
    return rows


def _estimate(entry: Any) -> str:
    if not entry:
        return ""
    text = f"{entry['mean']:.4f}"
    if entry.get("low") is not None:
        text += f" ({entry['low']:.4f} to {entry['high']:.4f})"
    return text


def _better(a: dict[str, Any], b: dict[str, Any], name: str) -> str:
    one, other = a.get(name), b.get(name)
    if not one or not other or one.get("low") is None or other.get("low") is None:
        return ""
    if one["low"] > other["high"]:
        return "a"
    return "b" if other["low"] > one["high"] else ""


def compare(a: PageContext, b: PageContext, kind: str, subject: str) -> Comparison:
    """Ask both versions about an item, a user or a tag, and mark the differences.

    Parameters
    ----------
    a, b : PageContext
    kind : {"item", "user", "tag"}
    subject : str
        An id.
    """
    left, right = _column(a, kind, subject), _column(b, kind, subject)
    if not left.fault and not right.fault:
        cards = mark_differences(left.cards, right.cards)
        left, right = replace(left, cards=cards[0]), replace(right, cards=cards[1])
        mine, theirs = ({chip.id for chip in side.chips} for side in (left, right))
        left = replace(left, chips=[_marked(chip, theirs, "gone") for chip in left.chips])
        right = replace(right, chips=[_marked(chip, mine, "new") for chip in right.chips])
    same = {card.id for card in left.cards} & {card.id for card in right.cards}
    title = next((name for context in (a, b) if (name := _title(context, kind, subject))), subject)
    return Comparison(kind, subject, title, left, right, len(same), LISTED)


def _marked(chip: TagLink, others: set[str], mark: str) -> TagLink:
    return replace(chip, hint="" if chip.id in others else mark)


def _column(context: PageContext, kind: str, subject: str) -> Column:
    model, number = context.opened.recommender, context.opened.number
    try:
        found = _questions(model)[kind](subject)
        chips = (
            context.tags_of(model.suggest_tags(subject, 8))
            if kind == "item" and _knows(context)
            else []
        )
    except RecsysError as fault:
        return Column(number, fault=str(fault))
    return Column(number, context.cards(found.rows), chips)


def _knows(context: PageContext) -> bool:
    return context.opened.source.item_lookup is not None


def _questions(model: Recommender) -> dict[str, Callable[[str], Answer]]:
    trained = Filters(include_untrained=False)
    return {
        "item": lambda item: model.similar_items(item, LISTED, trained),
        "user": lambda user: model.recommend(user, LISTED),
        "tag": lambda tag: model.items_for_tag(tag, LISTED, trained),
    }


def _title(context: PageContext, kind: str, subject: str) -> str:
    model = context.opened.recommender
    if kind == "item" and subject in model.items:
        return tidy(model.name(model.items.index(subject)))
    return tidy(subject) if kind != "item" else ""
