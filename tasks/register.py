"""Register: figures logged on the study's run, the bundle registered, `champion` moved."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from recsys import serving
from recsys.config import Config
from recsys.progress import StageDone, StageStarted, tell
from recsys.recommender import Recommender, bundle_digest
from recsys.stages import Stage
from recsys.tracking import Tracker, flat

# A figure is a metric of the run when it is one number; intervals go beside it.
BOUNDS = ("mean", "low", "high")


@task(name="register", task_run_name="register", cache_policy=NO_CACHE)
def _register(config: Config, tuned: Stage, measured: Stage, fitted: Stage) -> str:
    bundle = Path(fitted.path) / "bundle"
    manifest = Recommender.load(bundle).manifest
    uri, model = config.tracking.uri, config.model
    tracker = Tracker.connect(uri, config.experiment)
    digest = bundle_digest(manifest)
    reigning = serving.champion_version(uri, model)
    if reigning is not None and reigning[1].get("bundle") == digest:
        return reigning[0]
    # The study's key is in the name of its product.
    key = Path(tuned.path).name.removeprefix("tune-")
    params = flat(config.model_dump(mode="json", exclude_none=True))
    run_id = tracker.open_study(key, config.title, params)
    tracker.log(run_id, _metrics(measured))
    number = serving.register(uri, run_id, model, bundle, _tags(manifest, digest))
    tracker.client.set_terminated(run_id, "FINISHED")
    serving.promote(uri, model, number)
    return number


def _metrics(measured: Stage) -> list[tuple[str, float, int]]:
    """Every figure of the leaderboard as MLflow names it: `test/precision_at_5`."""
    holdout = "val" if measured.counts["holdout"] == "validation" else "test"
    found: list[tuple[str, float, int]] = []
    for entry in measured.read_json("leaderboard.json"):
        prefix = holdout if entry["model"] == "lightfm" else f"{holdout}_{entry['model']}"
        for name, estimate in entry["metrics"].items():
            for bound in BOUNDS:
                suffix = "" if bound == "mean" else f"_{bound}"
                if estimate[bound] is not None:
                    found.append((f"{prefix}/{name}{suffix}", estimate[bound], 0))
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
    before = serving.champion_version(config.tracking.uri, config.model)
    number = _register(config, tuned, measured, fitted)
    reused = before is not None and before[0] == number
    tell(StageDone("register", reused, 0.0, {"model": config.model, "version": number}))
    return number
