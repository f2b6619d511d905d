"""Refresh: the champion's configuration fitted to today's data, without a search."""

from __future__ import annotations

import sys

from prefect import flow

from flows.ending import named_states
from flows.naming import about_data
from flows.outcome import Outcome, outcome
from flows.predecessors import HOOKS
from flows.temporary_server import served
from recsys.base.config import Config
from recsys.base.errors import HELD_EXIT
from recsys.base.redaction import redact_logs
from recsys.pipeline.outcomes import TrainingStages
from tasks.adopt import adopt
from tasks.encode import encode
from tasks.evaluate import evaluate
from tasks.fit import fit
from tasks.gate import gate
from tasks.ingest import ingest
from tasks.promote import promote
from tasks.register import register
from tasks.report import report
from tasks.split import split
from tasks.threshold import threshold

redact_logs()


@flow(
    name="refresh",
    flow_run_name=about_data,
    persist_result=True,
    result_serializer="json",
    timeout_seconds=3 * 3600,
    **HOOKS,
)
@named_states
def refresh(config: Config = Config()) -> Outcome:
    """Refit what the champion is on today's data; measured, judged, promoted as by `train`."""
    config = config.effective()
    data = ingest(config)
    core = threshold(config, data)
    holdouts = split(config, data, core)
    features = encode(config, data, core)
    adopted = adopt(config, core, holdouts, features)
    measured = evaluate(config, holdouts, features, adopted)
    fitted = fit(config, core, features, adopted, measured)
    verdict = gate(config, holdouts, features, measured, fitted)
    version = register(config, core, adopted, measured, fitted, verdict)
    decision = promote(config, version, verdict)
    stages = TrainingStages(data, core, holdouts, features, adopted, measured, fitted, verdict)
    written = report(config, version, decision.reasons, stages)
    return outcome(config, version, decision, written, stages)


if __name__ == "__main__":
    with served():
        left = refresh()
    sys.exit(HELD_EXIT if left.held else 0)
