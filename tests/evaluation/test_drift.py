"""Drift: what is planted is found and named, and two samples of one world do not drift."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import date, timedelta

import pandas as pd
import pytest

from recsys.data.night_profile import NightProfile, profile_of, sketch, without_users
from recsys.evaluation.drift import (
    LABELS,
    Found,
    Limits,
    distinct,
    drift_checks,
    drift_metrics,
    find_drift,
    new_and_lost,
)
from recsys.notebook import read_features, read_interactions
from tests.fixtures.planted import planted
from tests.fixtures.timed import DAY, timed


def profile(likes: pd.DataFrame, features: pd.DataFrame | None = None) -> NightProfile:
    time = "t" if "t" in likes else None
    read = read_interactions(likes, user="uid", item="mid", timestamp=time)
    found = None if features is None else read_features(features, owner="mid")
    return profile_of(read.interactions, found, None, {"likes": {"duplicate": 5}}, {"likes": 1000})


def drifting(tonight: NightProfile, before: Sequence[NightProfile]) -> dict[str, Found]:
    return {one.label: one for one in find_drift(tonight, before) if one.drifts}


WORLDS = [profile(*planted(users=60, seed=seed)) for seed in range(6)]


def test_samples_of_one_world_do_not_drift() -> None:
    for place in range(2, len(WORLDS)):
        assert not drifting(WORLDS[place], WORLDS[:place])


def test_a_tag_that_twice_as_many_likes_go_to_is_named() -> None:
    likes, features = planted(users=60, seed=9)
    # Users of another group turn to the items of the first one.
    moved = likes.uid.str.startswith("g3")
    likes.loc[moved, "mid"] = likes.mid[moved].str.replace(r"^g\d", "g0", regex=True)
    found = drifting(profile(likes.drop_duplicates(["uid", "mid"]), features), WORLDS[:3])
    assert "tags tag_group 0" in found
    assert found["tags"].statistic == "PSI"
    assert found["tags"].score > 0.1
    name = found["tags tag_group 0"]
    assert float(name.tonight.rstrip("%")) > 1.5 * float(name.usual.rstrip("%"))


def days(*counts: int, first: str = "2026-10-05") -> NightProfile:
    """A profile of likes on consecutive days."""
    start = date.fromisoformat(first)
    likes = {(start + timedelta(days=n)).isoformat(): count for n, count in enumerate(counts)}
    return replace(WORLDS[0], days=likes, likes=sum(counts))


def test_a_day_with_a_tenth_of_the_likes_is_named() -> None:
    usual = [400, 420, 390, 410, 405, 395, 415, 400, 410, 400]
    before = [days(*usual[:n]) for n in (8, 9, 10)]
    found = drifting(days(*usual, 40), before)
    assert list(found) == ["likes a day 2026-10-15"]
    assert found["likes a day 2026-10-15"].text.startswith(
        "likes a day 2026-10-15: 40, usually 402 (z -"
    )
    assert not drifting(days(*usual, 412), before)
    # The day after, it is known already: another one is asked of.
    assert not drifting(days(*usual, 40, 400), [*before, days(*usual, 40)])


def test_a_day_that_goes_on_after_the_night_is_compared_when_it_is_over() -> None:
    usual = [400, 420, 390, 410, 405, 395, 415, 400, 410]
    # Each night sees a twentieth of its newest day.
    before = [days(*usual[:n], 20) for n in (6, 7, 8)]
    assert not drifting(days(*usual, 20), before)
    assert "likes a day 2026-10-13" in drifting(days(*usual[:8], 40, 20), before)


def test_a_sunday_is_compared_with_sundays() -> None:
    weeks = [400, 400, 400, 400, 400, 100, 90] * 4
    before = [days(*weeks[:n]) for n in (26, 27)]
    assert not drifting(days(*weeks), before)
    assert drifting(days(*weeks[:27], 400), before)


def test_what_is_left_out_for_another_reason_than_usual_is_named() -> None:
    tonight = replace(WORLDS[3], left_out={"likes": {"duplicate": 5, "no item": 40}})
    found = drifting(tonight, WORLDS[:3])
    assert list(found) == ["rows left out of likes: no item"]
    assert (found["rows left out of likes: no item"].tonight) == "4.0%"


def test_users_that_are_exchanged_are_seen_although_their_number_is_the_same() -> None:
    likes, features = planted(users=60, seed=9)
    likes["uid"] = likes.uid.where(~likes.uid.str.contains(r"u[0-2]"), "x" + likes.uid)
    found = drifting(profile(likes, features), WORLDS[:3])
    assert set(found) == {"new users", "lost users"}
    assert found["new users"].tonight == found["lost users"].tonight == "50.0%"


def test_half_of_the_likes_are_missing_of_every_user() -> None:
    found = drifting(profile(*planted(users=60, likes=4)), WORLDS[:3])
    assert {"likes", "likes a user"} <= set(found)
    assert found["likes a user"].score > 0.25


def test_nights_without_times_grow_by_as_much() -> None:
    nights = [replace(WORLDS[0], likes=10_000 + 1_000 * n) for n in range(6)]
    usual = find_drift(replace(WORLDS[0], likes=16_020), nights)
    assert {one.label: one.tonight for one in usual}["likes more than the night before"] == "+1,020"
    assert not [one for one in usual if one.drifts]
    found = drifting(replace(WORLDS[0], likes=15_100), nights)
    assert list(found) == ["likes more than the night before"]


def test_ages_are_counted_from_the_newest_like() -> None:
    likes, _ = timed()
    young, old = profile(likes), likes.assign(t=likes.t - 200 * DAY)
    assert young.ages is not None
    assert sum(young.ages) == len(likes)
    newest = likes.t.max()
    assert young.ages[0] == (newest - likes.t < DAY).sum()
    assert len(young.days or {}) == 36
    assert list(young.days or {})[-1] == str(pd.Timestamp(newest, unit="s").date())
    both = pd.concat([old.assign(uid="z" + old.uid), likes])
    assert "ages of likes" in drifting(profile(both), [young])


def test_the_same_data_are_no_night_to_compare_with() -> None:
    a, b = WORLDS[:2]
    assert distinct([a, b, b], b) == [a]
    assert distinct([b], b) == []
    assert find_drift(b, [b]) == []


def test_a_sketch_that_forgot_somebody_is_still_a_full_one() -> None:
    ids = [f"user {number}" for number in range(3000)]
    whole = sketch(ids)
    someone = next(name for name in ids if sketch([name])[0] in whole)
    profile = {"schema": 1, "user_sketch": list(whole), "users": 3000}
    left = without_users(profile, [someone])
    assert left["forgotten"] == 1
    assert set(whole) - set(left["user_sketch"]) == {sketch([someone])[0]}
    assert without_users(left, [someone]) is left
    # Taken for a set of 511 it would have to have next to none of the others.
    before, tonight = left["user_sketch"], sketch(name for name in ids if name != someone)
    assert new_and_lost(before, tonight, forgotten=(1, 0)) == (0.0, 0.0)
    assert new_and_lost(tonight, before, forgotten=(0, 1)) == (0.0, 0.0)
    assert new_and_lost(before, sketch(ids), forgotten=(1, 0)) == (pytest.approx(1 / 512), 0.0)


def test_sketches_tell_shares_of_sets() -> None:
    ids = [f"user {n}" for n in range(4000)]
    assert new_and_lost(sketch(ids[:100]), sketch(ids[50:150])) == (0.5, 0.5)
    assert new_and_lost(sketch(ids[:100]), sketch(ids[:10])) == (0.0, 0.9)
    assert new_and_lost(sketch(ids[:10]), sketch(ids[10:400])) == (1.0, 1.0)
    new, lost = new_and_lost(sketch(ids[:3000]), sketch(ids[1000:]))
    assert new == pytest.approx(1 / 3, abs=0.08)
    assert lost == pytest.approx(1 / 3, abs=0.08)


def test_a_profile_is_small_and_read_back_as_it_was() -> None:
    for one in (WORLDS[0], days(1, 2, 3), profile(timed()[0])):
        text = json.dumps(one.as_dict())
        assert len(text) < 40_000
        assert NightProfile.from_dict(json.loads(text)) == one
    assert NightProfile.from_dict({**WORLDS[0].as_dict(), "schema": 99}) is None


def test_drift_warns_and_holds_where_the_owner_says_so() -> None:
    tonight = replace(WORLDS[3], left_out={"likes": {"no item": 400}}, items=900)
    found = find_drift(tonight, WORLDS[:3])
    warned = drift_checks(found, 3, ())
    assert [check.label for check in warned] == [
        "drift items", "drift rows left out of likes: no item"
    ]  # fmt: skip
    assert all(check.passed for check in warned)
    assert warned[1].found.startswith("40.0% (z ")
    assert warned[1].wanted == "about 0.0%; a warning, which does not hold"
    held = drift_checks(found, 3, ["rejected_rows"])
    assert [check.passed for check in held] == [True, False]
    (fine,) = drift_checks(find_drift(WORLDS[3], WORLDS[:3]), 3, list(LABELS))
    assert fine.passed
    assert fine.wanted == "as in the last 3 nights"
    (first,) = drift_checks([], 0, list(LABELS))
    assert (first.passed, first.found) == (True, "no earlier nights")


def test_a_limit_of_the_owner_decides_what_drifts() -> None:
    tonight = profile(*planted(users=60, likes=4))
    assert not [one for one in find_drift(tonight, WORLDS[:3], Limits(20.0, 3.0)) if one.drifts]


def test_mlflow_gets_the_farthest_of_each_name() -> None:
    found = find_drift(WORLDS[3], WORLDS[:3])
    metrics = drift_metrics(found)
    assert metrics["drift/found"] == 0
    assert {"drift/likes_z", "drift/tags_psi", "drift/likes_a_user_psi"} <= set(metrics)
    assert drift_metrics([]) == {}
