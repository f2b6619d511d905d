"""What features are good for: all strategies in one study, on real data, as the pipeline runs.

Warm users, cold items, new users and hidden tags; controls and baselines beside them. The sample
is bundled; citeulike-a is measured where RECSYS_BENCH_DATA says where it is.
"""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from recsys.base.config import Config
from recsys.base.config_file import load_config
from recsys.pipeline import evaluation, preparation, tuning
from tests.benchmarks.bench_search import SAMPLE, data_sets


def configure(options: argparse.Namespace, dataset: str, seed: int, interim: Path) -> Config:
    folder, end = SAMPLE.parent, ".psv.gz"
    if dataset != "sample":
        folder, end = Path(os.environ["RECSYS_BENCH_DATA"]) / dataset, ".psv"
    values = {
        "data.likes": str(folder / f"likes{end}"),
        "data.features": str(folder / f"feats{end}"),
        "search.trials": options.trials,
        "search.joint_trials": options.joint,
        "search.max_epochs": options.max_epochs,
        "evaluate.baseline_trials": 1,
        "storage.interim": str(interim),
        "seed": seed,
    }
    return load_config(None, values)


def study(config: Config, workers: int) -> dict[str, Any]:
    """Run all stages up to the evaluation; what it found of strategies."""
    interim, data = Path(config.storage.interim), config.data
    assert data is not None
    ingested = preparation.ingest(interim, data, preparation.sources_of(data))
    core = preparation.threshold(interim, ingested, config.threshold)
    holdouts = preparation.split(interim, ingested, core, config.split, config.seed)
    features = preparation.encode(interim, ingested, core, config.encode)
    tuned = tuning.tune(interim, holdouts, features, config.search, config.seed, workers=workers)
    measured = evaluation.evaluate(
        interim, holdouts, features, tuned, config.evaluate, config.seed, workers=workers
    )
    return {
        **measured.read_json("strategies.json"),
        "tried": tuned.counts()["strategies"],
        "seconds": dict(measured.seconds),
    }


def run(options: argparse.Namespace, dataset: str, seed: int) -> dict[str, Any]:
    """One data set and seed, or what an earlier run of the benchmark found: studies take long."""
    folder = options.folder
    path = folder / f"strategies-{dataset}-{seed}.json"
    if path.exists():
        return dict(json.loads(path.read_text()))
    with tempfile.TemporaryDirectory() as interim:
        found = study(configure(options, dataset, seed, Path(interim)), workers=2)
    folder.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(found))
    return found


def estimate(entry: Mapping[str, float]) -> str:
    return f"{entry['mean']:.4f} ({entry['low']:.4f}..{entry['high']:.4f})"


def lines(dataset: str, seed: int, found: Mapping[str, Any]) -> list[str]:
    """The bars and what was measured, a line each."""
    report = [f"{dataset} seed {seed}: winner {found['winner']}"]
    ground = found["seconds"]["none"]
    for name, entry in found["warm"].items():
        above = f", above none by {estimate(entry['above_none'])}" if "above_none" in entry else ""
        report.append(
            f"  warm  {name:8} {estimate(entry['precision_at_5'])}{above}; "
            f"CPU {found['seconds'][name] / ground:.2f} of none"
        )
    cold = {name: m["precision_at_5"] for name, m in found["cold"]["models"].items()}
    for name, entry in cold.items():
        report.append(
            f"  cold  {name:8} {estimate(entry)}; "
            f"{entry['mean'] / cold['content']['mean']:.2f} of content"
        )
    if "joint" in cold:
        report.append(
            f"  cold  mapped is {cold['mapped']['mean'] / cold['joint']['mean']:.2f} joint"
        )
    for row in found["blend"]:
        blends = ", ".join(f"{name}: {value:.4f}" for name, value in row["blend"].items())
        report.append(
            f"  {row['likes']} likes: own {row['own']:.4f}, tags {row['features']:.4f}, "
            f"by blending {blends}"
        )
    foldin, asked = found["foldin"], found["suggestion"]
    report.append(
        f"  new users: {foldin['foldin']:.4f} of trained {foldin['trained']:.4f}, "
        f"{foldin['share']:.1%} ({foldin['users']} users)"
    )
    report.append(
        f"  hidden tags, recall_at_10: {asked['neighbours']:.3f}, co-occurrence "
        f"{asked['co_occurrence']:.3f}, popularity {asked['popularity']:.3f}"
    )
    return report


def main(arguments: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description="Compare what features are good for.")
    parser.add_argument("--folder", type=Path, default=Path("data/output/bench"))
    parser.add_argument("--seeds", type=int, nargs="+", default=[0])
    parser.add_argument("--dataset", choices=["citeulike-a", "sample"])
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--joint", type=int, default=6)
    parser.add_argument("--max-epochs", type=int, default=260)
    options = parser.parse_args(arguments)
    for dataset in [options.dataset] if options.dataset else data_sets():
        for seed in options.seeds:
            found = run(options, dataset, seed)
            print("\n".join(lines(dataset, seed, found)))


if __name__ == "__main__":
    main()
