"""Registration: figures and verdict logged on a run, the bundle registered as challenger."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from recsys.bundle import bundle_digest, load_bundle
from recsys.evaluation.gate import Verdict
from recsys.evaluation.metric_names import (
    diversity_metrics,
    few_likes_metrics,
    leaderboard_metrics,
    metric_tags,
    newcomer_metrics,
    repeated_metrics,
    strategy_metrics,
)
from recsys.pipeline.evaluation import newcomers_of
from recsys.pipeline.model_seconds import timed_leaderboard
from recsys.pipeline.outcomes import Chosen, Evaluated, Fitted, Judged, Repeated
from recsys.pipeline.tracked import Tracked
from recsys.serving import pyfunc
from recsys.store.stages import Stage
from recsys.tracking.faults import tracking_errors
from recsys.tracking.registry import Registry
from recsys.tracking.runs import StudyDescription, Tracker
from recsys.tracking.versions import BUNDLE, JUDGED_AGAINST

VERDICT_FILES = ("verdict.json", "verdict.md", "per_user.parquet", "churn.json")
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
) -> Registered:
    """Register the fitted bundle, unless it was, and make it the challenger.

    Parameters
    ----------
    tracked : Tracked
    locks : Path
        Folder for a lock that runs on a tracking server share.
    description : StudyDescription
        Names the run that figures and verdict are logged on.
    chosen, measured, fitted, verdict, repeated : Stage

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
            figures = metrics(chosen, measured, fitted, repeated)
            tracker.log(run_id, [(name, value, 0) for name, value in figures.items()])
            tags = version_tags(manifest, digest)
            number = pyfunc.register(
                tracking.uri, run_id, tracked.model, bundle, tags, tracking.patience
            )
        registry.challenge(number)
        if not known or known.tags.get(JUDGED) != verdict.digest:
            _log_verdict(registry, tracker, number, verdict)
    return Registered(tracked.model, number, known is not None)


def metrics(
    chosen: Stage[Chosen],
    measured: Stage[Evaluated],
    fitted: Stage[Fitted],
    repeated: Stage[Repeated] | None = None,
) -> dict[str, float]:
    """All figures of an evaluation, and of users with few likes, under MLflow's names."""
    board = timed_leaderboard(chosen, measured)
    compared = measured.read_json("strategies.json")
    return {
        **leaderboard_metrics(board, measured.outcome.holdout),
        **strategy_metrics(compared, measured.seconds),
        **few_likes_metrics(fitted.read_json("few_likes.json")),
        **diversity_metrics(measured.read_json("diversity.json")),
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
    tags = {"gate": "passed" if verdict.passed else "held"}
    for check in verdict.checks:
        mark = "passed" if check.passed else "failed"
        tags[f"gate/{check.name}"] = f"{mark}: {check.found}, wanted {check.wanted}"
    return tags


def _log_verdict(registry: Registry, tracker: Tracker, number: str, verdict: Stage[Judged]) -> None:
    """Say on the version, and on its run, what the gate found."""
    run_id = registry.version(number).run_id
    for name in VERDICT_FILES:
        if verdict.file(name).exists():
            tracker.client.log_artifact(run_id, str(verdict.file(name)), "gate")
    tags = verdict_tags(Verdict.from_dict(verdict.read_json("verdict.json")))
    tracker.log(run_id, tags=tags)
    # A run that is not terminated yet would look as if it went on.
    tracker.client.set_terminated(run_id, "FINISHED")
    registry.tag(number, tags | {JUDGED_AGAINST: verdict.outcome.champion or ""})
    # Last: it says that all of this was done.
    registry.tag(number, {JUDGED: verdict.digest})
