"""Figures of a study: the best so far, all learning curves, what it knows of its search space."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsys.tuning.trials import Study
from recsys.tuning.understanding import Understanding

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curves = Mapping[int, Sequence[tuple[int, float]]]  # (epoch, precision), by the trial's number
GREY: dict[str, Any] = {"color": "lightgrey", "linewidth": 1}
DRAWN = 6  # dimensions whose dependence is drawn, the most important ones


def draw_study(study: Study, folder: Path) -> list[Path]:
    """Draw a study as PNG files in a folder, which must be there; returns their paths."""
    drawings = {"best_so_far": _best_so_far(study), "learning_curves": _learning_curves(study)}
    if study.understood is not None and study.understood.effects:
        drawings["search_space"] = _understanding(study.understood)
    paths: list[Path] = []
    for name, drawing in drawings.items():
        paths.append(folder / f"{name}.png")
        drawing.savefig(paths[-1], dpi=100)
    return paths


def _figure(title: str, x: str, y: str) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure  # takes long to import

    # A constrained layout draws everything three times.
    drawing = Figure(figsize=(7, 4))
    drawing.subplots_adjust(left=0.11, right=0.97, bottom=0.13, top=0.92)
    axis = drawing.add_subplot()
    axis.set(title=title, xlabel=x, ylabel=y)
    return drawing, axis


def _best_so_far(study: Study) -> Figure:
    """Precision of each trial, and the best of those so far, against CPU seconds."""
    drawing, axis = _figure("best so far", "CPU seconds, trial after trial", "precision at 5")
    seconds = np.cumsum([trial.seconds for trial in study.trials])
    best = np.maximum.accumulate([trial.precision for trial in study.trials])
    axis.step(seconds, best, where="post")
    axis.plot(seconds, [trial.precision for trial in study.trials], ".", color="tab:grey")
    return drawing


def _learning_curves(study: Study) -> Figure:
    curves = {
        trial.number: list(zip(trial.epochs, trial.values, strict=True)) for trial in study.trials
    }
    return _curves(curves, study.best.number)


def _curves(curves: Curves, best: int) -> Figure:
    from matplotlib.ticker import ScalarFormatter

    drawing, axis = _figure("learning curves, the winner's in colour", "epochs", "precision at 5")
    for number, points in curves.items():
        style = {"color": "tab:blue", "marker": ".", "zorder": 3} if number == best else GREY
        axis.plot([epoch for epoch, _ in points], [value for _, value in points], **style)
    axis.set_xscale("log", base=2)
    axis.xaxis.set_major_formatter(ScalarFormatter())
    return drawing


def learning_curves_svg(curves: Curves, best: int) -> str:
    """Draw learning curves as an SVG element.

    Parameters
    ----------
    curves : mapping of int to sequence of (int, float)
        Epochs and precision, by the trial's number.
    best : int
        The trial that is drawn in colour.
    """
    return as_svg(_curves(curves, best))


def as_svg(drawing: Figure) -> str:
    """A figure as an SVG element, the same text for the same figure."""
    from matplotlib import rc_context

    stream = StringIO()
    with rc_context({"svg.hashsalt": "", "svg.fonttype": "none"}):
        drawing.savefig(stream, format="svg", metadata={"Date": None})
    text = stream.getvalue()
    return text[text.index("<svg") :]


def understanding_svg(understood: Understanding) -> str:
    """Draw the importance of a search space's dimensions, and their dependence, as an SVG element.

    Parameters
    ----------
    understood : Understanding
        With effects.
    """
    return as_svg(_understanding(understood))


def _understanding(understood: Understanding) -> Figure:
    """Importance with intervals, then the partial dependence of the first dimensions with bands."""
    from matplotlib.figure import Figure  # takes long to import

    effects = understood.effects
    shown = effects[:DRAWN]
    rows_of_two = -(-len(shown) // 2)
    below_it = 2.2 * rows_of_two
    drawing = Figure(figsize=(7, 2.6 + below_it), layout="constrained")
    parts = drawing.subfigures(2, 1, squeeze=False, height_ratios=(2.6, below_it))
    upper, below = parts[:, 0]
    axis = upper.add_subplot()
    rows = range(len(effects))
    means = [effect.importance for effect in effects]
    # The mean of the bootstraps may lie outside of their interval where that is very skewed.
    ends = [
        [max(0.0, effect.importance - effect.low) for effect in effects],
        [max(0.0, effect.high - effect.importance) for effect in effects],
    ]
    axis.barh(rows, means, xerr=ends, color="tab:blue", ecolor="black", capsize=3)
    axis.set_yticks(rows, [effect.name for effect in effects])
    axis.invert_yaxis()
    axis.set(title="importance: share of the variance over the search space", xlim=(0, 1))
    panels = below.subplots(rows_of_two, 2, squeeze=False, sharey=True).ravel()
    for panel, effect in zip(panels, shown, strict=False):
        places = range(len(effect.values))
        panel.fill_between(places, effect.lower, effect.upper, color="tab:blue", alpha=0.25)
        panel.plot(places, effect.mean, color="tab:blue")
        ticks = list(places)
        if not isinstance(effect.values[0], str):
            ticks = [0, len(places) // 2, len(places) - 1]
        panel.set_xticks(ticks, [_written(effect.values[tick]) for tick in ticks])
        panel.set_title(effect.name, fontsize=10)
    for panel in panels[len(shown) :]:
        panel.set_visible(False)
    below.supylabel("precision at 5 to expect", fontsize=9)
    return drawing


def _written(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.3g}"
