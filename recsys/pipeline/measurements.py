"""Measurements on disk: the winner's evaluation, written by one stage and read by the next."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from recsys.base.arrays import Int64Array
from recsys.data import persistence
from recsys.data.outcomes import Encoded
from recsys.data.splits import Split
from recsys.evaluation.segments import Segments, evaluation_of
from recsys.pipeline.outcomes import Evaluated
from recsys.ranking.metrics import Evaluation
from recsys.store.stages import Stage, write_json

PER_USER, RANKS, CATALOGUE = "winner.parquet", "winner_ranks.parquet", "winner_catalogue.json"


def save_evaluation(folder: Path, evaluation: Evaluation) -> None:
    """Write the figures of every user, the rank of every held-out item, and the catalogue's."""
    users = evaluation.users
    persistence.write_columns(folder / PER_USER, user=users, **evaluation.per_user)
    persistence.write_columns(
        folder / RANKS,
        user=np.repeat(users, evaluation.heldout.counts),
        item=evaluation.heldout.indices,
        rank=evaluation.ranks,
    )
    write_json(folder / CATALOGUE, evaluation.catalogue)


def load_evaluation(measured: Stage[Evaluated]) -> Evaluation:
    """Read what `save_evaluation` wrote."""
    per_user = pq.read_table(measured.file(PER_USER)).drop_columns("user")
    ranks = pq.read_table(measured.file(RANKS))
    user, item, rank = (_column(ranks, name) for name in ("user", "item", "rank"))
    values = {name: per_user.column(name).to_numpy() for name in per_user.column_names}
    return evaluation_of(user, item, rank, values, measured.read_json(CATALOGUE))


def load_segments(parts: Split, features: Stage[Encoded]) -> Segments:
    """The segments of a holdout, with the encoded features of users and items."""
    known, heldout = parts.final()
    folder = Path(features.path)
    user, item = (persistence.load_encoded(folder, side) for side in ("user", "item"))
    return Segments(known, heldout, user, item)


def _column(table: pa.Table, name: str) -> Int64Array:
    return np.asarray(table.column(name), np.int64)
