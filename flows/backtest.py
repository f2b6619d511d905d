"""Backtest: what the pipeline would have chosen at successive points in time, measured."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from prefect import flow
from pydantic import BaseModel

from flows.as_program import run_as_program
from flows.crashed_runs import HOOKS
from flows.final_states import named_states
from flows.retraining import details_of, tracked_by
from flows.run_names import run_name
from flows.run_process import own_files
from recsys.base.config import Config
from recsys.base.redaction import redact_logs
from recsys.data.sources import locate_data
from tasks.backtest import backtest as replay
from tasks.backtest import report
from tasks.encode import encode
from tasks.ingest import ingest
from tasks.threshold import threshold

redact_logs()


class BacktestResult(BaseModel):
    """What a backtest leaves behind: a folder, its page, a run in MLflow, and the figures."""

    folder: str
    page: str
    run_id: str
    figures: dict[str, Any]


@flow(
    name="backtest",
    flow_run_name=run_name,
    persist_result=True,
    result_serializer="json",
    timeout_seconds=24 * 3600,
    **HOOKS,
)
@own_files
@named_states
def backtest(config: Config = Config()) -> BacktestResult:
    """Search, fit and measure at each cut; nothing is registered or promoted."""
    interim = config.storage.interim
    memory = config.storage.memory
    data = ingest(interim, locate_data(config.dataset, config.data), config.likes_log, memory)
    core = threshold(interim, data, config.threshold, memory)
    features = encode(interim, data, core, config.encode)
    made = replay(data, core, features, config)
    folder = Path(config.backtest.folder) / config.model
    written = report(made, tracked_by(config), details_of(config), folder)
    return BacktestResult(
        folder=written.folder, page=written.page, run_id=written.run_id, figures=made.figures
    )


if __name__ == "__main__":
    run_as_program(backtest, tracked=False)
