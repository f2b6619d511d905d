"""Registration: figures and verdict logged on a run, the bundle registered as challenger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys.bundle import bundle_digest, load_bundle
from recsys.evaluation.drift import drift_metrics
from recsys.evaluation.gate import Verdict
from recsys.evaluation.metric_names import (
    beyond_metrics,
    diversity_metrics,
    few_likes_metrics,
    gain_metrics,
    leaderboard_metrics,
    metric_tags,
    mlflow_name,
    newcomer_metrics,
    repeated_metrics,
    segment_metrics,
    strategy_metrics,
    winner_of,
)
from recsys.pipeline.drifting import FOUND, NIGHTS, PROFILE, load_found
from recsys.pipeline.evaluation import newcomers_of
from recsys.pipeline.model_seconds import timed_leaderboard
from recsys.pipeline.outcomes import Chosen, Drifted, Evaluated, Fitted, Judged, Repeated
from recsys.pipeline.tracked import Tracked
from recsys.serving import pyfunc
from recsys.store.stages import Stage
from recsys.tracking.faults import tracking_errors
from recsys.tracking.registry import Registry
from recsys.tracking.runs import StudyDescription, Tracker
from recsys.tracking.versions import (
    BUNDLE,
    DRIFT_PROFILE,
    GATE,
    GATE_HELD,
    JUDGED_AGAINST,
    JUDGED_REFERENCE,
    REFERENCE,
    Version,
)

VERDICT_FILES = ("verdict.json", "verdict.md", "per_user.parquet", "churn.json", "segments.json")
JUDGED = "judged"  # tag: digest of the verdict whose tags and files are all there


@dataclass(frozen=True)
class Registered:
    """The challenger's number, and whether its bundle had been registered before."""

    model: str
    version: str
    reused: bool

    def counts(self) -> dict[str, Any]:
        """Model and version."""
        return {"model": self.model, "version": self.version}


def register(
    tracked: Tracked,
    locks: Path,
    description: StudyDescription,
    chosen: Stage[Chosen],
    measured: Stage[Evaluated],
    fitted: Stage[Fitted],
    verdict: Stage[Judged],
    repeated: Stage[Repeated] | None = None,
    drifted: Stage[Drifted] | None = None,
) -> Registered:
    """Register the fitted bundle, unless it was, and make it the challenger.

    Parameters
    ----------
    tracked : Tracked
    locks : Path
        Folder for a lock that runs on a tracking server share.
    description : StudyDescription
        Names the run that figures and verdict are logged on.
    chosen, measured, fitted, verdict, repeated, drifted : Stage

    Raises
    ------
    RegistryError
        If the tracking server or database does not answer.
    """
    tracking, bundle = tracked.tracking, fitted.file("bundle")
    manifest = load_bundle(bundle).manifest
    digest = bundle_digest(manifest)
    tracker = tracked.tracker()  # first: it makes the database where there is none
    registry = tracked.registry()
    # Another run must not register the same bundle between the look and the deed.
    with registry.locked(locks), tracking_errors(tracking.uri):
        known = registry.find(digest)
        number = known.number if known else ""
        if not known:
            run_id = tracker.open_study(description)
            # With what the gate found, as MLflow sets each later tag in a request of its own.
            tags = version_tags(manifest, digest) | verdict_tags(_found(verdict))
            number = pyfunc.register(
                tracking.uri, run_id, tracked.model, bundle, tags, tracking.patience
            )
        registry.challenge(number)
        version = known or registry.version(number)
        if JUDGED not in version.tags:
            _log_figures(tracker, version, metrics(chosen, measured, fitted, repeated))
        if version.tags.get(JUDGED) != verdict.digest:
            if drifted is not None:
                _log_drift(registry, tracker, version, drifted)
            _log_verdict(registry, tracker, version, verdict)
    return Registered(tracked.model, number, known is not None)


def metrics(
    chosen: Stage[Chosen],
    measured: Stage[Evaluated],
    fitted: Stage[Fitted],
    repeated: Stage[Repeated] | None = None,
) -> dict[str, float]:
    """All figures of an evaluation, and of users with few likes, under MLflow's names."""
    board = timed_leaderboard(chosen, measured)
    winner = winner_of(board)
    compared = measured.read_json("strategies.json")
    return {
        **leaderboard_metrics(board, measured.outcome.holdout),
        **strategy_metrics(compared, measured.seconds),
        **few_likes_metrics(fitted.read_json("few_likes.json")),
        **diversity_metrics(measured.read_json("diversity.json")),
        **segment_metrics(measured.read_json("segments.json"), winner),
        **beyond_metrics(measured.read_json("beyond.json")),
        **newcomer_metrics(newcomers_of(measured)),
        **({} if repeated is None else repeated_metrics(repeated.read_json("repeated.json"))),
    }


def version_tags(manifest: Mapping[str, Any], digest: str) -> dict[str, str]:
    """Tags of a registered version: what its bundle was made from and how good it is.

    Parameters
    ----------
    manifest : mapping
        Of the bundle.
    digest : str
        Of the bundle; the version is found by it.
    """
    return {
        BUNDLE: digest,
        "data_fingerprint": str(manifest["data_fingerprint"]),
        "seed": str(manifest["seed"]),
        "configuration": ", ".join(f"{k}={v}" for k, v in manifest["configuration"].items()),
        **metric_tags(manifest["metrics"], manifest["holdout"]),
        "libraries": ", ".join(f"{k} {v}" for k, v in manifest["library_versions"].items()),
    }


def verdict_tags(verdict: Verdict) -> dict[str, str]:
    """Tags of a version and its run: `gate`, and one for each condition."""
    tags = {GATE: "passed" if verdict.passed else GATE_HELD}
    for check in verdict.checks:
        mark = "passed" if check.passed else "failed"
        tags[f"gate/{mlflow_name(check.label)}"] = f"{mark}: {check.found}, wanted {check.wanted}"
    return tags


def rival_tags(number: str, judged: Judged) -> dict[str, str]:
    """Tags of a version: what it was judged against, and the reference if it becomes champion."""
    compared = judged.reference or ""
    return {
        JUDGED_AGAINST: judged.champion or "",
        JUDGED_REFERENCE: compared,
        REFERENCE: number if judged.beats_reference or not compared else compared,
    }


def _log_figures(tracker: Tracker, version: Version, figures: Mapping[str, float]) -> None:
    """Log the figures of a version on its run and on its model.

    After the model: MLflow copies what its run knows, and asks a server for each metric alone. The
    time is the version's, so that what is logged again after a fault is there once.
    """
    entries = [(name, value, 0) for name, value in figures.items()]
    tracker.log(version.run_id, entries, at=version.created, model_id=version.model_id)


def _log_drift(
    registry: Registry, tracker: Tracker, version: Version, drifted: Stage[Drifted]
) -> None:
    """Keep the profile of the data for later nights, and what was found against earlier ones."""
    for name in (PROFILE, FOUND, NIGHTS):
        tracker.client.log_artifact(version.run_id, str(drifted.file(name)), "drift")
    figures = [(name, value, 0) for name, value in drift_metrics(load_found(drifted)).items()]
    tracker.log(version.run_id, figures, model_id=version.model_id)
    # Last: it says that the profile is there.
    registry.tag(version.number, {DRIFT_PROFILE: drifted.outcome.profile})


def _found(verdict: Stage[Judged]) -> Verdict:
    return Verdict.from_dict(verdict.read_json("verdict.json"))


def _log_verdict(
    registry: Registry, tracker: Tracker, version: Version, verdict: Stage[Judged]
) -> None:
    """Say on the version, and on its run, what the gate found."""
    number, run_id = version.number, version.run_id
    for name in VERDICT_FILES:
        if verdict.file(name).exists():
            tracker.client.log_artifact(run_id, str(verdict.file(name)), "gate")
    tags = verdict_tags(_found(verdict))
    gains = verdict.read_json("segments.json") if verdict.file("segments.json").exists() else []
    figures = [(name, value, 0) for name, value in gain_metrics(gains).items()]
    tracker.log(run_id, figures, tags=tags, model_id=version.model_id)
    # A run that is not terminated yet would look as if it went on.
    tracker.client.set_terminated(run_id, "FINISHED")
    wanted = tags | rival_tags(number, verdict.outcome)
    registry.tag(number, {n: value for n, value in wanted.items() if version.tags.get(n) != value})
    # Last: it says that all of this was done.
    registry.tag(number, {JUDGED: verdict.digest})
