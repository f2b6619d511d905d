"""Register: figures logged on the study's run, the bundle registered, `champion` moved."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from recsys import serving
from recsys.bundle import bundle_digest, load_bundle
from recsys.config import Config
from recsys.progress import StageDone, StageStarted, tell
from recsys.stages import Stage
from recsys.tracking import Tracker, flat


@task(name="register", task_run_name="register", cache_policy=NO_CACHE)
def _register(config: Config, tuned: Stage, measured: Stage, fitted: Stage) -> str:
    bundle = Path(fitted.path) / "bundle"
    manifest = load_bundle(bundle).manifest
    uri, model = config.tracking.uri, config.model
    tracker = Tracker.connect(uri, config.experiment)
    digest = bundle_digest(manifest)
    reigning = serving.champion_version(uri, model)
    if reigning is not None and reigning[1].get("bundle") == digest:
        return reigning[0]
    # The study's key is in the name of its product.
    key = Path(tuned.path).name.removeprefix("tune-")
    params = flat(config.model_dump(mode="json", exclude_none=True))
    run_id = tracker.open_study(key, f"{config.title}, seed {config.seed}", params)
    tracker.log(run_id, _metrics(measured))
    number = serving.register(uri, run_id, model, bundle, _tags(manifest, digest))
    tracker.client.set_terminated(run_id, "FINISHED")
    serving.promote(uri, model, number)
    return number


def _metrics(measured: Stage) -> list[tuple[str, float, int]]:
    """Every figure as MLflow names it (`test/precision_at_5`); the headline with its interval."""
    # With one holdout the search has seen it; `val` is what the search itself measured.
    holdout = "holdout" if measured.counts["holdout"] == "validation" else "test"
    found: list[tuple[str, float, int]] = []
    for entry in measured.read_json("leaderboard.json"):
        prefix = holdout if entry["model"] == "lightfm" else f"{holdout}_{entry['model']}"
        for name, estimate in entry["metrics"].items():
            found.append((f"{prefix}/{name}", estimate["mean"], 0))
            if name == "precision_at_5":
                found += [(f"{prefix}/{name}_{end}", estimate[end], 0) for end in ("low", "high")]
    return found + _side_metrics(measured)


def _side_metrics(measured: Stage) -> list[tuple[str, float, int]]:
    """What features and fold-in are good for: `cold/precision_at_5` is that of the winner."""
    compared = measured.read_json("strategies.json")
    winner, found = compared["winner"], []
    for name, metrics in compared.get("cold", {}).get("models", {}).items():
        prefix = "cold" if name == winner else f"cold_{name}"
        found += [(f"{prefix}/{metric}", entry["mean"], 0) for metric, entry in metrics.items()]
    for name, entry in compared.get("warm", {}).items():
        found.append((f"strategy_{name}/precision_at_5", entry["precision_at_5"]["mean"], 0))
    for name, seconds in measured.counts["seconds"].items():
        found.append((f"strategy_{name}/cpu_seconds", seconds, 0))
    if foldin := compared.get("foldin"):
        found.append(("foldin/share_of_trained", foldin["share"], 0))
    for name, value in compared.get("suggestion", {}).items():
        if isinstance(value, float):
            found.append((f"suggestion_{name}/recall_at_10", value, 0))
    return found


def _tags(manifest: Any, digest: str) -> dict[str, str]:
    precision = manifest["metrics"]["precision_at_5"]
    return {
        "bundle": digest,
        "data_fingerprint": str(manifest["data_fingerprint"]),
        "seed": str(manifest["seed"]),
        "configuration": ", ".join(f"{k}={v}" for k, v in manifest["configuration"].items()),
        f"{manifest['holdout']}/precision_at_5": f"{precision['mean']:.4f}",
        "interval": f"{precision['low']:.4f} to {precision['high']:.4f}",
        "libraries": ", ".join(f"{k} {v}" for k, v in manifest["library_versions"].items()),
    }


def register(config: Config, tuned: Stage, measured: Stage, fitted: Stage) -> str:
    """The registered version that answers for this bundle; the reigning one if it is the same."""
    tell(StageStarted("register"))
    start = time.monotonic()
    before = serving.champion_version(config.tracking.uri, config.model)
    number = _register(config, tuned, measured, fitted)
    reused = before is not None and before[0] == number
    counts = {"model": config.model, "version": number}
    tell(StageDone("register", reused, time.monotonic() - start, counts))
    return number
