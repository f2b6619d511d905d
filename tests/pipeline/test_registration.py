"""Registration: what a version and its run say, from plain data."""

from __future__ import annotations

import json
from pathlib import Path

from recsys.evaluation.gate import Check, Condition, Verdict
from recsys.pipeline.outcomes import Evaluated
from recsys.pipeline.registration import metrics, verdict_tags, version_tags
from recsys.store.stages import Stage

ESTIMATE = {"mean": 0.25, "low": 0.2, "high": 0.3}


def test_a_version_says_what_it_was_made_from() -> None:
    manifest = {
        "data_fingerprint": "f00d",
        "seed": 7,
        "configuration": {"no_components": 8, "loss": "warp"},
        "metrics": {"precision_at_5": ESTIMATE, "auc": {"mean": 0.9}},
        "holdout": "test",
        "library_versions": {"numpy": "2.4", "scipy": "1.17"},
    }
    assert version_tags(manifest, "d1935") == {
        "bundle": "d1935",
        "data_fingerprint": "f00d",
        "seed": "7",
        "configuration": "no_components=8, loss=warp",
        "test/precision_at_5": "0.2500",
        "test/auc": "0.9000",
        "interval": "0.2000 to 0.3000",
        "libraries": "numpy 2.4, scipy 1.17",
    }


def test_a_verdict_is_a_tag_a_condition() -> None:
    verdict = Verdict(
        (Check(Condition.FINITE, True, "all", "all"), Check(Condition.COVERAGE, False, "1%", "2%"))
    )
    assert verdict_tags(verdict) == {
        "gate": "held",
        "gate/finite numbers": "passed: all, wanted all",
        "gate/coverage": "failed: 1%, wanted 2%",
    }
    assert verdict_tags(Verdict(verdict.checks[:1]))["gate"] == "passed"


def test_figures_of_an_evaluation_have_the_names_of_mlflow(tmp_path: Path) -> None:
    board = [
        {"model": "lightfm", "metrics": {"precision_at_5": ESTIMATE}},
        {"model": "popularity", "metrics": {"precision_at_5": ESTIMATE}},
    ]
    (tmp_path / "leaderboard.json").write_text(json.dumps(board))
    compared = {"winner": "none", "warm": {"none": {"precision_at_5": ESTIMATE}}}
    (tmp_path / "strategies.json").write_text(json.dumps(compared))
    outcome = Evaluated("validation", {"lightfm": 0.25, "popularity": 0.25})
    found = metrics(Stage("evaluate", str(tmp_path), "k", "d", outcome, {"none": 3.5}))
    assert found == {
        "holdout/precision_at_5": 0.25,
        "holdout/precision_at_5_low": 0.2,
        "holdout/precision_at_5_high": 0.3,
        "holdout_popularity/precision_at_5": 0.25,
        "holdout_popularity/precision_at_5_low": 0.2,
        "holdout_popularity/precision_at_5_high": 0.3,
        "strategy_none/precision_at_5": 0.25,
        "strategy_none/cpu_seconds": 3.5,
    }
