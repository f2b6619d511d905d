"""A half-life and a window, tuned by the study or not: one test holdout in time, paired by user.

ml-latest-small, ratings of four stars and more, each user's last likes held out. Two studies of as
many trials, of which one searches `half_life` and `window` as well; what each chose is refit on
train and validation and measured once on test: of all users, and of those whose held-out likes are
of the last years. RECSYS_BENCH_DATA says where the data are.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from recsys.base.arrays import BoolArray, Float64Array
from recsys.base.config import Search
from recsys.base.dimensions import Choice, Dimension, Space
from recsys.data.interactions import InteractionColumns, Interactions, read_interactions
from recsys.data.kcore import kcore
from recsys.data.splits import Split, split, times_of
from recsys.evaluation.metric_names import BLEND, LIGHTFM
from recsys.models.blending import without_neighbours
from recsys.models.hybrid import fit_hybrid
from recsys.models.model import model_from_dict
from recsys.ranking.metrics import evaluate, paired_bootstrap
from recsys.ranking.scorer import Scorer
from recsys.tuning.closed_forms import best_closed_forms
from recsys.tuning.problems import Problem
from recsys.tuning.study import best_of, study_strategies
from tests.benchmarks.bench_neighbours import LIKED
from tests.benchmarks.bench_search import SEEDS

AGES: Space = {
    "half_life": Choice(values=["none", "10y", "5y", "2y", "1y"]),
    "window": Choice(values=["none", "10y", "5y", "2y"]),
}
RECENT = 2 * 365.25  # days before the latest interaction


@dataclass(frozen=True)
class Found:
    """What a study chose of each model, and what it reached for each test user."""

    chosen: dict[str, str]
    precision: dict[str, Float64Array]
    seconds: float


def interactions() -> Interactions:
    """The core of the ratings that are likes, with their times."""
    path = Path(os.environ["RECSYS_BENCH_DATA"]) / "ml-latest-small/ratings.csv"
    names = ["user", "item", "rating", "seconds"]
    ratings = pd.read_csv(path, names=names, dtype={"user": str, "item": str})
    columns = InteractionColumns("user", "item", name=None, timestamp="seconds", rating="")
    likes = read_interactions(ratings[ratings["rating"] >= LIKED], columns)[0]
    return kcore(likes, 5, 5).interactions


def recent(whole: Interactions, parts: Split) -> BoolArray:
    """Which test users have all their held-out likes in the last years: bool (n_test_users,)."""
    times = times_of(whole)
    assert times is not None
    users = np.flatnonzero(np.diff(parts.test.indptr))
    oldest = np.maximum.reduceat(times.ages(parts.test), parts.test.indptr[users])
    return np.asarray(oldest <= RECENT)


def measure(parts: Split, ages: Space, seed: int, options: argparse.Namespace) -> Found:
    """Run a study, refit what it chose of each model, and measure it on test."""
    start = time.process_time()
    search = Search(
        trials=options.trials,
        max_epochs=options.max_epochs,
        item_to_item_trials=options.item_to_item_trials,
        space={"no_components": options.components, **ages},
    )
    problem = Problem(parts.train, parts.validation, seed=seed, times=parts.times())
    study = study_strategies(problem, search, seed)
    seconds = time.process_time() - start
    known, times = parts.final()[0], parts.final_times()
    chosen = {name: trial.configuration for name, trial in best_closed_forms(study.trials).items()}
    scorers: dict[str, Scorer] = {
        name: model_from_dict(values).fit(known, seed=seed, times=times)
        for name, values in chosen.items()
    }
    best = best_of(study.trials)
    assert best is not None
    assert best.best is not None
    for name, values in (
        (LIGHTFM, without_neighbours(best.configuration)),
        (BLEND, best.configuration),
    ):
        model = fit_hybrid(known, values, best.best.epoch, seed, times=times)
        scorers[name], chosen[name] = model.scorer(known), values
    if not ages:
        scorers["popularity"] = model_from_dict({"model": "popularity"}).fit(known)
    precision = {
        name: evaluate(scorer, parts.test, known=known, ks=(5,), auc=False).per_user[
            "precision_at_5"
        ]
        for name, scorer in scorers.items()
    }
    return Found({name: _ages(values) for name, values in chosen.items()}, precision, seconds)


def _ages(configuration: dict[str, object]) -> str:
    named = (
        f"{name} {value}"
        for name, value in configuration.items()
        if name.endswith(("half_life", "window")) and value != "none"
    )
    return ", ".join(named) or "none"


def table(title: str, without: Sequence[Found], with_ages: Sequence[Found]) -> list[str]:
    """A line for each model: without, with, and their difference, paired by user."""
    lines = [f"{title}: {sum(len(one.precision[BLEND]) for one in without):,} test users"]
    for name in with_ages[0].precision:
        old, new = (
            np.concatenate([one.precision[name] for one in arm]) for arm in (without, with_ages)
        )
        gain = paired_bootstrap(new, old, 0)
        lines.append(
            f"  {name:10} {old.mean():.4f} without, {new.mean():.4f} with "
            f"({gain.mean:+.4f}, {gain.low:+.4f}..{gain.high:+.4f})"
        )
    return lines


FIXED = (
    {"model": "popularity"},
    {"model": "ease", "regularization": 200.0, "dropout": 0.0},
    {"model": "lightfm", "no_components": 32, "epochs": 15},
)


def sweep(whole: Interactions, seeds: Sequence[int]) -> list[str]:
    """Models as they are with one half-life or window after the other; means of all seeds."""
    lines = ["precision at 5 of all test users, and of those of the last years"]
    all_parts = [split(whole, by_time=True, seed=seed) for seed in seeds]
    cases = [
        {},
        *({name: value} for name, dimension in AGES.items() for value in _asked(dimension)),
    ]
    for values in FIXED:
        for aging in cases:
            model, means = model_from_dict({**values, **aging}), []
            for seed, parts in zip(seeds, all_parts, strict=True):
                scorer = model.fit(parts.final()[0], seed=seed, times=parts.final_times())
                per_user = evaluate(scorer, parts.test, known=parts.final()[0], ks=(5,), auc=False)
                found = per_user.per_user["precision_at_5"]
                means.append((found, found[recent(whole, parts)]))
            every, late = (np.concatenate(part).mean() for part in zip(*means, strict=True))
            said = ", ".join(f"{name} {value}" for name, value in aging.items()) or "none"
            lines.append(f"  {values['model']:10} {said:16} {every:.4f} {late:.4f}")
    return lines


def _asked(dimension: Dimension) -> list[str]:
    assert isinstance(dimension, Choice)
    return [str(value) for value in dimension.values if value != "none"]


def _of(found: Found, users: BoolArray) -> Found:
    kept = {name: values[users] for name, values in found.precision.items()}
    return Found(found.chosen, kept, found.seconds)


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Tune a half-life and a window, or neither.")
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--trials", type=int, default=10, help="LightFM's")
    parser.add_argument("--item-to-item-trials", type=int, default=10, help="of each model")
    parser.add_argument("--max-epochs", type=int, default=60)
    parser.add_argument("--components", type=int, default=32)
    parser.add_argument("--sweep", action="store_true", help="of fixed configurations instead")
    options = parser.parse_args(arguments)
    whole = interactions()
    if options.sweep:
        print("\n".join(sweep(whole, options.seeds)))
        return
    arms: tuple[list[Found], list[Found]] = [], []
    late: tuple[list[Found], list[Found]] = [], []
    for seed in options.seeds:
        parts = split(whole, by_time=True, seed=seed)
        users = recent(whole, parts)
        for arm, of_late, ages in zip(arms, late, ({}, AGES), strict=True):
            arm.append(measure(parts, ages, seed, options))
            of_late.append(_of(arm[-1], users))
            print(f"seed {seed}: CPU {arm[-1].seconds:.0f} s of search", flush=True)
        chosen = "; ".join(f"{name}: {value}" for name, value in arms[1][-1].chosen.items())
        print(f"seed {seed} chose {chosen}")
        print("\n".join(table(f"seed {seed}", arms[0][-1:], arms[1][-1:])), flush=True)
    print("\n".join(table("all seeds", *arms)))
    print("\n".join(table(f"of the last {RECENT:.0f} days", *late)))


if __name__ == "__main__":
    main()
