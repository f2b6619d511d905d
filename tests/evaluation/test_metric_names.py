"""Metric names: one list for the whole project, and names in MLflow that past runs have as well."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from recsys.evaluation.holdouts import measure
from recsys.evaluation.metric_names import (
    METRICS,
    UNMASKED,
    leaderboard_metrics,
    metric_tags,
    set_name,
    strategy_metrics,
)
from recsys.models.popularity import Popularity


def estimate(mean: float) -> dict[str, float]:
    return {"mean": mean, "low": mean - 0.1, "high": mean + 0.1}


def test_what_is_shown_is_measured() -> None:
    likes = sp.csr_matrix(np.triu(np.ones((12, 12), np.float32)))
    heldout = sp.csr_matrix(np.tril(np.ones((12, 12), np.float32), -1))
    measured = measure(Popularity().fit(likes), heldout, likes, samples=10).estimates
    assert {metric.name for metric in (*METRICS, UNMASKED)} <= set(measured)


def test_a_leaderboard_has_the_models_in_its_sets_and_the_headlines_interval() -> None:
    board = [
        {"model": "lightfm", "metrics": {"precision_at_5": estimate(0.5), "auc": estimate(0.9)}},
        {"model": "als", "metrics": {"precision_at_5": estimate(0.4)}},
    ]
    assert leaderboard_metrics(board, "test") == {
        "test/precision_at_5": 0.5,
        "test/precision_at_5_low": 0.4,
        "test/precision_at_5_high": 0.6,
        "test/auc": 0.9,
        "test_als/precision_at_5": 0.4,
        "test_als/precision_at_5_low": 0.4 - 0.1,
        "test_als/precision_at_5_high": 0.5,
    }
    # A holdout that the search has seen is no test.
    assert set_name("validation") == "holdout"
    assert "holdout/auc" in leaderboard_metrics(board, "validation")


def test_cold_items_are_the_winners_first() -> None:
    cold = {"mapped": {"recall_at_20": estimate(0.3)}, "content": {"recall_at_20": estimate(0.2)}}
    compared = {
        "winner": "mapped",
        "cold": {"models": cold},
        "warm": {"none": {"precision_at_5": estimate(0.5)}},
        "foldin": {"share": 0.9},
        "suggestion": {"type": "tag", "items": 3, "neighbours": 0.7, "popularity": 0.1},
    }
    assert strategy_metrics(compared, {"none": 1.5}) == {
        "cold/recall_at_20": 0.3,
        "cold_content/recall_at_20": 0.2,
        "strategy_none/precision_at_5": 0.5,
        "strategy_none/cpu_seconds": 1.5,
        "foldin/share_of_trained": 0.9,
        "suggestion_neighbours/recall_at_10": 0.7,
        "suggestion_popularity/recall_at_10": 0.1,
    }
    assert strategy_metrics({"winner": "none"}, {}) == {}


def test_a_versions_tags_are_its_metrics_as_text() -> None:
    metrics = {"precision_at_5": estimate(0.5), "auc": estimate(0.9), "mrr": estimate(0.4)}
    assert metric_tags(metrics, "test") == {
        "test/precision_at_5": "0.5000",
        "test/auc": "0.9000",
        "interval": "0.4000 to 0.6000",
    }
