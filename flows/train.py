"""Train: likes and tags in, a tuned, measured, registered recommender out."""

from __future__ import annotations

import sys
from typing import Any

from prefect import flow
from pydantic import BaseModel

from flows.predecessors import begun, over
from flows.server import served
from recsys.config import Config
from recsys.errors import HELD_EXIT
from tasks.encode import encode
from tasks.evaluate import evaluate
from tasks.fit import fit
from tasks.gate import gate
from tasks.ingest import ingest
from tasks.promote import ended, promote
from tasks.register import register
from tasks.split import split
from tasks.threshold import threshold
from tasks.tune import tune


class Outcome(BaseModel):
    """What a training run leaves behind; `held` says why the version is not the champion."""

    model: str
    version: str
    held: list[str]
    bundle: str
    verdict: str
    leaderboard: list[dict[str, Any]]
    strategies: dict[str, Any]
    counts: dict[str, dict[str, Any]]


@flow(
    name="train",
    flow_run_name="train {config.title}",
    persist_result=True,
    result_serializer="json",
    on_running=[begun],
    on_completion=[over],
    on_failure=[over],
    on_crashed=[over],
    on_cancellation=[over],
)
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
    version = register(config, tuned, measured, fitted, verdict)
    held = promote(config, version, verdict)
    stages = (data, core, holdouts, features, tuned, measured, fitted, verdict)
    outcome = Outcome(
        model=config.model,
        version=version,
        held=held,
        bundle=f"{fitted.path}/bundle",
        verdict=verdict.path,
        leaderboard=measured.read_json("leaderboard.json"),
        strategies=measured.read_json("strategies.json"),
        counts={stage.name: stage.counts for stage in stages},
    )
    return ended(outcome, held)


if __name__ == "__main__":
    with served():
        outcome = train()
    sys.exit(HELD_EXIT if outcome.held else 0)
