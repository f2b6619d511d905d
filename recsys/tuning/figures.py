"""Figures of a study: the best so far, all learning curves, importance of hyper-parameters."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from io import StringIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from recsys.tuning.trials import Study, TrialResult

if TYPE_CHECKING:
    from matplotlib.figure import Figure

Curves = Mapping[int, Sequence[tuple[int, float]]]  # (epoch, precision), by the trial's number
GREY: dict[str, Any] = {"color": "lightgrey", "linewidth": 1}
FEWEST_TRIALS = 8  # with fewer, importance is mostly noise


def draw_study(study: Study, folder: Path) -> list[Path]:
    """Draw a study as PNG files in a folder, which must be there; returns their paths."""
    drawings = {"best_so_far": _best_so_far(study), "learning_curves": _learning_curves(study)}
    importance = _importance(study)
    if importance is not None:
        drawings["importance"] = importance
    paths: list[Path] = []
    for name, drawing in drawings.items():
        paths.append(folder / f"{name}.png")
        drawing.savefig(paths[-1], dpi=100)
    return paths


def _figure(title: str, x: str, y: str, long_labels: bool = False) -> tuple[Figure, Any]:
    from matplotlib.figure import Figure  # takes long to import

    # Room for labels of any length is found by drawing everything three times.
    drawing = Figure(figsize=(7, 4), layout="constrained" if long_labels else None)
    if not long_labels:
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


def _importance(study: Study) -> Figure | None:
    """How much each searched number matters to a forest over the trials; None if too few."""
    names, points, values = _numbers(study.trials)
    if len(points) < FEWEST_TRIALS or not names:
        return None
    from sklearn.ensemble import ExtraTreesRegressor  # takes long to import

    forest = ExtraTreesRegressor(200, min_samples_leaf=2, random_state=0).fit(points, values)
    drawing, axis = _figure(
        "importance (of a forest over the trials)", "share of variance", "", long_labels=True
    )
    order = np.argsort(forest.feature_importances_)
    axis.barh([names[i] for i in order], forest.feature_importances_[order])
    return drawing


def _numbers(
    trials: tuple[TrialResult, ...],
) -> tuple[list[str], np.ndarray[Any, Any], np.ndarray[Any, Any]]:
    """Names of the searched numbers, their logarithms (n, d) and the precision (n,) of trials."""
    kept = [trial for trial in trials if trial.curve]
    names = [
        name
        for name, value in (kept[0].configuration if kept else {}).items()
        if isinstance(value, int | float)
        and all(trial.configuration.get(name, 0) > 0 for trial in kept)
        and len({trial.configuration[name] for trial in kept}) > 1
    ]
    points = np.array([[trial.configuration[name] for name in names] for trial in kept])
    values = np.array([trial.precision for trial in kept])
    return names, np.log(points) if points.size else points, values
