"""Figures under the protocols of papers, of the models of the leaderboard.

citeulike-a, one interaction of each user held out and ranked among 100 items drawn at random
(Ferrari Dacrema et al., TOIS 2021, appendix): NDCG and hit rate at 10. Hyper-parameters are chosen
on a second interaction held out of the training ones. MovieLens, users held out as a whole (Liang
et al., WWW 2018): NDCG at 100, recall at 20 and 50. Of MovieLens 20M, ratings.csv is read where
RECSYS_BENCH_DATA has a folder `ml-20m`; ml-latest-small shows that it runs.
"""

from __future__ import annotations

import argparse
import os
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import numpy as np
import pandas as pd
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from recsys.data.interactions import read_interactions
from recsys.evaluation.published import (
    LeaveOneOut,
    leave_one_out,
    sampled_metrics,
    strong_generalisation,
)
from recsys.models.blending import scaled
from recsys.models.ease import Ease
from recsys.models.hybrid import fit_hybrid
from recsys.models.item_to_item import ItemToItemModel, NeighbourScorer, binary
from recsys.models.itemknn import ItemKnn
from recsys.models.popularity import Popularity
from recsys.models.rp3beta import Rp3Beta
from recsys.ranking.factors import Factors
from recsys.ranking.metrics import bootstrap_interval, evaluate
from recsys.ranking.neighbours import Neighbours, blended
from recsys.ranking.scorer import Scorer

LIKED = 4.0
KEPT = 2_000
GRIDS: dict[str, list[ItemToItemModel]] = {
    "EASE": [
        Ease(regularization, dropout, KEPT)
        for regularization in (20.0, 100.0, 300.0)
        for dropout in (0.0, 0.5)
    ],
    "RP3beta": [
        Rp3Beta(alpha, beta, KEPT) for alpha in (0.5, 0.8, 1.1) for beta in (0.1, 0.3, 0.5)
    ],
    "ItemKNN": [ItemKnn(shrinkage, kept) for shrinkage in (5.0, 50.0) for kept in (100, 500, KEPT)],
}
LIGHTFM = {
    "no_components": 128, "max_sampled": 50, "learning_rate": 0.05,
    "user_alpha": 3e-4, "item_alpha": 3e-4,
}  # fmt: skip
EPOCHS, WEIGHTS = 60, (1.0, 2.0, 4.0)


@dataclass(frozen=True)
class Fitted:
    """All models, each fitted once on the same interactions; blends need no further fit."""

    interactions: sp.csr_matrix
    scorers: dict[str, Scorer]
    lightfm: Factors
    ease: Neighbours

    @classmethod
    def on(cls, interactions: sp.csr_matrix, chosen: dict[str, ItemToItemModel], seed: int) -> Self:
        """Fit LightFM and the chosen item-to-item models."""
        neighbours = {name: model.neighbours(interactions) for name, model in chosen.items()}
        found: dict[str, Scorer] = {"popularity": Popularity().fit(interactions, seed=seed)}
        for name, weights in neighbours.items():
            found[name] = NeighbourScorer(weights, interactions)
        lightfm = fit_hybrid(interactions, LIGHTFM, EPOCHS, seed).factors
        found["LightFM"] = lightfm
        return cls(interactions, found, lightfm, neighbours["EASE"])

    def blend(self, weight: float) -> Scorer:
        """LightFM and EASE, whose scores spread `weight` times as much."""
        added = scaled(self.ease, self.lightfm, self.interactions, weight)
        return blended(self.lightfm, added, self.interactions)


def best(
    models: Iterable[ItemToItemModel], value: Callable[[Scorer], float], on: sp.csr_matrix
) -> ItemToItemModel:
    return max(models, key=lambda model: value(model.fit(on)))


def citeulike(folder: Path, seed: int) -> None:
    whole = read_interactions(folder / "likes.psv")[0].matrix()
    outer = leave_one_out(whole, seed=seed)
    inner = leave_one_out(outer.train, seed=seed + 1)

    def ndcg(split: LeaveOneOut) -> Callable[[Scorer], float]:
        return lambda scorer: float(sampled_metrics(scorer, split)["ndcg_at_10"].mean())

    inside = binary(inner.train)
    chosen = {name: best(grid, ndcg(inner), inside) for name, grid in GRIDS.items()}
    blends = Fitted.on(inside, {"EASE": chosen["EASE"]}, seed)
    weight = max(WEIGHTS, key=lambda each: ndcg(inner)(blends.blend(each)))
    print(
        f"citeulike-a, seed {seed}: {len(outer.users):,} users, {whole.shape[1]:,} items; "
        f"blended at weight {weight:g}; {chosen['EASE']}",
        flush=True,
    )
    fitted = Fitted.on(binary(outer.train), chosen, seed)
    for name, scorer in [*fitted.scorers.items(), ("blend", fitted.blend(weight))]:
        found = sampled_metrics(scorer, outer)
        cells = [f"{metric} {_said(values, seed)}" for metric, values in found.items()]
        print(f"  {name:10} {'; '.join(cells)}", flush=True)


def movielens(ratings: Path, heldout: int, seed: int) -> None:
    whole = movielens_likes(ratings)
    split = strong_generalisation(whole, heldout=heldout, seed=seed)
    inner = strong_generalisation(split.train, heldout=heldout, seed=seed + 1)
    print(
        f"{ratings.parent.name}, seed {seed}: {split.train.shape[0]:,} users to learn from, "
        f"{heldout:,} held out"
    )
    for name, grid in GRIDS.items():
        model = max(
            grid,
            key=lambda each: _of_heldout(each, inner.train, inner.shown, inner.hidden)[
                "ndcg_at_100"
            ].mean(),
        )
        found = _of_heldout(model, split.train, split.shown, split.hidden)
        print(
            f"  {name:10} " + "; ".join(f"{metric} {_said(v, seed)}" for metric, v in found.items())
        )


def movielens_likes(ratings: Path) -> sp.csr_matrix:
    """Ratings of 4 and more, from `ratings.csv` of MovieLens, with a header or without."""
    with ratings.open(encoding="utf-8") as opened:
        header = 0 if opened.readline().startswith("userId") else None
    table = pd.read_csv(ratings, header=header, names=["user", "item", "rating", "time"])
    liked = table[table["rating"] >= LIKED]
    users, items = (pd.factorize(liked[name], sort=True)[0] for name in ("user", "item"))
    ones = np.ones(len(liked), np.float32)
    found = sp.csr_matrix((ones, (users, items)))
    found.sort_indices()
    return found


def _of_heldout(
    model: ItemToItemModel, train: sp.csr_matrix, shown: sp.csr_matrix, hidden: sp.csr_matrix
) -> dict[str, np.ndarray]:
    """A model that is asked for users it has never seen; recall as in the paper.

    There the hits are divided by the length of the list, where more items are hidden than that.
    """
    scorer = NeighbourScorer(model.neighbours(binary(train)), shown)
    per_user = evaluate(scorer, hidden, known=shown, ks=(20, 50, 100), auc=False).per_user
    counts = np.diff(hidden.indptr)
    counts = counts[counts > 0]
    found = {"ndcg_at_100": per_user["ndcg_at_100"]}
    for k in (20, 50):
        found[f"recall_at_{k}"] = per_user[f"recall_at_{k}"] * counts / np.minimum(counts, k)
    return found


def _said(values: np.ndarray, seed: int) -> str:
    interval = bootstrap_interval(values, seed)
    return f"{interval.mean:.4f} ({interval.low:.4f}..{interval.high:.4f})"


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Measure under published protocols.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", choices=["citeulike-a", "ml-20m", "ml-latest-small"])
    options = parser.parse_args(arguments)
    folder = os.environ.get("RECSYS_BENCH_DATA")
    if not folder:
        print("RECSYS_BENCH_DATA does not name the folder of the data sets")
        return
    with threadpool_limits(1):
        for name, heldout in (("ml-latest-small", 100), ("ml-20m", 10_000), ("citeulike-a", 0)):
            if options.only not in (None, name) or not (Path(folder) / name).is_dir():
                continue
            if heldout:
                movielens(Path(folder) / name / "ratings.csv", heldout, options.seed)
            else:
                citeulike(Path(folder) / name, options.seed)


if __name__ == "__main__":
    main()
