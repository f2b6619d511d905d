"""Measurements on disk: the winner's evaluation, written by one stage and read by the next."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.base.arrays import Int64Array
from recsys.data import persistence
from recsys.data.folds import Fold
from recsys.data.outcomes import Encoded
from recsys.evaluation.segments import Segments, evaluation_of
from recsys.pipeline.outcomes import Evaluated
from recsys.ranking.metrics import Evaluation
from recsys.store.stages import Stage, write_json
from recsys.tuning.problems import load_features

PER_USER, RANKS, CATALOGUE = "winner.parquet", "winner_ranks.parquet", "winner_catalogue.json"


def save_evaluation(folder: Path, evaluation: Evaluation, fold: Fold) -> None:
    """Write the figures of every user, the rank of every held-out item, and the catalogue's.

    Users and items go by their places in the core, whatever the fold has of them.
    """
    users = fold.users_of_core(evaluation.users)
    persistence.write_columns(folder / PER_USER, user=users, **evaluation.per_user)
    persistence.write_columns(
        folder / RANKS,
        user=np.repeat(users, evaluation.heldout.counts),
        item=fold.items_of_core(evaluation.heldout.indices),
        rank=evaluation.ranks,
    )
    write_json(folder / CATALOGUE, evaluation.catalogue)


def load_evaluation(measured: Stage[Evaluated], fold: Fold) -> Evaluation:
    """Read what `save_evaluation` wrote, by the rows and columns of the same fold."""
    per_user = pq.read_table(measured.file(PER_USER)).drop_columns("user")
    ranks = pq.read_table(measured.file(RANKS))
    user, item, rank = (_column(ranks, name) for name in ("user", "item", "rank"))
    values = {name: per_user.column(name).to_numpy() for name in per_user.column_names}
    of_fold = fold.rows_of(user), fold.columns_of(item)
    return evaluation_of(*of_fold, rank, values, measured.read_json(CATALOGUE))


def load_segments(fold: Fold, features: Stage[Encoded]) -> Segments:
    """The segments of a fold, with the times and the encoded features of its users and items."""
    user, item = (load_features(features, side, fold.places) for side in ("user", "item"))
    return Segments(fold.known, fold.heldout, user, item, fold.times)


def _column(table: pa.Table, name: str) -> Int64Array:
    return np.asarray(table.column(name), np.int64)
