"""Report: the whole run on one page, in Prefect and, as HTML, on its run in MLflow."""

from __future__ import annotations

import re
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

from prefect import task
from prefect.artifacts import create_markdown_artifact
from prefect.cache_policies import NO_CACHE
from prefect.runtime import flow_run

from recsys.base.config import Config
from recsys.base.events import StageDone, StageStarted, emit
from recsys.data.outcomes import Thresholded
from recsys.pipeline.outcomes import TrainingStages
from recsys.pipeline.report import Link, Report, build, write
from recsys.store.stages import Stage
from recsys.tracking.registry import open_registry
from tasks.opening import connected


@task(name="report", task_run_name="report", cache_policy=NO_CACHE)
def _report(config: Config, number: str, held: Sequence[str], stages: TrainingStages) -> str:
    tracker = connected(config)
    registry = open_registry(config.tracking, config.model)
    run_id = registry.version(number).run_id
    run = f"#/experiments/{tracker.experiment_id}/runs/{run_id}"
    ui = config.tracking.page
    links = (
        Link("the run in MLflow", f"{ui}/{run}"),
        Link("the version in MLflow", f"{ui}/#/models/{config.model}/versions/{number}"),
        Link("all runs", f"{ui}/#/experiments/{tracker.experiment_id}"),
    )
    # A flow run is named after its data and its time. A refresh on the same data as the night
    # before ends in the same version; it leaves the report of that night where it is.
    flow = flow_run.flow_name
    made = build(f"{flow} {flow_run.name}", config.model, number, held, stages, links)
    page = f"report/{flow}.html"
    with tempfile.TemporaryDirectory() as folder:
        tracker.attach(run_id, write(made, Path(folder), flow), "report")
    about = _description(made, run, f"{run}/artifacts/{page}", stages.core)
    registry.describe(number, about)
    key = re.sub("[^a-z0-9]+", "-", f"report-{config.model}".lower()).strip("-")
    create_markdown_artifact(made.markdown(), key, description=made.verdict)
    return tracker.artifact(run_id, page)


def _description(report: Report, run: str, page: str, core: Stage[Thresholded]) -> str:
    """Of the version: its page in MLflow leads to the run, the report and the data."""
    sizes = core.outcome
    counts = f"{sizes.users:,} users, {sizes.items:,} items, {sizes.interactions:,} interactions"
    return (
        f"{report.title}. [Report]({page}), [run]({run}).\n\n"
        f"Data: {counts}, fingerprint `{core.digest}`."
    )


def report(config: Config, number: str, held: Sequence[str], stages: TrainingStages) -> str:
    """Where the report lies as an HTML page."""
    emit(StageStarted("report"))
    start = time.monotonic()
    where = _report(config, number, held, stages)
    emit(StageDone("report", False, time.monotonic() - start, {"page": where}))
    return where
