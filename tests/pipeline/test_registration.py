"""Registration: what a version and its run say, from plain data."""

from __future__ import annotations

import json
from pathlib import Path

from recsys.evaluation.gate import Check, Condition, Verdict
from recsys.pipeline.outcomes import Evaluated, Fitted, Judged, Tuned
from recsys.pipeline.registration import metrics, rival_tags, verdict_tags, version_tags
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
    # Features have letters that MLflow's names must not have.
    guard = Check(Condition.GUARD, True, "+1%", "more", "auc of users with country::de")
    tags = verdict_tags(Verdict((guard,)))
    assert tags["gate/guard rail auc of users with country__de"] == "passed: +1%, wanted more"


def test_a_version_remembers_what_small_losses_are_added_up_against() -> None:
    judged = Judged(True, (), "4", 0.5, "2", beats_reference=False)
    assert rival_tags("5", judged) == {
        "judged_against": "4", "judged_against_reference": "2", "reference": "2",
    }  # fmt: skip
    better = Judged(True, (), "4", 0.5, "2", beats_reference=True)
    assert rival_tags("5", better)["reference"] == "5"
    first = Judged(True, (), None, None)
    assert rival_tags("1", first) == {
        "judged_against": "", "judged_against_reference": "", "reference": "1",
    }  # fmt: skip


def test_figures_of_an_evaluation_have_the_names_of_mlflow(tmp_path: Path) -> None:
    board = [
        {
            "model": "blend",
            "metrics": {"precision_at_5": ESTIMATE},
            "configuration": {"neighbours": "ease"},
        },
        {"model": "ease", "metrics": {"precision_at_5": ESTIMATE}},
        {"model": "popularity", "metrics": {"precision_at_5": ESTIMATE}},
    ]
    (tmp_path / "leaderboard.json").write_text(json.dumps(board))
    compared = {"winner": "none", "warm": {"none": {"precision_at_5": ESTIMATE}}}
    (tmp_path / "strategies.json").write_text(json.dumps(compared))
    few_likes = {
        "answered": {"trained": 6, "by_likes": 3, "by_features": 1, "by_popularity": 0},
        "model": ESTIMATE,
    }
    (tmp_path / "few_likes.json").write_text(json.dumps(few_likes))
    diverse = {"precision_at_5": 0.2, "intra_list_diversity": 0.7, "weight": 0.5, "users": 9}
    (tmp_path / "diversity.json").write_text(json.dumps([diverse]))
    parts = [
        {
            "segment": "users with country::de",
            "side": "users",
            "users": 9,
            "models": {"blend": {"precision_at_5": ESTIMATE}, "ease": {"precision_at_5": ESTIMATE}},
        }
    ]
    (tmp_path / "segments.json").write_text(json.dumps(parts))
    beyond = {"k": 10, "winner": "blend", "models": {"blend": {"novelty": ESTIMATE}}}
    (tmp_path / "beyond.json").write_text(json.dumps(beyond))
    outcome = Evaluated("validation", {"blend": 0.25, "ease": 0.25, "popularity": 0.25})
    fitted = {"none": 3.5, "model/blend": 6.0, "model/ease": 2.0}
    chosen = Tuned(
        configuration={}, epochs=1, strategies={}, trials=1, precision_at_5=0.2, ended="enough"
    )
    searched = {"model/lightfm": 100.0, "model/ease": 10.0, "model/rp3beta": 1000.0}
    found = metrics(
        Stage("tune", str(tmp_path), "k", "d", chosen, searched),
        Stage("evaluate", str(tmp_path), "k", "d", outcome, fitted),
        Stage("fit", str(tmp_path), "k", "d", Fitted(6, 5, 30, 4, 7)),
    )
    assert found == {
        "holdout/precision_at_5": 0.25,
        "holdout/precision_at_5_low": 0.2,
        "holdout/precision_at_5_high": 0.3,
        # The search of both parts, and one fit.
        "holdout/cpu_seconds": 116.0,
        "holdout_ease/precision_at_5": 0.25,
        "holdout_ease/precision_at_5_low": 0.2,
        "holdout_ease/precision_at_5_high": 0.3,
        "holdout_ease/cpu_seconds": 12.0,
        "holdout_popularity/precision_at_5": 0.25,
        "holdout_popularity/precision_at_5_low": 0.2,
        "holdout_popularity/precision_at_5_high": 0.3,
        "strategy_none/precision_at_5": 0.25,
        "strategy_none/cpu_seconds": 3.5,
        "answered/trained": 0.6,
        "answered/by_likes": 0.3,
        "answered/by_features": 0.1,
        "answered/by_popularity": 0.0,
        "few_likes/hit_rate_at_10": 0.25,
        "diversity_0.5/precision_at_5": 0.2,
        "diversity_0.5/intra_list_diversity": 0.7,
        "segment_users_with_country__de/precision_at_5": 0.25,
        "beyond/novelty_at_10": 0.25,
    }
