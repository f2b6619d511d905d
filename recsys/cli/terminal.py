"""The terminal: a run as a person watches it, and answers as tables."""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table
from rich.text import Text

from recsys.base.events import (
    Download,
    Event,
    Note,
    SearchStarted,
    StageDone,
    StageStarted,
    TrialDone,
    as_dict,
)
from recsys.evaluation.holdouts import MEASURED
from recsys.recommend.queries.answers import Answer
from recsys.recommend.queries.explanation import Explanation

# What of a stage's counts is worth a line; the rest is in its manifest.
WORTH_SAYING = {
    "ingest": ("interactions", "users", "items", "item_features", "item_feature_pairs"),
    "threshold": ("interactions", "users", "items", "passes"),
    "split": ("train", "validation", "test", "cold_items"),
    "encode": ("item_features", "core_item_feature_pairs", "user_features"),
    "tune": ("trials", "precision_at_5", "epochs"),
    "evaluate": ("holdout",),
    "fit": ("interactions", "components"),
    "gate": ("passed", "champion", "overlap"),
    "register": ("model", "version"),
    "promote": ("version", "champion"),
    "adopt": ("epochs",),
    "report": ("page",),
    "recommend": ("version", "users", "items", "users_rows", "items_rows"),
}


class Watch:
    """Shows events as they come: a line a stage, a bar over the trials."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = Progress(
            TextColumn("  {task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task: Any = None

    def __call__(self, event: Event) -> None:
        if isinstance(event, StageStarted):
            self._clear()
        elif isinstance(event, SearchStarted):
            self._start("searching", event.trials)
        elif isinstance(event, TrialDone):
            self._trial(event)
        elif isinstance(event, Download):
            self._download(event)
        elif isinstance(event, Note):
            self._console.print(f"  {escape(event.text)}", style="yellow")
        else:
            self._done(event)

    def _start(self, what: str, total: int | None) -> None:
        self._clear()
        self._task = self._bar.add_task(what, total=total)
        self._bar.start()

    def _clear(self) -> None:
        if self._task is not None:
            self._bar.stop()
            self._bar.remove_task(self._task)
            self._task = None

    def _trial(self, event: TrialDone) -> None:
        ended = event.status != "paused"
        if self._task is not None:
            best = f"searching, best {event.best:.4f}"
            self._bar.update(self._task, advance=int(ended), description=best)
        if ended:
            outcome = "diverged" if event.status == "diverged" else f"{event.precision:.4f}"
            self._console.print(
                f"    trial {event.number:>3} {outcome:>9}  {event.epochs:>3} epochs "
                f"{event.seconds:>6.1f} s  [dim]{escape(event.reason)}[/dim]",
                highlight=False,
                no_wrap=True,
                overflow="ellipsis",
            )

    def _download(self, event: Download) -> None:
        if self._task is None:
            self._start("fetching", event.total)
        self._bar.update(self._task, completed=event.done, total=event.total)

    def _done(self, event: StageDone) -> None:
        self._clear()
        said = [
            f"{name.replace('_', ' ')} {_number(event.counts[name])}"
            for name in WORTH_SAYING.get(event.stage, ())
            if event.counts.get(name) not in (None, "")
        ]
        if "configuration" in event.counts:
            said.append(_short(event.counts["configuration"]))
        how = "reused" if event.reused else f"{event.seconds:.1f} s"
        self._console.print(
            f"[green]✓[/green] [bold]{event.stage:<9}[/bold] {', '.join(said)} [dim]({how})[/dim]",
            highlight=False,
            soft_wrap=True,
        )


def json_lines(console: Console) -> Any:
    """A listener that writes every event as one line of JSON."""

    def listen(event: Event) -> None:
        console.print(
            json.dumps(as_dict(event), default=str), soft_wrap=True, markup=False, highlight=False
        )

    return listen


def _short(configuration: Mapping[str, Any]) -> str:
    searched = {k: v for k, v in configuration.items() if not isinstance(v, str)}
    return ", ".join(f"{name} {_number(value)}" for name, value in searched.items())


def _number(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)


def leaderboard(board: Sequence[Mapping[str, Any]], holdout: str) -> Table:
    """Models side by side on the holdout, best first, with 95 % bootstrap intervals over users."""
    title = f"{holdout} holdout, known likes left out of the ranking"
    table = Table(title=title, title_justify="left", box=SIMPLE)
    table.add_column("")
    for entry in board:
        table.add_column(entry["model"], justify="right")
    for label, name in MEASURED:
        if name in board[0]["metrics"]:
            table.add_row(label, *(f"{entry['metrics'][name]['mean']:.4f}" for entry in board))
        if name == "precision_at_5":
            table.add_row("  95 % interval", *(_span(entry["metrics"][name]) for entry in board))
            table.add_row("  LightFM ahead by", *(_ahead(entry["behind_by"]) for entry in board))
    return table


def newcomers(compared: Mapping[str, Any]) -> Table | None:
    """What is known of items, users and tags that the model has not seen; None if not measured."""
    table = Table(title="never seen before", title_justify="left", box=SIMPLE, show_header=False)
    table.add_column("")
    table.add_column("", justify="right")
    table.add_column("")
    if cold := compared.get("cold"):
        means = {name: entry["precision_at_5"]["mean"] for name, entry in cold["models"].items()}
        own = means.pop(compared["winner"])
        others = ", ".join(f"{name} {value:.4f}" for name, value in means.items())
        about = f"precision at 5, {cold['items']:,} cold items by their features"
        table.add_row(about, f"{own:.4f}", others)
    if foldin := compared.get("foldin"):
        about = f"precision at 5, {foldin['users']:,} new users by some likes"
        trained = f"trained {foldin['trained']:.4f}, {foldin['share']:.0%} of it"
        table.add_row(about, f"{foldin['foldin']:.4f}", trained)
    if asked := compared.get("suggestion"):
        others = f"co-occurrence {asked['co_occurrence']:.4f}, popularity {asked['popularity']:.4f}"
        about = f"recall at 10, one {escape(asked['type'])} hidden from {asked['items']:,} items"
        table.add_row(about, f"{asked['neighbours']:.4f}", others)
    return table if table.row_count else None


def verdict(judged: Mapping[str, Any]) -> Table:
    """What the gate found of a challenger, a line a condition."""
    table = Table(title="gate", title_justify="left", box=SIMPLE)
    for column, kept in (("", True), ("", True), ("found", False), ("wanted", False)):
        table.add_column(column, no_wrap=kept)
    for check in judged["checks"]:
        mark = "[green]✓[/green]" if check["passed"] else "[red]✗[/red]"
        table.add_row(mark, check["name"], escape(check["found"]), check["wanted"])
    return table


def _ahead(difference: Mapping[str, float] | None) -> str:
    return "" if difference is None else f"{difference['mean']:+.4f} ({_span(difference)})"


def _span(estimate: Mapping[str, float]) -> str:
    return f"{estimate['low']:.4f}..{estimate['high']:.4f}"


def answer(title: str, rows: Answer) -> Table:
    """An answer as a table, its notes below."""
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
    """A score taken apart, and what the user likes that is nearest."""
    title = f"{found.name} for {found.user}: {found.score:.3f}"
    table = Table(title=plain(title), title_justify="left", box=SIMPLE, caption_justify="left")
    table.add_column("part", no_wrap=True, overflow="ellipsis")
    for column in ("vector", "bias", "sum"):
        table.add_column(column, justify="right", no_wrap=True)
    labels = {"user": "the user", "item": "the item itself"}
    for part in found.parts:
        numbers = (f"{number:+.3f}" for number in (part.vector, part.bias, part.value))
        table.add_row(plain(labels.get(part.kind, part.id)), *numbers)
    table.add_section()
    table.add_row("score", "", "", f"{found.score:+.3f}")
    near = ", ".join(f"{row.name} ({row.score:.2f})" for row in found.nearest)
    table.caption = plain(f"nearest of what is liked: {near or 'nothing'}")
    return table


def plain(text: str) -> Text:
    """Text as it is: no markup, nothing that moves the cursor or turns the line round."""
    # Cc: control characters. Cf holds the marks that change the direction, but joiners of
    # emoji as well, which stay.
    return Text("".join("\ufffd" if _unruly(letter) else letter for letter in text))


def _unruly(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Zl", "Zp", "Cs") or letter in _TURNING


_TURNING = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
