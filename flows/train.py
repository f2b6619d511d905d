"""Train: likes and tags in, a tuned, measured, registered recommender out."""

from __future__ import annotations

from typing import Any

from prefect import flow
from pydantic import BaseModel

from recsys.config import Config
from tasks.encode import encode
from tasks.evaluate import evaluate
from tasks.fit import fit
from tasks.ingest import ingest
from tasks.register import register
from tasks.split import split
from tasks.threshold import threshold
from tasks.tune import tune


class Outcome(BaseModel):
    """What a training run leaves behind."""

    model: str
    version: str
    bundle: str
    leaderboard: list[dict[str, Any]]
    strategies: dict[str, Any]
    counts: dict[str, dict[str, Any]]


@flow(
    name="train",
    flow_run_name="train {config.title}",
    persist_result=True,
    result_serializer="json",
)
def train(config: Config = Config()) -> Outcome:
    """Retrain on today's data, measure, and register what came of it."""
    config = config.effective()
    data = ingest(config)
    core = threshold(config, data)
    holdouts = split(config, data, core)
    features = encode(config, data, core)
    tuned = tune(config, core, holdouts, features)
    measured = evaluate(config, holdouts, features, tuned)
    fitted = fit(config, core, features, tuned, measured)
    version = register(config, tuned, measured, fitted)
    stages = (data, core, holdouts, features, tuned, measured, fitted)
    return Outcome(
        model=config.model,
        version=version,
        bundle=f"{fitted.path}/bundle",
        leaderboard=measured.read_json("leaderboard.json"),
        strategies=measured.read_json("strategies.json"),
        counts={stage.name: stage.counts for stage in stages},
    )


if __name__ == "__main__":
    train()
