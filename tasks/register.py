"""Register: figures and verdict logged on the study's run, the bundle registered as challenger."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from prefect import task
from prefect.cache_policies import NO_CACHE

from recsys.base.config import Config
from recsys.base.events import StageDone, StageStarted, emit
from recsys.bundle import bundle_digest, load_bundle
from recsys.data.outcomes import Thresholded
from recsys.evaluation.gate import Verdict
from recsys.evaluation.metric_names import leaderboard_metrics, metric_tags, strategy_metrics
from recsys.pipeline.outcomes import Chosen, Evaluated, Fitted, Judged
from recsys.serving import pyfunc
from recsys.store.stages import Stage
from recsys.tracking.faults import tracking_errors
from recsys.tracking.registry import Registry, open_registry
from recsys.tracking.runs import Tracker
from recsys.tracking.versions import BUNDLE, JUDGED_AGAINST
from tasks.opening import connected, opened

FILES = ("verdict.json", "verdict.md", "per_user.parquet", "churn.json")
JUDGED = "judged"  # the digest of the verdict: everything that is told of it has been


@task(name="register", task_run_name="register", cache_policy=NO_CACHE)
def _register(
    config: Config,
    core: Stage[Thresholded],
    tuned: Stage[Chosen],
    measured: Stage[Evaluated],
    fitted: Stage[Fitted],
    verdict: Stage[Judged],
) -> tuple[str, bool]:
    tracking = config.tracking
    bundle = fitted.file("bundle")
    manifest = load_bundle(bundle).manifest
    digest = bundle_digest(manifest)
    registry = open_registry(tracking, config.model)
    tracker = connected(config)
    # Another run must not register the same bundle between the look and the deed.
    with registry.locked(Path(config.storage.interim)), tracking_errors(tracking.uri):
        known = registry.find(digest)
        number = known.number if known else ""
        if not known:
            run_id = _log(config, tracker, core, tuned, measured)
            tags = _tags(manifest, digest)
            number = pyfunc.register(
                tracking.uri, run_id, config.model, bundle, tags, tracking.patience
            )
        registry.challenge(number)
        if not known or known.tags.get(JUDGED) != verdict.digest:
            _tell_verdict(registry, tracker, number, verdict)
    return number, known is not None


def _log(
    config: Config,
    tracker: Tracker,
    core: Stage[Thresholded],
    tuned: Stage[Chosen],
    measured: Stage[Evaluated],
) -> str:
    """Log the figures on the run of the study, or of the refit; returns its id."""
    run_id = tracker.open_study(opened(config, tuned.key, core, tuned.outcome.kind))
    figures = leaderboard_metrics(measured.read_json("leaderboard.json"), measured.outcome.holdout)
    figures |= strategy_metrics(measured.read_json("strategies.json"), measured.seconds)
    tracker.log(run_id, [(name, value, 0) for name, value in figures.items()])
    return run_id


def _tags(manifest: Any, digest: str) -> dict[str, str]:
    return {
        BUNDLE: digest,
        "data_fingerprint": str(manifest["data_fingerprint"]),
        "seed": str(manifest["seed"]),
        "configuration": ", ".join(f"{k}={v}" for k, v in manifest["configuration"].items()),
        **metric_tags(manifest["metrics"], manifest["holdout"]),
        "libraries": ", ".join(f"{k} {v}" for k, v in manifest["library_versions"].items()),
    }


def _tell_verdict(
    registry: Registry, tracker: Tracker, number: str, verdict: Stage[Judged]
) -> None:
    """Say on the version, and on its run, what the gate found."""
    run_id = registry.version(number).run_id
    for name in FILES:
        if verdict.file(name).exists():
            tracker.client.log_artifact(run_id, str(verdict.file(name)), "gate")
    judged = Verdict.from_dict(verdict.read_json("verdict.json"))
    tags = {"gate": "passed" if judged.passed else "held"}
    for check in judged.checks:
        mark = "passed" if check.passed else "failed"
        tags[f"gate/{check.name}"] = f"{mark}: {check.found}, wanted {check.wanted}"
    tracker.log(run_id, tags=tags)
    # A run that is not terminated yet would look as if it went on.
    tracker.client.set_terminated(run_id, "FINISHED")
    tags[JUDGED_AGAINST] = verdict.outcome.champion or ""
    registry.tag(number, tags)
    registry.tag(number, {JUDGED: verdict.digest})


def register(
    config: Config,
    core: Stage[Thresholded],
    tuned: Stage[Chosen],
    measured: Stage[Evaluated],
    fitted: Stage[Fitted],
    verdict: Stage[Judged],
) -> str:
    """The version of this bundle, which is the challenger now; registered unless it was."""
    emit(StageStarted("register"))
    start = time.monotonic()
    number, known = _register(config, core, tuned, measured, fitted, verdict)
    counts = {"model": config.model, "version": number}
    emit(StageDone("register", known, time.monotonic() - start, counts))
    return number
