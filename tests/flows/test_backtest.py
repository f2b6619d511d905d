"""The backtest flow on real Prefect and MLflow: a run with a child a fold, the same again."""

from __future__ import annotations

from pathlib import Path

from flows.backtest import backtest
from recsys.base.config import Config
from recsys.base.events import Event, StageDone, listening
from recsys.tracking.runs import Tracker
from tests.fixtures.timed import write_timed
from tests.fixtures.tracking_database import tracking_database


def test_a_backtest_is_a_run_with_a_child_for_each_fold(tmp_path: Path) -> None:
    likes, _ = write_timed(tmp_path)
    config = Config.model_validate(
        {
            "data": {"likes": str(likes), "timestamp_column": "t"},
            "threshold": {"user_min": 2, "item_min": 2},
            "search": {"trials": 1, "item_to_item_trials": 1, "max_epochs": 4, "workers": 1},
            "evaluate": {"bootstrap_samples": 20},
            "backtest": {"folds": 2, "folder": str(tmp_path / "out")},
            "storage": {"interim": str(tmp_path / "interim"), "likes_log": ""},
            "tracking": {"uri": tracking_database(tmp_path)},
        }
    )
    first = backtest(config)
    tracker = Tracker.connect(config.tracking.uri, config.experiment)
    run = tracker.client.get_run(first.run_id)
    together = first.figures["all"]["models"]
    assert run.data.metrics["test/precision_at_5"] == together["choice"]["mean"]
    assert run.data.metrics["test_popularity/precision_at_5"] == together["popularity"]["mean"]
    assert run.data.params["backtest.folds"] == "2"
    curve = tracker.client.get_metric_history(first.run_id, "fold/precision_at_5")
    assert sorted(point.step for point in curve) == [1, 2]
    children = tracker.client.search_runs(
        [tracker.experiment_id], f"tags.`mlflow.parentRunId` = '{first.run_id}'"
    )
    assert sorted(child.data.tags["from"] for child in children) == [
        fold["from"] for fold in first.figures["folds"]
    ]
    assert {"test_ease/precision_at_5", "fold/users"} <= set(children[0].data.metrics)
    assert (tmp_path / "out" / "likes" / "backtest.html").exists()

    events: list[Event] = []
    with listening(events.append):
        assert backtest(config) == first
    assert all(event.reused for event in events if isinstance(event, StageDone))
    assert len(tracker.client.search_runs([tracker.experiment_id], "")) == 3
