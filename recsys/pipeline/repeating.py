"""Repeating: the chosen configuration measured on further users, as a stage."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from recsys.base import config
from recsys.base.arrays import Float64Array
from recsys.data import persistence
from recsys.data.outcomes import Encoded, HeldOut, Thresholded
from recsys.data.splits import not_ranked, times_of
from recsys.evaluation.backtests import FoldScores, over_all_folds
from recsys.evaluation.metric_names import BLEND, HEADLINE, LIGHTFM, winner_of
from recsys.evaluation.repeated import half_width_of_these, repeat_holdouts
from recsys.models.model import model_from_dict
from recsys.pipeline.evaluation import with_popularity
from recsys.pipeline.fitting import open_spread, refit
from recsys.pipeline.further_users import save_folds
from recsys.pipeline.outcomes import Chosen, Evaluated, Repeated
from recsys.pipeline.preparation import load_core
from recsys.ranking.metrics import precision_at_k
from recsys.ranking.scorer import Scorer
from recsys.store.stages import Stage, stage, write_json


@stage(Repeated, version=7, unkeyed=("machines",))
def repeat(
    folder: Path,
    core: Stage[Thresholded],
    holdouts: Stage[HeldOut],
    features: Stage[Encoded],
    chosen: Stage[Chosen],
    measured: Stage[Evaluated],
    half_width: float,
    rounds: int,
    most_folds: int,
    samples: int,
    n: int,
    by_time: bool,
    seed: int,
    machines: config.Fit | None = None,
) -> Repeated:
    """Fit the chosen configuration and the item-to-item models again and again (`repeated.json`).

    The first fold is the test holdout, as it was measured. ALS and BPR, whose search takes longest,
    are left out. What each fold held out, and the scores there, are for the gate. The chosen
    configuration is spread over `machines`, if there are any.
    """
    interactions = load_core(core)
    parts = persistence.load_split(Path(holdouts.path))
    configuration = chosen.outcome.trained
    winner = winner_of(measured.read_json("leaderboard.json"))
    closed = [model_from_dict(values) for values in chosen.outcome.closed_forms.values()]
    others, times = with_popularity(closed), times_of(interactions)

    heldouts: list[sp.csr_matrix] = []

    def measure(known: sp.csr_matrix, heldout: sp.csr_matrix) -> FoldScores:
        heldouts.append(heldout)
        # Ages count from the latest of what is known, which is not held out.
        model = refit(known, configuration, features, seed, times=times, spread=spread)
        scorers: dict[str, Scorer] = {LIGHTFM: model.factors}
        if winner == BLEND:
            scorers[BLEND] = model.scorer(known)
        scorers |= {other.name: other.fit(known, seed=seed, times=times) for other in others}
        without = not_ranked(known, heldout, parts.hidden)
        values: dict[str, Float64Array] = {
            name: precision_at_k(scorer, heldout, without, 5) for name, scorer in scorers.items()
        }
        return FoldScores(np.flatnonzero(np.diff(heldout.indptr)), values, winner)

    with threadpool_limits(1), open_spread(machines, folder) as spread:
        found = repeat_holdouts(
            _first(measured, winner),
            measure,
            interactions,
            np.flatnonzero(np.diff(parts.validation.indptr)),
            half_width=half_width,
            rounds=rounds,
            most_folds=most_folds,
            n=n,
            by_time=by_time,
            seed=seed,
            samples=samples,
        )
    figures: dict[str, Any] = over_all_folds(found.folds, seed=seed, samples=samples)
    save_folds(folder, found.folds, heldouts)
    about = {
        "folds": len(found.folds),
        "half_width": found.half_width,
        "half_width_of_these": half_width_of_these(found.folds),
        "ended": found.ended,
    }
    write_json(folder / "repeated.json", {**about, "winner": winner, **figures})
    return Repeated(len(found.folds), figures["users"], found.half_width, found.ended)


def narrow_enough(measured: Stage[Evaluated], half_width: float) -> bool:
    """Whether the winner's interval on the test holdout is as narrow as is asked for.

    Parameters
    ----------
    measured : Stage
    half_width : float
        As a share of the mean.
    """
    board = measured.read_json("leaderboard.json")
    own = {entry["model"]: entry["metrics"][HEADLINE] for entry in board}[winner_of(board)]
    found = (own["high"] - own["low"]) / 2
    return bool(own["mean"] > 0 and found <= half_width * own["mean"])


def _first(measured: Stage[Evaluated], winner: str) -> FoldScores:
    """The test holdout, as it was measured."""
    table = pq.read_table(measured.file("per_user.parquet"))
    names = [name for name in table.column_names if name != "user"]
    values = {name: table.column(name).to_numpy() for name in names}
    return FoldScores(table.column("user").to_numpy(), values, winner)
