"""Evaluation in a notebook: a fitted model measured on held-out interactions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from recsys.base.errors import InputError
from recsys.evaluation.holdouts import Estimate, measure
from recsys.notebook.data import InteractionData
from recsys.notebook.fitting import FittedModel

UNMASKED = "_unmasked"


@dataclass(frozen=True, repr=False)
class EvaluationResult(Mapping[str, float]):
    """Metrics by name; ``result["precision_at_5"]`` is a mean over users.

    Parameters
    ----------
    model : str
    n_users : int
        Users with held-out interactions.
    estimates : mapping of str to Estimate
        Means with their bootstrap intervals (95 %). Those ending in `_unmasked` leave what a user
        is known to like in the ranking.
    """

    model: str
    n_users: int
    estimates: Mapping[str, Estimate]

    def __getitem__(self, metric: str) -> float:
        return self.estimates[metric].mean

    def __iter__(self) -> Iterator[str]:
        return iter(self.estimates)

    def __len__(self) -> int:
        return len(self.estimates)

    def __repr__(self) -> str:
        lines = [f"<EvaluationResult {self.model}, {self.n_users:,} users"]
        shown = {n: found for n, found in self.estimates.items() if not n.endswith(UNMASKED)}
        width = max(map(len, shown))
        lines += [f"  {n:<{width}}  {f.mean:.4f}{_interval(f)}" for n, f in shown.items()]
        return "\n".join(lines) + ">"

    def to_frame(self) -> Any:
        """A DataFrame (metric; mean, low, high)."""
        import pandas as pd

        rows = {name: found.as_dict() for name, found in self.estimates.items()}
        return pd.DataFrame.from_dict(rows, orient="index").rename_axis("metric")


def evaluate(
    model: FittedModel,
    holdout: InteractionData,
    k: int = 5,
    *,
    samples: int = 1000,
    seed: int = 0,
) -> EvaluationResult:
    """Measure a fitted model on held-out interactions.

    Every item is ranked for each user but those that the model was fitted on.

    Parameters
    ----------
    model : FittedModel
    holdout : InteractionData
        Such as `split` gives; users and items that the model does not know are left out.
    k : int
        Length of the lists.
    samples, seed : int
        Of the bootstrap over users.

    Returns
    -------
    EvaluationResult
        precision_at_k, recall_at_k, ndcg_at_k and others.

    Raises
    ------
    InputError
        If no held-out interaction is of a user and an item that the model knows.
    """
    train = model.train
    heldout = holdout.aligned(train.users, train.items)
    n_users = int(np.count_nonzero(np.diff(heldout.indptr)))
    if not n_users:
        raise InputError(
            "no held-out interaction is of a user and an item that the model was fitted on",
            "a holdout of the same users and items",
            "take one from recsys.split",
        )
    measured = measure(model.scorer, heldout, train.matrix(), ks=(k,), samples=samples, seed=seed)
    return EvaluationResult(model.model.name, n_users, measured.estimates)


def _interval(found: Estimate) -> str:
    if found.low is None or found.high is None:
        return ""
    return f" ({found.low:.4f} to {found.high:.4f})"
