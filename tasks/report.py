"""Report: the whole run on one page, in Prefect and, as HTML, on its run in MLflow."""

from __future__ import annotations

import re
from collections.abc import Sequence

from prefect.artifacts import create_markdown_artifact
from prefect.runtime import flow_run

from recsys.pipeline.outcomes import TrainingStages
from recsys.pipeline.publishing import Published, publish
from recsys.pipeline.tracked import Tracked
from tasks.steps import step_task


def _publish(
    tracked: Tracked, version: str, held: Sequence[str], stages: TrainingStages
) -> Published:
    # A flow run is named after its model and its time.
    made = publish(tracked, str(flow_run.flow_name), str(flow_run.name), version, held, stages)
    create_markdown_artifact(made.markdown, artifact_key(tracked.model), description=made.verdict)
    return made


def artifact_key(model: str) -> str:
    """A key as Prefect allows it: small letters, digits and dashes."""
    return re.sub("[^a-z0-9]+", "-", f"report-{model}".lower()).strip("-")


report = step_task("report", _publish)
