"""Publishing: the report attached to its run in MLflow, and the version described by it."""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from recsys.data.outcomes import Thresholded
from recsys.evaluation.orders import disagreement, means_of_run
from recsys.pipeline.outcomes import TrainingStages
from recsys.pipeline.report import Link, write
from recsys.pipeline.report_sections import build
from recsys.pipeline.tracked import Tracked
from recsys.store.stages import Stage
from recsys.tracking.faults import tracking_errors
from recsys.tracking.runs import Tracker

SPLIT_METHOD = "split.method"


@dataclass(frozen=True)
class Published:
    """Where a report lies as a page; every run writes its own."""

    page: str
    verdict: str
    markdown: str
    reused: bool = False

    def counts(self) -> dict[str, Any]:
        """The page."""
        return {"page": self.page}


def publish(
    tracked: Tracked,
    flow: str,
    run_name: str,
    version: str,
    held: Sequence[str],
    stages: TrainingStages,
) -> Published:
    """Write the report of a run, attach it to its run in MLflow, and describe the version by it.

    A flow on the same data as the night before ends in the same version; each flow has a report
    of its own there.

    Parameters
    ----------
    tracked : Tracked
    flow, run_name : str
        What ran.
    version : str
    held : sequence of str
        Why the version is not champion; empty where it is.
    stages : TrainingStages

    Raises
    ------
    RegistryError
        If the tracking server or database does not answer.
    """
    tracker, registry = tracked.tracker(), tracked.registry()
    run_id = registry.version(version).run_id
    links = report_links(
        tracked.tracking.page, tracker.experiment_id, run_id, tracked.model, version
    )
    notes = _other_order(tracker, run_id, stages)
    made = build(f"{flow} {run_name}", tracked.model, version, held, stages, links, notes)
    page = f"report/{flow}.html"
    with tempfile.TemporaryDirectory() as folder:
        tracker.attach(run_id, write(made, Path(folder), flow), "report")
    run = run_anchor(tracker.experiment_id, run_id)
    registry.describe(version, description(made.title, run, page, stages.core))
    return Published(tracker.artifact(run_id, page), made.verdict, made.markdown())


def _other_order(tracker: Tracker, run_id: str, stages: TrainingStages) -> tuple[str, ...]:
    """Where the last study that was split in another way disagrees on the order of the models."""
    with tracking_errors(tracker.uri):
        method = tracker.client.get_run(run_id).data.params.get(SPLIT_METHOD)
    if method is None or stages.measured.outcome.holdout != "test":
        return ()
    other = tracker.last_study_with_another(SPLIT_METHOD, method)
    if other is None:
        return ()
    when = datetime.fromtimestamp(other.info.start_time / 1000).astimezone()
    there = means_of_run(other.data.metrics)
    text = disagreement(
        stages.measured.outcome.precision_at_5,
        there,
        other.data.params[SPLIT_METHOD],
        f"{when:%Y-%m-%d %H:%M}",
    )
    return (text,) if text else ()


def run_anchor(experiment_id: str, run_id: str) -> str:
    """The part of an MLflow page's address that leads to a run."""
    return f"#/experiments/{experiment_id}/runs/{run_id}"


def report_links(
    ui: str, experiment_id: str, run_id: str, model: str, version: str
) -> tuple[Link, ...]:
    """Where more of a run is to be seen in MLflow.

    Parameters
    ----------
    ui : str
        Where people open MLflow.
    experiment_id, run_id, model, version : str
    """
    return (
        Link("the run in MLflow", f"{ui}/{run_anchor(experiment_id, run_id)}"),
        Link("the version in MLflow", f"{ui}/#/models/{model}/versions/{version}"),
        Link("all runs", f"{ui}/#/experiments/{experiment_id}"),
    )


def description(title: str, run: str, page: str, core: Stage[Thresholded]) -> str:
    """What a version's page in MLflow says, as Markdown: the way to run, report and data.

    Parameters
    ----------
    title : str
        Of the report.
    run : str
        See `run_anchor`.
    page : str
        The report among the run's artifacts.
    core : Stage
        The data.
    """
    sizes = core.outcome
    counts = f"{sizes.users:,} users, {sizes.items:,} items, {sizes.interactions:,} interactions"
    return (
        f"{title}. [Report]({run}/artifacts/{page}), [run]({run}).\n\n"
        f"Data: {counts}, fingerprint `{core.digest}`."
    )
