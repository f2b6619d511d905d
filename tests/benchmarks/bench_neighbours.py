"""Item-to-item models, LightFM and their blend: one test holdout, paired by user.

LightFM, the item-to-item models and the blend are tuned by the pipeline's own study, without
features and within a small budget; ALS and BPR by the pipeline's trials. All are refit on train and
validation and measured once on test. The sample is bundled; citeulike-a and ml-latest-small are
measured where RECSYS_BENCH_DATA says where they are.
"""

from __future__ import annotations

import argparse
import json
import os
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from recsys.base.config import Search
from recsys.data.interactions import InteractionColumns, Interactions, read_interactions
from recsys.data.kcore import kcore
from recsys.data.splits import Split, split
from recsys.evaluation.metric_names import BLEND, LIGHTFM, MODEL_LABELS
from recsys.models.blending import without_neighbours
from recsys.models.hybrid import fit_hybrid
from recsys.models.model import Model, model_from_dict
from recsys.models.popularity import Popularity
from recsys.pipeline.model_seconds import searched_seconds
from recsys.ranking.metrics import evaluate, paired_bootstrap
from recsys.ranking.scorer import Scorer
from recsys.tuning.baselines import SPACES, tune_baseline
from recsys.tuning.closed_forms import best_closed_forms
from recsys.tuning.problems import Problem
from recsys.tuning.study import study_strategies
from tests.benchmarks.bench_search import SAMPLE, SEEDS

DATA_SETS = ("ml-latest-small", "sample", "citeulike-a")
METRICS = ("precision_at_5", "ndcg_at_10")
LIKED = 4.0  # stars from which a rating is a like

Result = dict[str, Any]


def available() -> list[str]:
    """The bundled sample, and what lies where RECSYS_BENCH_DATA says."""
    folder = os.environ.get("RECSYS_BENCH_DATA")
    there = [name for name in DATA_SETS if folder and (Path(folder) / name).is_dir()]
    return [name for name in DATA_SETS if name == "sample" or name in there]


def load(dataset: str, seed: int) -> Split:
    """The k-core of a data set, split as the pipeline does."""
    return split(kcore(interactions_of(dataset), 5, 5).interactions, seed=seed)


def interactions_of(dataset: str) -> Interactions:
    if dataset == "sample":
        return read_interactions(SAMPLE)[0]
    folder = Path(os.environ["RECSYS_BENCH_DATA"]) / dataset
    if dataset == "citeulike-a":
        return read_interactions(folder / "likes.psv")[0]
    names = ["user", "item", "rating", "seconds"]
    ratings = pd.read_csv(folder / "ratings.csv", names=names, dtype={"user": str, "item": str})
    liked = ratings.loc[ratings["rating"] >= LIKED, ["user", "item"]]
    return read_interactions(liked, InteractionColumns("user", "item", name=None))[0]


def measure(parts: Split, seed: int, options: argparse.Namespace) -> Result:
    """Tune all models on one split; what each reaches on test for every user, and what it cost."""
    search = Search(
        trials=options.trials,
        max_epochs=options.max_epochs,
        item_to_item_trials=options.item_to_item_trials,
    )
    study = study_strategies(Problem(parts.train, parts.validation, seed=seed), search, seed)
    (blended,) = [trial for trial in study.trials if "neighbours" in trial.configuration]
    closed = best_closed_forms(study.trials)
    searched = searched_seconds(study)
    searched[BLEND] = sum(
        searched.get(part, 0.0) for part in (LIGHTFM, blended.configuration["neighbours"])
    )
    baselines: dict[str, Model] = {}
    for name in SPACES:
        start = time.process_time()
        with threadpool_limits(1):
            baselines[name] = tune_baseline(
                name, parts.train, parts.validation, trials=options.baseline_trials, seed=seed
            )[0]
        searched[name] = time.process_time() - start
    known = parts.refit_train()

    def hybrid(configuration: Mapping[str, Any]) -> Scorer:
        assert blended.best is not None
        return fit_hybrid(known, configuration, blended.best.epoch, seed).scorer(known)

    fits: dict[str, Callable[[], Scorer]] = {
        "popularity": lambda: Popularity().fit(known, seed=seed),
        LIGHTFM: lambda: hybrid(without_neighbours(blended.configuration)),
        BLEND: lambda: hybrid(blended.configuration),
    }
    closed_models = {name: model_from_dict(t.configuration) for name, t in closed.items()}
    for name, model in (baselines | closed_models).items():
        fits[name] = lambda model=model: model.fit(known, seed=seed)  # type: ignore[misc]
    found = {name: _measured(fit, parts.test, known) for name, fit in fits.items()}
    for name, entry in found.items():
        entry["searched"] = searched.get(name, 0.0)
    return {
        "models": found,
        "configuration": blended.configuration,
        "won": "neighbours" in study.best.configuration,
    }


def _measured(fit: Callable[[], Scorer], test: sp.csr_matrix, known: sp.csr_matrix) -> Result:
    start = time.process_time()
    with threadpool_limits(1):
        scorer = fit()
    seconds = time.process_time() - start
    per_user = evaluate(scorer, test, known=known, ks=(5, 10), auc=False).per_user
    return {"fitted": seconds, **{metric: per_user[metric].tolist() for metric in METRICS}}


def run(dataset: str, seed: int, options: argparse.Namespace) -> Result:
    """One data set and seed, or what an earlier run of the benchmark found: studies take long."""
    budget = f"{options.trials}-{options.item_to_item_trials}-{options.max_epochs}"
    path = options.folder / f"neighbours-{dataset}-{seed}-{budget}.json"
    if path.exists():
        return dict(json.loads(path.read_text(encoding="utf-8")))
    found = measure(load(dataset, seed), seed, options)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found), encoding="utf-8")
    return found


def table(title: str, found: Sequence[Result], seed: int = 0) -> list[str]:
    """A line for each model: its means, how far the blend is ahead of it, and CPU seconds."""
    lines = [title]
    for name, label in MODEL_LABELS.items():
        if any(name not in one["models"] for one in found):
            continue
        cells = []
        for metric in METRICS:
            own, theirs = (
                np.concatenate([np.asarray(one["models"][model][metric]) for one in found])
                for model in (BLEND, name)
            )
            ahead = paired_bootstrap(own, theirs, seed)
            difference = f" (blend {ahead.mean:+.4f}, {ahead.low:+.4f}..{ahead.high:+.4f})"
            cells.append(f"{metric} {theirs.mean():.4f}{difference if name != BLEND else ''}")
        searched, fitted = (
            sum(one["models"][name][part] for one in found) for part in ("searched", "fitted")
        )
        cells.append(f"CPU {searched:.1f} s of search, {fitted:.1f} s of fit")
        lines.append(f"  {label:10} {'; '.join(cells)}")
    return lines


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Compare item-to-item models, LightFM, the blend.")
    parser.add_argument("--folder", type=Path, default=Path("data/output/bench"))
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    parser.add_argument("--dataset", choices=DATA_SETS)
    parser.add_argument("--trials", type=int, default=6, help="LightFM's")
    parser.add_argument("--item-to-item-trials", type=int, default=6, help="of each model")
    parser.add_argument("--baseline-trials", type=int, default=16, help="of ALS and of BPR")
    parser.add_argument("--max-epochs", type=int, default=100)
    options = parser.parse_args(arguments)
    everything: list[Result] = []
    for dataset in [options.dataset] if options.dataset else available():
        for seed in options.seeds:
            found = run(dataset, seed, options)
            everything.append(found)
            users = len(found["models"][BLEND][METRICS[0]])
            chosen = found["configuration"]
            said = (
                f"{dataset} seed {seed}: {users:,} test users, blended with {chosen['neighbours']} "
                f"at weight {chosen['neighbours_weight']:g}, "
                f"{'best' if found['won'] else 'not best'} on validation"
            )
            print("\n".join(table(said, [found])))
    print("\n".join(table("all of these, each user once for every seed", everything)))


if __name__ == "__main__":
    main()
