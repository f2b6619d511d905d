"""Tuned LightFM against tuned ALS: equal CPU seconds of search, one test holdout, paired by user.

The LightFM side is what `bench_search` found in the pipeline's own space. ALS (implicit) gets as
many CPU seconds on the same train and validation holdouts, its library's defaults first. Both are
refit on train and validation and measured once on test.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from recsys.models.hybrid import fit_hybrid
from recsys.ranking.metrics import bootstrap_interval, paired_bootstrap, precision_at_k
from recsys.tuning.baselines import tune_baseline
from tests.benchmarks.bench_search import data_sets, load, run


def compare(dataset: str, seed: int, folder: Path) -> dict[str, Any]:
    """Both sides of one data set and seed, or what an earlier call found: it takes long."""
    path = folder / f"als-{dataset}-{seed}.json"
    if path.exists():
        return dict(json.loads(path.read_text()))
    best = run(dataset, seed, "ours, full space", folder)
    parts = load(dataset, seed)
    known = parts.refit_train()
    lightfm = fit_hybrid(known, best.configuration, best.epochs, seed).factors
    als, validation = tune_baseline(
        "als", parts.train, parts.validation, trials=10**6, seed=seed, seconds=best.seconds
    )
    ours, theirs = (
        precision_at_k(factors, parts.test, known=known, k=5)
        for factors in (lightfm, als.fit(known, seed=seed))
    )
    result = {
        "seconds": best.seconds,
        "lightfm": asdict(bootstrap_interval(ours, seed)),
        "als": asdict(bootstrap_interval(theirs, seed)),
        "difference": asdict(paired_bootstrap(ours, theirs, seed)),
        "validation": {"lightfm": best.best, "als": validation},
        "configuration": als.hyperparameters(),
    }
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(result))
    return result


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Tuned LightFM against tuned ALS.")
    parser.add_argument("--folder", type=Path, default=Path("data/output/bench"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--dataset", choices=["citeulike-a", "sample"])
    options = parser.parse_args(arguments)
    for dataset in [options.dataset] if options.dataset else data_sets():
        for seed in options.seeds:
            one = compare(dataset, seed, options.folder)
            texts = [
                f"{name} {one[name]['mean']:.4f} ({one[name]['low']:.4f}..{one[name]['high']:.4f})"
                for name in ("lightfm", "als", "difference")
            ]
            print(f"{dataset} seed {seed}: test precision_at_5 {', '.join(texts)}")


if __name__ == "__main__":
    main()
