"""Recommend: the champion's lists for every user and every item, as Parquet."""

from __future__ import annotations

from pathlib import Path

from prefect import flow
from pydantic import BaseModel

from flows.as_program import run_as_program
from flows.crashed_runs import HOOKS
from flows.final_states import named_states
from flows.retraining import tracked_by
from flows.run_names import run_name
from flows.run_process import own_files
from recsys.base.config import Config
from recsys.base.redaction import redact_logs
from recsys.pipeline.batch import point
from tasks.recommend import recommend as write

redact_logs()


class Written(BaseModel):
    """What a batch leaves behind; `latest` leads to the newest batch of the model."""

    model: str
    version: str
    folder: str
    latest: str
    users: int
    users_rows: int
    items: int
    items_rows: int
    users_trained: int
    users_by_likes: int
    users_by_features: int
    users_by_popularity: int


@flow(
    name="recommend",
    flow_run_name=run_name,
    persist_result=True,
    result_serializer="json",
    timeout_seconds=3 * 3600,
    **HOOKS,
)
@own_files
@named_states
def recommend(config: Config = Config()) -> Written:
    """Write what the champion would show everybody, and what it finds like everything."""
    made = write(config.batch, tracked_by(config), config.likes_log)
    latest = Path(config.batch.folder) / config.model
    point(latest, Path(made.path))
    return Written(folder=made.path, latest=str(latest), **made.counts())


if __name__ == "__main__":
    run_as_program(recommend)
