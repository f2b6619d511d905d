"""Further users: the folds of repeated holdouts on disk, and rivals measured on them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import scipy.sparse as sp

from recsys.base.arrays import BoolArray, Float64Array, Int64Array, IntArray
from recsys.data import persistence
from recsys.data.interactions import Interactions
from recsys.data.outcomes import Encoded, HeldOut, Thresholded
from recsys.data.splits import not_ranked, times_of
from recsys.evaluation.backtests import CHOICE, FoldScores
from recsys.models.popularity import Popularity
from recsys.models.spreading import Spread
from recsys.pipeline.fitting import refit
from recsys.pipeline.outcomes import Repeated
from recsys.pipeline.preparation import load_core
from recsys.ranking.metrics import precision_at_k
from recsys.store.stages import Stage

SCORES, HELD = "fold_scores.parquet", "fold_likes.parquet"


@dataclass(frozen=True)
class FurtherUsers:
    """Users beyond the test holdout, each in one fold, and what the winner is measured at there.

    Users of one fold each are as independent as those of one holdout, so that the scores of both
    can stand in one array.

    Parameters
    ----------
    users : int64 (n,)
        Their places in the core, fold after fold, ascending in each.
    own, popularity : float64 (n,)
        precision_at_5 of the winner and of popularity.
    held : tuple of bool (n_interactions,)
        What each fold holds out of the core.
    interactions : Interactions
        The core.
    hidden : csr_matrix or None
        Ones for pairs that are never recommended.
    features : Stage
    seed : int
    spread : Spread or None
        Over which machines configurations are fitted; None for this one.
    """

    users: Int64Array
    own: Float64Array
    popularity: Float64Array
    held: tuple[BoolArray, ...]
    interactions: Interactions
    hidden: sp.csr_matrix | None
    features: Stage[Encoded]
    seed: int
    spread: Spread | None = None

    def measure(self, configuration: Mapping[str, Any]) -> Float64Array:
        """precision_at_5 of a configuration, fitted in each fold as the winner was: float64 (n,).

        Raises
        ------
        InputError
            If it cannot be trained on today's data.
        """
        times = times_of(self.interactions)
        found = []
        for known, heldout in self._folds():
            model = refit(
                known, configuration, self.features, self.seed, times=times, spread=self.spread
            )
            without = not_ranked(known, heldout, self.hidden)
            found.append(precision_at_k(model.scorer(known), heldout, without, 5))
        return np.concatenate(found)

    def _folds(self) -> Iterator[tuple[sp.csr_matrix, sp.csr_matrix]]:
        """What is known and what is held out in each fold."""
        for held in self.held:
            yield self.interactions.where(~held).matrix(), self.interactions.where(held).matrix()


def save_folds(folder: Path, folds: Sequence[FoldScores], heldout: Sequence[sp.csr_matrix]) -> None:
    """Write the scores of every fold after the first, and what was held out of its users."""
    further = folds[1:]
    sizes = [len(fold.users) for fold in further]
    persistence.write_columns(
        folder / SCORES,
        fold=np.repeat(np.arange(len(further)), sizes),
        user=_joined([fold.users for fold in further], np.int64),
        own=_joined([fold.of(CHOICE) for fold in further], np.float64),
        popularity=_joined([fold.values[Popularity.name] for fold in further], np.float64),
    )
    pairs = [matrix.tocoo() for matrix in heldout]
    persistence.write_columns(
        folder / HELD,
        fold=np.repeat(np.arange(len(pairs)), [one.nnz for one in pairs]),
        user=_joined([one.row for one in pairs], np.int64),
        item=_joined([one.col for one in pairs], np.int64),
    )


def load_further_users(
    repeated: Stage[Repeated] | None,
    core: Stage[Thresholded],
    holdouts: Stage[HeldOut],
    features: Stage[Encoded],
    seed: int,
    spread: Spread | None = None,
) -> FurtherUsers | None:
    """The folds that test users whom none before did; None where there are none.

    Further rounds are left out: they say more of the same users, of whom one score each counts.
    """
    if repeated is None:
        return None
    scores, likes = (pq.read_table(repeated.file(name)) for name in (SCORES, HELD))
    fold, user, own, popularity = (
        scores.column(name).to_numpy() for name in ("fold", "user", "own", "popularity")
    )
    parts = persistence.load_split(Path(holdouts.path))
    kept = _first_round(fold, user, np.flatnonzero(np.diff(parts.test.indptr)))
    if not kept:
        return None
    interactions = load_core(core)
    n_items = np.int64(len(interactions.items))
    pairs = interactions.user * n_items + interactions.item
    asked = likes.column("user").to_numpy() * n_items + likes.column("item").to_numpy()
    of_like = likes.column("fold").to_numpy()
    chosen = np.isin(fold, kept)
    return FurtherUsers(
        user[chosen],
        own[chosen],
        popularity[chosen],
        tuple(np.isin(pairs, asked[of_like == one]) for one in kept),
        interactions,
        parts.hidden,
        features,
        seed,
        spread,
    )


def _first_round(fold: Int64Array, user: Int64Array, tested: IntArray) -> list[int]:
    """The folds, from the first on, whose users were tested in none before."""
    seen, kept = set(tested.tolist()), []
    for one in np.unique(fold).tolist():
        users = set(user[fold == one].tolist())
        if users & seen:
            break
        seen |= users
        kept.append(one)
    return kept


def _joined(parts: Sequence[Any], dtype: type) -> Any:
    return np.concatenate([np.empty(0, dtype), *parts]).astype(dtype)
