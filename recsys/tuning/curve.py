"""The learning curve of one configuration: train and validation precision against epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from rich.table import Table

from recsys.ranking.metrics import precision_at_k
from recsys.tuning.trials import Problem


@dataclass(frozen=True)
class CurvePoint:
    """Mean precision_at_k after so many epochs, over the users that have held-out likes.

    `train` counts known likes among the first k with nothing masked; `validation` counts held-out
    likes with the known ones masked.
    """

    epoch: int
    train: float
    validation: float


def learning_curve(
    problem: Problem, configuration: Mapping[str, Any], epochs: Sequence[int]
) -> list[CurvePoint]:
    """Train once, measuring at each of the epochs.

    Raises
    ------
    DivergedError
        If the model runs away.
    """
    known = _of_held_out_users(problem)
    training = problem.training(configuration)
    found: list[CurvePoint] = []
    for epoch in epochs:
        training.advance(epoch - training.epoch)
        factors = training.view()
        train = float(precision_at_k(factors, known, k=problem.k).mean())
        found.append(CurvePoint(epoch, train, problem.precision(factors)))
    return found


def _of_held_out_users(problem: Problem) -> sp.csr_matrix:
    """Training likes of the validation users, so that both curves are over the same people."""
    held = np.diff(problem.validation.indptr) > 0
    return sp.diags(held.astype(np.float32), format="csr") @ problem.train


def as_table(points: Sequence[CurvePoint], k: int) -> Table:
    """The founding article's table."""
    table = Table()
    for name in ("epoch", f"train precision at {k}", f"validation precision at {k}"):
        table.add_column(name, justify="right")
    best = max(points, key=lambda point: point.validation)
    for point in points:
        style = "bold" if point is best else None
        table.add_row(
            str(point.epoch), f"{point.train:.5f}", f"{point.validation:.5f}", style=style
        )
    return table


def draw(points: Sequence[CurvePoint], k: int, path: Path) -> None:
    """The founding article's figure, as a PNG."""
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(9, 3.5), layout="constrained")
    epochs = [point.epoch for point in points]
    for place, name in enumerate(("train", "validation")):
        axis = drawing.add_subplot(1, 2, place + 1)
        axis.plot(epochs, [getattr(point, name) for point in points], marker=".")
        axis.set(title=name, xlabel="epochs", ylabel=f"precision at {k}")
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, dpi=110)
