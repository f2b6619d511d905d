"""The gate: verdicts worked out by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from recsys.base.config import Gate, Guard
from recsys.evaluation.gate import (
    NO_CHAMPION,
    Check,
    Condition,
    Evidence,
    Guarded,
    Verdict,
    beats_popularity,
    compared,
    enough_users,
    guard_rail,
    judge,
    label_of,
    no_worse,
    not_shrunken,
)
from recsys.evaluation.gone import Gone

LIMITS = Gate()
GOOD = Evidence(
    own=np.full(10, 0.6),
    popularity=np.full(10, 0.2),
    champion=np.full(10, 0.5),
    missing="",
    finite=True,
    coverage=0.4,
    list_overlap=0.1,
    gone={"users": Gone(0.1, ("ann", "bob")), "items": Gone(0.0)},
    more_likes=0.05,
    shared={"users": 0.9, "items": 1.0},
)


def failed(evidence: Evidence, limits: Gate = LIMITS) -> list[str]:
    return [check.name for check in judge(evidence, limits).checks if not check.passed]


def test_a_good_challenger_passes_everything() -> None:
    verdict = judge(GOOD, LIMITS)
    assert verdict.passed
    assert verdict.reasons == []
    assert len(verdict.checks) == 9


def test_the_first_challenger_needs_no_champion() -> None:
    first = replace(GOOD, champion=None, gone=None, shared=None, missing="no champion yet")
    assert failed(first) == []
    assert "no champion yet" in judge(first, LIMITS).markdown()


@pytest.mark.parametrize(
    ("changed", "expected"),
    [
        ({"popularity": np.full(10, 0.6)}, ["beats popularity"]),
        ({"champion": np.full(10, 0.7)}, ["no worse than the champion"]),
        ({"reference": np.full(10, 0.7)}, ["no worse than the reference"]),
        ({"reference": np.full(10, 0.5)}, []),
        ({"finite": False}, ["finite numbers"]),
        ({"coverage": 0.009}, ["coverage"]),
        ({"coverage": 0.01}, []),
        ({"list_overlap": 0.81}, ["variety"]),
        ({"list_overlap": 0.8}, []),
        ({"gone": {"tags": Gone(0.21)}}, ["data all there"]),
        ({"more_likes": -0.21}, ["data all there"]),
        ({"shared": {"users": 0.0, "items": 0.1}}, []),
        ({"shared": {"users": 0.1, "items": 0.0}}, []),
        ({"shared": {"users": 0.09, "items": 0.05}}, ["the same data"]),
    ],
)
def test_each_condition_holds_by_itself(changed: dict[str, object], expected: list[str]) -> None:
    assert failed(replace(GOOD, **changed)) == expected  # type: ignore[arg-type]


def test_popularity_must_be_beaten_by_the_whole_interval() -> None:
    own, popularity = np.array([1.0] * 4 + [0.0] * 6), np.array([0.0] * 10)
    # Ahead by 0.4 on average with a standard error of 0.163, of which Student's t takes 1.833.
    found = beats_popularity(own, popularity, LIMITS)
    assert found.passed
    assert found.found == "ahead by +0.4000 (+0.1007 to +0.6993), 10 users"
    # One user of ten who likes it better proves nothing.
    one = np.array([1.0] + [0.0] * 9)
    assert not beats_popularity(one, popularity, LIMITS).passed
    # Equal is not better, and exactly the margin is not above it.
    assert not beats_popularity(popularity, popularity, LIMITS).passed
    assert not beats_popularity(np.ones(5), np.zeros(5), Gate(popularity_margin=1.0)).passed
    assert beats_popularity(np.ones(5), np.zeros(5), Gate(popularity_margin=0.9)).passed


def against(own: object, champion: object, limits: Gate = LIMITS) -> Check:
    ahead = compared(np.asarray(own), np.asarray(champion), limits.level)
    return no_worse(Condition.CHAMPION, ahead, limits)


def test_a_challenger_may_lose_less_than_the_margin() -> None:
    champion = np.full(10, 0.5)
    assert against(champion, champion).passed
    assert against(champion - 0.0099, champion).passed
    found = against(champion - 0.0101, champion)
    assert not found.passed
    assert found.found == "ahead by -0.0101 (-0.0101 to -0.0101), 10 users, -2.0% of 0.5000"
    assert found.wanted == "lower end above -0.0100, which is -2.0%"
    assert against(champion - 0.0101, champion, Gate(champion_loss=0.03)).passed


def test_not_to_be_significantly_worse_is_not_enough() -> None:
    champion = np.full(10, 0.5)
    # Worse for one user of ten: the interval reaches from -0.14 to +0.04.
    worse = champion - np.array([0.5] + [0.0] * 9)
    found = against(worse, champion)
    assert found.found == "ahead by -0.0500 (-0.1417 to +0.0417), 10 users, -10.0% of 0.5000"
    assert not found.passed


def test_where_nothing_is_liked_nothing_can_be_lost() -> None:
    nothing = np.zeros(10)
    assert against(nothing, nothing).passed
    assert against(nothing + 0.2, nothing).passed


def test_the_reference_is_compared_at_a_level_that_holds_for_all_nights() -> None:
    champion = np.full(100, 0.5)
    # Ahead by 0.001 with a standard error of 0.005: the lower end is 1.66 of these away, and for
    # 14 nights together 2.75.
    own = champion + 0.001 + np.tile([0.05, -0.05], 50) * np.sqrt(99 / 100)
    evidence = replace(
        GOOD, own=own, popularity=np.zeros(100), champion=champion, reference=champion
    )
    assert failed(evidence) == ["no worse than the reference", "enough users to tell"]
    assert failed(evidence, Gate(reference_nights=1)) == []
    text = {check.name: check.found for check in judge(evidence, LIMITS).checks}
    assert "(-0.0073 to +0.0093)" in text[Condition.CHAMPION]
    assert "(-0.0127 to +0.0147)" in text[Condition.REFERENCE]


def test_a_night_says_what_loss_it_could_have_noticed() -> None:
    champion = np.full(100, 0.5)
    own = champion + np.tile([0.05, -0.05], 50) * np.sqrt(99 / 100)
    # (1.660 + 0.842) standard errors of 0.005, as a share of 0.5.
    told = compared(own, champion, LIMITS.level)
    assert told is not None
    found = enough_users([told], LIMITS)
    assert found.passed
    assert found.found == "100 users would show a loss of 2.5% four nights in five"
    assert found.wanted == "about 69 users for 2.0% of an equal model"


def test_too_few_users_are_a_reason_of_their_own() -> None:
    champion = np.full(10, 0.5)
    unsure = champion + np.tile([0.25, -0.25], 5)
    assert failed(replace(GOOD, own=unsure, champion=champion)) == [
        "no worse than the champion", "enough users to tell",
    ]  # fmt: skip
    told = compared(unsure, champion, LIMITS.level)
    assert told is not None
    found = enough_users([told], LIMITS)
    assert found.found.endswith("too few to tell")
    # 10 users, the lower end 0.1528 away, which has to be 0.01.
    assert found.wanted.startswith("about 2,334 users")
    # So much worse is told by ten users.
    assert failed(replace(GOOD, own=unsure - 0.4, champion=champion)) == [
        "beats popularity", "no worse than the champion",
    ]  # fmt: skip
    # Lists that differ for nobody tell all there is to tell.
    same = compared(champion, champion, LIMITS.level)
    assert same is not None
    assert enough_users([same], LIMITS).passed
    assert enough_users([same], LIMITS).found == "no difference for any of 10 users"
    # A single user tells nothing, and nobody knows how many would.
    alone = compared(np.ones(1), np.ones(1), LIMITS.level)
    assert alone is not None
    assert enough_users([alone], LIMITS).wanted.startswith("more users")


def test_pairing_sees_what_means_do_not() -> None:
    generator = np.random.default_rng(0)
    # Users differ far more from one another than the two models do.
    hard = generator.uniform(0, 1, 40)
    assert not against(hard - 0.011, hard).passed
    assert against(hard - 0.005, hard).passed


@pytest.mark.parametrize("kind", ["users", "items", "tags", "user features"])
def test_a_share_of_the_data_may_be_gone(kind: str) -> None:
    gone = {"users": Gone(0.0), "items": Gone(0.0)}
    assert not_shrunken(gone | {kind: Gone(0.2, ("x",))}, -0.2, LIMITS).passed
    found = not_shrunken(gone | {kind: Gone(0.21, ("x", "y"))}, 0.0, LIMITS)
    assert not found.passed
    assert f"{kind} -21.0% (gone: x, y)" in found.found
    assert found.found.endswith("interactions +0.0%")
    assert not_shrunken(gone | {kind: Gone(0.21)}, 0.0, Gate(shrink=0.25)).passed
    assert not not_shrunken(gone, -0.201, LIMITS).passed


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
        compared(np.ones(3), np.ones(4), LIMITS.level)


FEW = Guard(metric="ndcg_at_10", segment="users with 5 to 9 likes", margin=0.1)


def test_a_guard_rail_holds_a_figure_that_the_owner_cares_about() -> None:
    champion = np.full(10, 0.5)
    assert guard_rail(Guarded(FEW, champion - 0.049, champion), LIMITS).passed
    found = guard_rail(Guarded(FEW, champion - 0.051, champion), LIMITS)
    assert str(found) == (
        "guard rail ndcg_at_10 of users with 5 to 9 likes: ahead by -0.0510 (-0.0510 to -0.0510), "
        "10 users, -10.2% of 0.5000, wanted lower end above -10.0% of the champion's"
    )
    assert failed(replace(GOOD, guarded=(Guarded(FEW, champion - 0.051, champion),))) == [
        "guard rail"
    ]
    unsure = champion + np.tile([0.25, -0.25], 5)
    assert guard_rail(Guarded(FEW, unsure, champion), LIMITS).found.endswith("too few to tell")


@pytest.mark.parametrize(
    ("metric", "own", "passed"),
    [
        ("coverage_at_10", 0.45, True),
        ("coverage_at_10", 0.449, False),
        ("coverage_at_10", 0.9, True),
        # Of these, less is better.
        ("gini_at_10", 0.551, False),
        ("gini_at_10", 0.1, True),
        ("popularity_percentile_at_5", 0.56, False),
    ],
)
def test_a_guard_rail_of_all_lists_has_no_interval(metric: str, own: float, passed: bool) -> None:
    guard = Guard(metric=metric, margin=0.1)
    found = guard_rail(Guarded(guard, own, 0.5), LIMITS)
    assert found.passed is passed
    assert found.found == f"{own:.4f}, the champion's 0.5000"


def test_a_guard_rail_without_a_champion_passes_and_one_of_no_segment_does_not() -> None:
    assert guard_rail(Guarded(FEW, None, None, NO_CHAMPION), LIMITS).passed
    found = guard_rail(Guarded(FEW, None, None, "there are others", unknown=True), LIMITS)
    assert (found.passed, found.found) == (False, "there are others")


def test_several_guard_rails_are_told_apart_by_what_they_are_about() -> None:
    check = Check(Condition.GUARD, True, "a", "b", "auc")
    assert label_of(Verdict((check,)).as_dict()["checks"][0]) == check.label == "guard rail auc"
    # As a release before wrote it.
    assert label_of({"name": "coverage", "passed": True, "found": "1", "wanted": "2"}) == "coverage"
    plain = {
        "passed": True,
        "checks": [{"name": "coverage", "passed": True, "found": "", "wanted": ""}],
    }
    assert Verdict.from_dict(plain).checks[0].label == "coverage"


def test_nothing_to_compare_with_holds_nobody() -> None:
    assert no_worse(Condition.REFERENCE, None, LIMITS, "not asked for").passed
    assert enough_users([], LIMITS).passed
    assert no_worse(Condition.CHAMPION, None, LIMITS).found == NO_CHAMPION


def test_stored_configurations_of_earlier_releases_are_read() -> None:
    assert Gate.model_validate({"champion_margin": 0.0, "bootstrap_samples": 1000}) == Gate()
    with pytest.raises(ValueError, match="champion_loss in the place of champion_margin"):
        Gate.model_validate({"champion_margin": 0.01})


def test_the_limit_of_list_overlap_is_read_under_its_old_name() -> None:
    assert Gate.model_validate({"alike": 0.3}).list_overlap == 0.3
    assert Gate.model_validate({"list_overlap": 0.4}).list_overlap == 0.4
