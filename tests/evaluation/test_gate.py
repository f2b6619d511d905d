"""The gate: verdicts worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys.base.config import Gate
from recsys.evaluation.gate import (
    Check,
    Condition,
    Evidence,
    Verdict,
    beats_popularity,
    judge,
    no_worse,
    not_shrunken,
)

LIMITS = Gate()
COUNTS = {"users": 100, "items": 50, "interactions": 1000}
GOOD = Evidence(
    own=np.full(10, 0.6),
    popularity=np.full(10, 0.2),
    champion=np.full(10, 0.5),
    missing="",
    finite=True,
    coverage=0.4,
    list_overlap=0.1,
    counts=COUNTS,
    champion_counts=COUNTS,
    shared={"users": 0.9, "items": 1.0},
)


def failed(evidence: Evidence, limits: Gate = LIMITS) -> list[str]:
    return [check.name for check in judge(evidence, limits, 0).checks if not check.passed]


def test_a_good_challenger_passes_everything() -> None:
    verdict = judge(GOOD, LIMITS, 0)
    assert verdict.passed
    assert verdict.reasons == []
    assert len(verdict.checks) == 7


def test_the_first_challenger_needs_no_champion() -> None:
    first = replace(
        GOOD, champion=None, champion_counts=None, shared=None, missing="no champion yet"
    )
    assert failed(first) == []
    assert "no champion yet" in judge(first, LIMITS, 0).markdown()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"popularity": np.full(10, 0.6)}, ["beats popularity"]),
        ({"champion": np.full(10, 0.7)}, ["no worse than the champion"]),
        ({"finite": False}, ["finite numbers"]),
        ({"coverage": 0.009}, ["coverage"]),
        ({"coverage": 0.01}, []),
        ({"list_overlap": 0.81}, ["variety"]),
        ({"list_overlap": 0.8}, []),
        ({"counts": COUNTS | {"items": 39}}, ["data all there"]),
        ({"shared": {"users": 0.0, "items": 0.1}}, []),
        ({"shared": {"users": 0.1, "items": 0.0}}, []),
        ({"shared": {"users": 0.09, "items": 0.05}}, ["the same data"]),
    ],
)
def test_each_condition_holds_by_itself(changed: dict[str, object], expected: list[str]) -> None:
    assert failed(replace(GOOD, **changed)) == expected  # type: ignore[arg-type]


def test_popularity_must_be_beaten_by_the_whole_interval() -> None:
    own, popularity = np.array([1.0] * 4 + [0.0] * 6), np.array([0.0] * 10)
    # Ahead by 0.4 on average, and with 10 users never below 0.1: (1 - 0.4)^10 = 0.6 % have none.
    assert beats_popularity(own, popularity, LIMITS, 0).passed
    # One user of ten who likes it better proves nothing: 35 % of the resamples miss that user.
    one = np.array([1.0] + [0.0] * 9)
    assert not beats_popularity(one, popularity, LIMITS, 0).passed
    # Equal is not better, and exactly the margin is not above it.
    assert not beats_popularity(popularity, popularity, LIMITS, 0).passed
    assert not beats_popularity(np.ones(5), np.zeros(5), Gate(popularity_margin=1.0), 0).passed
    assert beats_popularity(np.ones(5), np.zeros(5), Gate(popularity_margin=0.9), 0).passed


def test_only_a_significantly_worse_challenger_is_held() -> None:
    champion = np.full(10, 0.5)
    assert no_worse(champion, champion, LIMITS, 0).passed
    # Worse for one user of ten: the interval reaches 0.
    worse = champion - np.array([0.5] + [0.0] * 9)
    assert no_worse(worse, champion, LIMITS, 0).passed
    # Worse for everybody by the same: the interval is a point.
    found = no_worse(champion - 0.25, champion, LIMITS, 0)
    assert not found.passed
    assert found.found == "ahead by -0.2500 (-0.2500 to -0.2500), 10 users"
    assert found.wanted == "upper end at least 0"
    assert no_worse(champion - 0.25, champion, Gate(champion_margin=0.25), 0).passed
    assert not no_worse(champion - 0.25, champion, Gate(champion_margin=0.24), 0).passed


def test_pairing_sees_what_means_do_not() -> None:
    generator = np.random.default_rng(0)
    # Users differ far more from one another than the two models do.
    hard = generator.uniform(0, 1, 40)
    assert not no_worse(hard - 0.01, hard, LIMITS, 0).passed


@pytest.mark.parametrize("size", ["users", "items", "interactions"])
def test_a_share_of_the_data_may_be_missing(size: str) -> None:
    before = dict.fromkeys(COUNTS, 100)
    assert not_shrunken(before | {size: 80}, before, LIMITS).passed
    found = not_shrunken(before | {size: 79}, before, LIMITS)
    assert not found.passed
    assert f"{size} -21.0%" in found.found
    assert not_shrunken(before | {size: 79}, before, Gate(shrink=0.25)).passed
    assert not_shrunken(before | {size: 1000}, before, LIMITS).passed


def test_a_verdict_goes_through_json_and_is_a_table() -> None:
    verdict = Verdict(
        (Check(Condition.FINITE, True, "1", "2"), Check(Condition.COVERAGE, False, "3", "4"))
    )
    assert Verdict.from_dict(verdict.as_dict()) == verdict
    assert verdict.as_dict()["passed"] is False
    assert verdict.reasons == ["coverage: 3, wanted 4"]
    assert verdict.markdown().splitlines() == [
        "| | check | found | wanted |",
        "| --- | --- | --- | --- |",
        "| passed | finite numbers | 1 | 2 |",
        "| **failed** | coverage | 3 | 4 |",
    ]


def test_scores_of_different_users_are_refused() -> None:
    with pytest.raises(ValueError, match="differ in length"):
        no_worse(np.ones(3), np.ones(4), LIMITS, 0)


def test_the_limit_of_list_overlap_is_read_under_its_old_name() -> None:
    assert Gate.model_validate({"alike": 0.3}).list_overlap == 0.3
    assert Gate.model_validate({"list_overlap": 0.4}).list_overlap == 0.4
