"""Results as tables in the terminal: answers, explanations, the leaderboard, the gate's verdict."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from textwrap import fill
from typing import TYPE_CHECKING, Any

from rich.box import SIMPLE
from rich.markup import escape
from rich.table import Table
from rich.text import Text

from recsys.evaluation.gate import label_of
from recsys.evaluation.metric_names import (
    HEADLINE,
    METRICS,
    MODEL_LABELS,
    answered_text,
    newcomer_rows,
    winner_of,
)

if TYPE_CHECKING:
    from recsys.recommend.queries.answers import Answer
    from recsys.recommend.queries.explanation import Explanation


# What the other columns of a leaderboard take.
_LEADERBOARD_WIDTH = 77
_LABEL = 28  # columns of a condition of the gate, at most


def leaderboard(board: Sequence[Mapping[str, Any]], holdout: str, width: int = 120) -> Table:
    """Compare models on the holdout, best first, with 95 % bootstrap intervals over users.

    Metrics for which a terminal of `width` has no room are left to the report.
    """
    title = f"{holdout} holdout, known likes left out of the ranking, with 95 % intervals"
    winner = winner_of(board)
    table = Table(title=title, title_justify="left", box=SIMPLE)
    table.add_column("", no_wrap=True)
    table.add_column(METRICS[0].label, justify="right", no_wrap=True)
    table.add_column(f"{MODEL_LABELS[winner]} ahead by", justify="right", no_wrap=True)
    others = [metric for metric in METRICS if metric.short and metric.name in board[0]["metrics"]]
    room = width - _LEADERBOARD_WIDTH
    while sum(len(metric.short) + 3 for metric in others) > max(0, room):
        others.pop(0)
    for metric in others:
        table.add_column(metric.short, justify="right", no_wrap=True)
    table.add_column("CPU s", justify="right", no_wrap=True)
    for entry in board:
        metrics = entry["metrics"]
        table.add_row(
            MODEL_LABELS.get(entry["model"], entry["model"]),
            f"{metrics[HEADLINE]['mean']:.4f}  {_span(metrics[HEADLINE])}",
            _ahead(entry["behind_by"]),
            *(f"{metrics[metric.name]['mean']:.4f}" for metric in others),
            f"{entry['seconds']:,.0f}" if "seconds" in entry else "",
        )
    return table


def cold_start(compared: Mapping[str, Any]) -> Table | None:
    """Results for items, users and tags unseen in training; None if none were measured."""
    table = Table(title="unseen in training", title_justify="left", box=SIMPLE, show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    table.add_column("")
    if cold := compared.get("cold"):
        means = {name: entry[HEADLINE]["mean"] for name, entry in cold["models"].items()}
        own = means.pop(compared["winner"])
        others = ", ".join(f"{name} {value:.4f}" for name, value in means.items())
        about = f"precision at 5, {cold['items']:,} cold items ranked by their features"
        table.add_row(about, f"{own:.4f}", others)
    if foldin := compared.get("foldin"):
        about = f"precision at 5, {foldin['users']:,} new users folded in from a few likes"
        trained = f"{foldin['share']:.0%} of trained users' {foldin['trained']:.4f}"
        table.add_row(about, f"{foldin['foldin']:.4f}", trained)
    if asked := compared.get("suggestion"):
        others = f"co-occurrence {asked['co_occurrence']:.4f}, popularity {asked['popularity']:.4f}"
        about = f"recall at 10, one {escape(asked['type'])} hidden from {asked['items']:,} items"
        table.add_row(about, f"{asked['neighbours']:.4f}", others)
    return table if table.row_count else None


def backtest(figures: Mapping[str, Any]) -> tuple[Table, Table]:
    """The pipeline's choice in each fold, and all models over all folds together."""
    title = f"precision at 5 of the {figures['every']} after each cut, with 95 % intervals"
    folds = Table(title=title, title_justify="left", box=SIMPLE)
    for column in ("from", "users", "the choice", "", "best other", ""):
        folds.add_column(column, no_wrap=True)
    for fold in figures["folds"]:
        means = {name: entry[HEADLINE] for name, entry in fold["models"].items()}
        own = means.pop(fold["winner"])
        best = max(means, key=lambda name: means[name]["mean"])
        folds.add_row(
            fold["from"],
            f"{fold['users']:,}",
            MODEL_LABELS[fold["winner"]],
            f"{own['mean']:.4f}  {_span(own)}",
            MODEL_LABELS.get(best, best),
            f"{means[best]['mean']:.4f}",
        )
    together, n_folds = figures["all"], len(figures["folds"])
    models = Table(title="all folds", title_justify="left", box=SIMPLE)
    for column in ("", "precision at 5", "choice ahead by", "folds better than the choice"):
        models.add_column(column, no_wrap=True)
    for name, entry in sorted(together["models"].items(), key=lambda row: -row[1]["mean"]):
        behind = together["folds_behind"].get(name)
        models.add_row(
            MODEL_LABELS.get(name, "the choice"),
            f"{entry['mean']:.4f}  {_span(entry)}",
            _ahead(together["ahead"].get(name)),
            "" if behind is None else f"{behind} of {n_folds}",
        )
    return folds, models


def newcomers(figures: Mapping[str, Any]) -> Table | None:
    """Users and items that came after a cut in time; None if nothing was cut."""
    rows = newcomer_rows(figures)
    if not rows:
        return None
    table = Table(title="after the cut", title_justify="left", box=SIMPLE, show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    table.add_column("")
    for about, own, others in rows:
        table.add_row(f"precision at 5, {about}", f"{own['mean']:.4f}", others)
    return table


def few_likes(figures: Mapping[str, Any]) -> Table:
    """What all users are answered from, and how well those with few likes are."""
    table = Table(title="every user", title_justify="left", box=SIMPLE, show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    table.add_column("")
    answered = figures["answered"]
    table.add_row("users answered", f"{sum(answered.values()):,}", answered_text(answered))
    if "model" in figures:
        others = ", ".join(
            f"{MODEL_LABELS[name]} {figures[name]['mean']:.4f}"
            for name in ("itemknn", "popularity")
        )
        about = f"hit rate at 10, {figures['users']:,} users with 2 to 4 likes, one of them hidden"
        table.add_row(about, f"{figures['model']['mean']:.4f}", others)
    return table


def verdict(judged: Mapping[str, Any]) -> Table:
    """List the conditions of the gate: what was found of a challenger, and what was required."""
    table = Table(title="gate", title_justify="left", box=SIMPLE)
    table.add_column("", no_wrap=True)
    for column in ("", "found", "required"):
        table.add_column(column, no_wrap=not column)
    for check in judged["checks"]:
        mark = "[green]✓[/green]" if check["passed"] else "[red]✗[/red]"
        # What a guard rail is about may be long, and must not crowd out what was found.
        label = escape(fill(label_of(check), _LABEL))
        table.add_row(mark, label, escape(check["found"]), check["wanted"])
    return table


def _ahead(difference: Mapping[str, float] | None) -> str:
    return "" if difference is None else f"{difference['mean']:+.4f} ({_span(difference)})"


def _span(estimate: Mapping[str, float]) -> str:
    return f"{estimate['low']:.4f}..{estimate['high']:.4f}"


def answer(title: str, rows: Answer) -> Table:
    """Lay out an answer as a table with its notes below."""
    table = Table(
        title=plain(title), title_justify="left", caption_justify="left", box=SIMPLE, expand=True
    )
    if rows.notes:
        table.caption = plain("; ".join(rows.notes))
    table.add_column("", justify="right", no_wrap=True)
    table.add_column("id", no_wrap=True, max_width=32)
    table.add_column("name", no_wrap=True, overflow="ellipsis", ratio=1)
    table.add_column("score", justify="right", no_wrap=True)
    reasons = any(row.reason for row in rows)
    if reasons:
        table.add_column("why", no_wrap=True, overflow="ellipsis", ratio=1)
    for place, row in enumerate(rows, start=1):
        cells: list[Text | str] = [str(place), plain(row.id), plain(row.name), f"{row.score:.3f}"]
        table.add_row(*cells, *([plain(row.reason)] if reasons else []))
    return table


def explanation(found: Explanation) -> Table:
    """Lay out the parts of a score, and the liked items nearest to the item."""
    title = f"{found.name} for {found.user}: {found.score:.3f}"
    table = Table(title=plain(title), title_justify="left", box=SIMPLE, caption_justify="left")
    table.add_column("part", no_wrap=True, overflow="ellipsis")
    for column in ("vector", "bias", "sum"):
        table.add_column(column, justify="right", no_wrap=True)
    labels = {"user": "the user", "item": "the item itself"}
    for part in found.parts:
        numbers = (f"{number:+.3f}" for number in (part.vector, part.bias, part.value))
        label = f"because of {part.name}" if part.kind == "like" else part.id
        table.add_row(plain(labels.get(part.kind, label)), *numbers)
    table.add_section()
    table.add_row("score", "", "", f"{found.score:+.3f}")
    near = ", ".join(f"{row.name} ({row.score:.2f})" for row in found.nearest)
    notes = "; ".join((f"most similar liked items: {near or 'nothing'}", *found.notes))
    table.caption = plain(notes)
    return table


def plain(text: str) -> Text:
    """Text without markup, control characters, or marks that reverse the direction of writing."""
    # Not all of the category Cf: it has the direction marks, and the joiners of emoji as well.
    return Text("".join("\ufffd" if _unsafe(letter) else letter for letter in text))


def _unsafe(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Zl", "Zp", "Cs") or letter in _DIRECTION_MARKS


_DIRECTION_MARKS = frozenset(
    "\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)
