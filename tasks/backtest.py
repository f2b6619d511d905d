"""Backtest: the folds' splits, searches and measurements as tasks, and their report."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from recsys.base.config import Config
from recsys.data.outcomes import Encoded, Ingested, Thresholded
from recsys.pipeline import evaluation, splitting, tuning
from recsys.pipeline.backtest_report import publish_backtest
from recsys.pipeline.backtesting import Backtest, replay, summarised
from recsys.store.stages import Stage, StageFunction
from tasks.caching import cached_task
from tasks.steps import step_task

_TASKS: dict[StageFunction[..., Any], Callable[..., Stage[Any]]] = {
    splitting.split_by_time: cached_task(splitting.split_by_time),
    tuning.tune: cached_task(tuning.tune),
    evaluation.evaluate: cached_task(evaluation.evaluate),
}


def backtest(
    data: Stage[Ingested], core: Stage[Thresholded], features: Stage[Encoded], config: Config
) -> Backtest:
    """The pipeline's choice at each cut; a fold that was made before is not made again."""
    interim = config.storage.interim

    def run(stage: StageFunction[..., Any], *args: Any, **kwargs: Any) -> Stage[Any]:
        return _TASKS[stage](interim, *args, **kwargs)

    return summarised(core, replay(run, data, core, features, config), config)


report = step_task("report", publish_backtest)
