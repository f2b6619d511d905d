"""A run's progress in the terminal, for a person or as JSON lines for a program."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

import rich.progress
from rich.console import Console
from rich.markup import escape

from recsys.base.durations import AGING
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

# The counts of a stage that its line shows; the others are in its manifest.
_SHOWN = {
    "ingest": ("interactions", "users", "items", "item_features", "item_feature_pairs"),
    "threshold": ("interactions", "users", "items", "passes"),
    "split": ("train", "validation", "test", "cold_items"),
    "encode": ("item_features", "core_item_feature_pairs", "user_features"),
    "tune": ("trials", "precision_at_5", "epochs"),
    "evaluate": ("holdout",),
    "repeat": ("folds", "users", "half_width"),
    "fit": ("interactions", "components"),
    "drift": ("nights",),
    "gate": ("passed", "champion", "overlap"),
    "register": ("model", "version"),
    "promote": ("version", "champion"),
    "adopt": ("epochs",),
    "report": ("page",),
    "recommend": ("version", "users", "items", "users_rows", "items_rows"),
}

_BEST_KNOWN = ("loss", "no_components", "learning_rate", "max_sampled")


class Progress:
    """Shows the events of a run: one line for each stage, a progress bar over the trials.

    Parameters
    ----------
    console : rich.console.Console
    """

    def __init__(self, console: Console) -> None:
        self._console = console
        self._bar = rich.progress.Progress(
            rich.progress.TextColumn("  {task.description}"),
            rich.progress.BarColumn(),
            rich.progress.MofNCompleteColumn(),
            rich.progress.TimeElapsedColumn(),
            console=console,
            transient=True,
        )
        self._task: Any = None

    def __call__(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, StageStarted):
            self._clear()
        elif isinstance(event, SearchStarted):
            self._start("searching", event.trials)
        elif isinstance(event, TrialDone):
            self._trial(event)
        elif isinstance(event, Download):
            self._download(event)
        elif isinstance(event, Note):
            self._console.print(f"  {escape(event.text)}", style="yellow", soft_wrap=True)
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
            how = str(event.configuration.get("model", f"{event.epochs} epochs"))
            outcome = "diverged" if event.status == "diverged" else f"{event.precision:.4f}"
            self._console.print(
                f"    trial {event.number:>3} {outcome:>9}  {how:>10} "
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
        shown = [
            f"{name.replace('_', ' ')} {_number(event.counts[name])}"
            for name in _SHOWN.get(event.stage, ())
            if event.counts.get(name) not in (None, "")
        ]
        if "configuration" in event.counts:
            shown.append(_configuration(event.counts["configuration"]))
        time = "reused" if event.reused else f"{event.seconds:.1f} s"
        stage = f"[green]✓[/green] [bold]{event.stage:<9}[/bold]"
        self._console.print(
            f"{stage} {', '.join(shown)} [dim]({time})[/dim]",
            highlight=False,
            soft_wrap=True,
        )
        for sentence in event.counts.get("read_as", ()):
            self._console.print(f"  [dim]{escape(sentence)}[/dim]", highlight=False, soft_wrap=True)


def json_lines(console: Console) -> Callable[[Event], None]:
    """Make a listener that writes every event as one line of JSON."""

    def listen(event: Event) -> None:
        console.print(
            json.dumps(as_dict(event), default=str), soft_wrap=True, markup=False, highlight=False
        )

    return listen


def _configuration(configuration: Mapping[str, Any]) -> str:
    """What is best known of a configuration; the report, and MLflow, have all of it."""
    shown = [f"{n} {_number(configuration[n])}" for n in _BEST_KNOWN if n in configuration]
    shown += _ages(configuration)
    if (neighbours := configuration.get("neighbours", "none")) != "none":
        shown.append(f"with {neighbours}, weight {_number(configuration['neighbours_weight'])}")
        shown += _ages(configuration, "neighbours_")
    return ", ".join(shown)


def _ages(configuration: Mapping[str, Any], prefix: str = "") -> list[str]:
    found = {name: configuration.get(prefix + name, "none") for name in AGING}
    return [f"{name} {value}" for name, value in found.items() if value != "none"]


def _number(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    return f"{value:.3g}" if isinstance(value, float) else str(value)
