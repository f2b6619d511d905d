"""Learning curves: train and validation precision of one configuration against epochs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from rich.table import Table

from recsys.ranking.metrics import precision_at_k
from recsys.tuning.problems import Problem


@dataclass(frozen=True)
class CurvePoint:
    """Mean precision_at_k after a number of epochs, over users with validation interactions.

    Parameters
    ----------
    epoch : int
    train : float
        Of the training interactions, nothing masked.
    validation : float
        Of the validation interactions, training interactions masked.
    """

    epoch: int
    train: float
    validation: float


def learning_curve(
    problem: Problem, configuration: Mapping[str, Any], epochs: Sequence[int]
) -> list[CurvePoint]:
    """Train a configuration once and measure it at each of the epochs.

    Parameters
    ----------
    problem : Problem
    configuration : mapping
    epochs : sequence of int
        Ascending.

    Raises
    ------
    DivergedError
        If training diverges.
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
    """Training interactions of the validation users, so that both curves are of the same users."""
    held = np.diff(problem.validation.indptr) > 0
    return sp.diags(held.astype(np.float32), format="csr") @ problem.train


def as_table(points: Sequence[CurvePoint], k: int) -> Table:
    """The learning curve as a table, its best point in bold.

    Parameters
    ----------
    points : sequence of CurvePoint
    k : int
        Of precision_at_k.
    """
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
    """Draw the learning curve as a PNG file, train and validation side by side.

    Parameters
    ----------
    points : sequence of CurvePoint
    k : int
        Of precision_at_k.
    path : Path
        Its folder is created if it is not there.
    """
    from matplotlib.figure import Figure  # only where a figure is drawn: it takes a second

    drawing = Figure(figsize=(9, 3.5), layout="constrained")
    epochs = [point.epoch for point in points]
    for place, name in enumerate(("train", "validation")):
        axis = drawing.add_subplot(1, 2, place + 1)
        axis.plot(epochs, [getattr(point, name) for point in points], marker=".")
        axis.set(title=name, xlabel="epochs", ylabel=f"precision at {k}")
    path.parent.mkdir(parents=True, exist_ok=True)
    drawing.savefig(path, dpi=110)
