"""Train: likes and tags in, a tuned, measured, registered recommender out."""

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
from tasks.tune import tune

redact_logs()


@flow(
    name="train",
    flow_run_name=about_data,
    persist_result=True,
    result_serializer="json",
    timeout_seconds=12 * 3600,
    **HOOKS,
)
@named_states
def train(config: Config = Config()) -> Outcome:
    """Retrain on today's data, measure, register, and promote what is good enough."""
    config = config.effective()
    data = ingest(config)
    core = threshold(config, data)
    holdouts = split(config, data, core)
    features = encode(config, data, core)
    tuned = tune(config, core, holdouts, features)
    measured = evaluate(config, holdouts, features, tuned)
    fitted = fit(config, core, features, tuned, measured)
    verdict = gate(config, holdouts, features, measured, fitted)
    version = register(config, core, tuned, measured, fitted, verdict)
    decision = promote(config, version, verdict)
    stages = TrainingStages(data, core, holdouts, features, tuned, measured, fitted, verdict)
    written = report(config, version, decision.reasons, stages)
    return outcome(config, version, decision, written, stages)


if __name__ == "__main__":
    with served():
        left = train()
    sys.exit(HELD_EXIT if left.held else 0)
