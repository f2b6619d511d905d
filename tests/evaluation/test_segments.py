"""Segments: who is in which, and what is measured there, on four users worked out by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

from recsys.data.ages import InteractionTimes
from recsys.data.features import EncodedFeatures
from recsys.evaluation.segments import (
    AGES,
    Segments,
    compare_on,
    evaluation_of,
    gains_and_losses,
    gains_text,
    measure_segments,
)
from recsys.ranking.factors import Factors
from recsys.ranking.metrics import Evaluation, evaluate

# Users 0 and 1 know one item, user 2 five, user 3 ten of twelve.
KNOWN = sp.csr_matrix(
    np.array([[1] + [0] * 11, [1] + [0] * 11, [1] * 5 + [0] * 7, [1] * 10 + [0] * 2], np.float32)
)
HELDOUT = sp.csr_matrix(
    np.array(
        [
            [0, 1] + [0] * 10,
            [0, 0, 1] + [0] * 9,
            [0] * 5 + [1, 1] + [0] * 5,
            [0] * 12,
        ],
        np.float32,
    )
)


def scorer(*order: int) -> Factors:
    """Everybody is recommended the items in this order, then the others."""
    biases = np.zeros(12, np.float32)
    for place, item in enumerate(order):
        biases[item] = 100 - place
    rest = [item for item in range(12) if item not in order]
    biases[rest] = -np.arange(len(rest))
    return Factors(
        np.zeros((4, 1), np.float32), np.zeros((12, 1), np.float32), np.zeros(4, np.float32), biases
    )


def measured(*order: int) -> Evaluation:
    return evaluate(scorer(*order), HELDOUT, known=KNOWN, ks=[5, 10])


def features(names: list[str], rows: list[list[int]]) -> EncodedFeatures:
    matrix = sp.csr_matrix(np.array(rows, np.float32))
    text = pa.array(names)
    return EncodedFeatures(matrix, text, text, text, np.asarray(matrix.getnnz(0), np.int32))


SEGMENTS = Segments(KNOWN, HELDOUT)


def test_users_fall_into_segments_by_their_known_likes() -> None:
    found = {one.name: one.members.tolist() for one in SEGMENTS.standard() if one.side == "users"}
    # User 3 is not tested, so users with ten likes are not measured.
    assert found == {
        "users with 1 to 4 likes": [True, True, False, False],
        "users with 5 to 9 likes": [False, False, True, False],
    }


def test_head_middle_and_tail_have_a_third_of_the_likes_each() -> None:
    # 17 likes: item 0 has four, 1 to 4 two each, 5 to 9 one each, 10 and 11 none.
    parts = {f"items of the {part}": [] for part in ("head", "middle", "tail")}
    for name in parts:
        found = SEGMENTS.named(name)
        assert found is not None
        parts[name] = np.flatnonzero(found.members).tolist()
    assert parts == {
        "items of the head": [0, 1],
        "items of the middle": [2, 3, 4],
        "items of the tail": [5, 6, 7, 8, 9, 10, 11],
    }


def aged(*days: float) -> Segments:
    """Likes of the four users at these times: user 0 and 1 have one each, 2 five, 3 ten."""
    times = InteractionTimes.of_matrix(KNOWN, np.asarray(days, np.float64))
    return Segments(KNOWN, HELDOUT, times=times)


def by_age(segments: Segments, side: str) -> dict[str, list[int]]:
    names = [f"{side} {age}" for age in AGES]
    found = {name: segments.named(name) for name in names}
    return {
        name: np.flatnonzero(one.members).tolist() for name, one in found.items() if one is not None
    }


def test_users_and_items_are_new_or_old_by_their_first_known_like() -> None:
    # First likes: user 0 on day 9, user 1 on day 5, user 2 on day 3, user 3 on day 1.
    segments = aged(9, 5, *[8, 3, 4, 6, 7], *[20, 19, 18, 17, 16, 15, 14, 13, 12, 1])
    # Before them came 3, 2, 1 and none of 4 users.
    assert by_age(segments, "users") == {
        "users of the newest third": [0],
        "users between new and old": [1],
        "users of the oldest third": [2, 3],
    }
    # Items 0 to 9 on days 5, 3, 4, 6, 7, 15, 14, 13, 12 and 1; 10 and 11 never. Nothing is held
    # out of 3, 4 and 8, which are between.
    assert by_age(segments, "items") == {
        "items of the newest third": [5, 6, 7],
        "items of the oldest third": [0, 1, 2, 9],
    }
    names = [one.name for one in segments.standard()]
    assert [name for name in names if name.endswith(AGES)] == [
        "users of the newest third", "users between new and old", "users of the oldest third",
        "items of the newest third", "items of the oldest third",
    ]  # fmt: skip


def test_what_came_at_one_time_is_in_one_third() -> None:
    # Three of four users came on day 1, user 0 after them.
    some = aged(2, 1, *[1, 3, 3, 3, 3], *[1] * 10)
    assert by_age(some, "users") == {
        "users of the newest third": [0],
        "users of the oldest third": [1, 2, 3],
    }
    # Where all came at once, or nobody knows when, there are neither new nor old ones.
    assert by_age(aged(*[1] * 17), "users") == {}
    assert by_age(SEGMENTS, "users") == by_age(SEGMENTS, "items") == {}


def test_figures_of_users_are_theirs() -> None:
    evaluation = measured(1, 5, 6)
    segment = SEGMENTS.named("users with 1 to 4 likes")
    assert segment is not None
    # User 0 finds item 1. User 1 finds item 2 behind 1, 5 and 6.
    assert segment.per_user(evaluation)["precision_at_5"].tolist() == [0.2, 0.2]
    assert segment.size(evaluation) == 2


def test_figures_of_items_count_their_held_out_likes_alone() -> None:
    evaluation = measured(1, 5)
    tail = SEGMENTS.named("items of the tail")
    assert tail is not None
    found = tail.per_user(evaluation)
    # Only user 2 has held-out items there: 5 is their first but one, 6 behind it.
    assert found["recall_at_5"].tolist() == [1.0]
    assert found["precision_at_5"].tolist() == [0.4]
    assert "auc" not in found
    head = SEGMENTS.named("items of the head")
    assert head is not None
    assert head.per_user(evaluation)["recall_at_5"].tolist() == [1.0]
    assert head.per_user(measured(11, 10, 9, 8, 7))["recall_at_5"].tolist() == [0.0]


def test_any_feature_names_a_segment() -> None:
    users = features(["country_de", "country_fr"], [[1, 0], [0, 1], [1, 0], [0, 0], [1, 0]])
    items = features(["tag_red"], [[0]] * 5 + [[1]] + [[0]] * 6)
    segments = Segments(KNOWN, HELDOUT, users, items)
    german = segments.named("users with country_de")
    assert german is not None
    assert german.members.tolist() == [True, False, True, False]
    red = segments.named("items with tag_red")
    assert red is not None
    assert np.flatnonzero(red.members).tolist() == [5]
    assert segments.named("users with country_it") is None
    assert segments.named("items with country_de") is None
    # Nothing is held out of users with ten likes.
    assert segments.named("users with 10 to 19 likes") is None
    assert segments.named("everybody") is None
    # Features of so few users are not measured unasked.
    assert not [one for one in segments.standard() if " with country" in one.name]


def test_common_features_are_measured_most_held_out_likes_first() -> None:
    generator = np.random.default_rng(0)
    users = 200
    known = sp.csr_matrix((generator.random((users, 12)) < 0.3).astype(np.float32))
    heldout = sp.csr_matrix(np.eye(12, dtype=np.float32)[np.arange(users) % 12])
    rows = [[1, int(user < 120), int(user < 60), int(user < 20)] for user in range(users)]
    found = Segments(known, heldout, features(["all", "many", "some", "few"], rows)).standard()
    names = [one.name for one in found if "with" in one.name and "likes" not in one.name]
    # What everybody has is no part, and of 20 users the mean says little.
    assert names == ["users with many", "users with some"]


def test_items_are_parted_by_category_whatever_tags_they_have() -> None:
    generator = np.random.default_rng(0)
    users, items = 300, 24
    known = sp.csr_matrix((generator.random((users, items)) < 0.2).astype(np.float32))
    # Item n is held out of every user n, n + 24, …: 12 or 13 likes of each item.
    heldout = sp.csr_matrix(np.eye(items, dtype=np.float32)[np.arange(users) % items])
    # Two categories on five and three items, ten on one each; six items have none.
    category = np.array([0] * 5 + [1] * 3 + list(range(2, 12)) + [-1] * 6)
    rows = np.zeros((items, 14), np.float32)
    rows[np.flatnonzero(category >= 0), category[category >= 0]] = 1
    rows[:, 12], rows[::2, 13] = np.arange(items) < 12, 1  # tags, of which six items have two
    names = pa.array([f"category_{n:02d}" for n in range(12)] + ["tag_a", "tag_b"])
    types = pa.array(["category"] * 12 + ["tag"] * 2)
    encoded = EncodedFeatures(
        sp.csr_matrix(rows), names, types, names, (rows > 0).sum(axis=0).astype(np.int32)
    )
    segments = Segments(known, heldout, item_features=encoded)
    found = {
        one.name: np.flatnonzero(one.members).tolist()
        for one in segments.standard()
        if one.side == "items" and " of the " not in one.name
    }
    # One item is held out too seldom to be measured; together such categories are, and say so.
    assert found == {
        "items with category_00": [0, 1, 2, 3, 4],
        "items with category_01": [5, 6, 7],
        "items with another category": list(range(8, 18)),
        "items without category": list(range(18, 24)),
        "items with tag_b": list(range(0, 24, 2)),
        "items with tag_a": list(range(12)),
    }
    without = segments.named("items without category")
    assert without is not None
    assert np.flatnonzero(without.members).tolist() == list(range(18, 24))
    parts = [found[name] for name in found if "category" in name]
    assert sorted(item for part in parts for item in part) == list(range(items))


def test_what_many_have_two_of_is_no_category() -> None:
    users = 200
    known = sp.csr_matrix(np.ones((users, 12), np.float32))
    heldout = sp.csr_matrix(np.eye(12, dtype=np.float32)[np.arange(users) % 12])
    country = np.eye(2, dtype=np.float32)[np.arange(users) % 2]
    both = country.copy()
    both[: users // 10] = 1
    names = pa.array(["country_de", "country_fr"])
    for rows, wanted in ((country, 2), (both, 0)):
        encoded = EncodedFeatures(
            sp.csr_matrix(rows),
            names,
            pa.array(["country"] * 2),
            names,
            (rows > 0).sum(axis=0).astype(np.int32),
        )
        segments = Segments(known, heldout, encoded)
        assert len(list(segments._by_category("users"))) == wanted
        # They are features all the same.
        assert len([one for one in segments.standard() if "country" in one.name]) == 2


def test_models_are_measured_on_every_segment() -> None:
    models = {"one": measured(1, 2, 5, 6), "other": measured(11, 10, 9, 8, 7)}
    found = measure_segments(SEGMENTS.standard(), models)
    first: dict[str, Any] = found[0]
    assert (first["segment"], first["side"], first["users"]) == (
        "users with 1 to 4 likes", "users", 2,
    )  # fmt: skip
    estimate = first["models"]["one"]["precision_at_5"]
    assert estimate == pytest.approx({"mean": 0.2, "low": 0.2, "high": 0.2})
    assert first["models"]["other"]["precision_at_5"]["mean"] == 0
    # A single user has no interval.
    assert found[1]["models"]["one"]["precision_at_5"] == {"mean": 0.4, "low": None, "high": None}


def test_who_gains_and_who_loses_is_paired_by_user() -> None:
    good, bad = measured(1, 2, 5, 6), measured(11, 10, 9, 8, 7)
    compared = gains_and_losses(SEGMENTS.standard(), good, bad)
    # Where there is a single user, nobody can tell.
    assert [(one["segment"], one["users"]) for one in compared] == [("users with 1 to 4 likes", 2)]
    assert compared[0]["mean"] == pytest.approx(0.2)
    assert gains_text(compared) == (
        "of 1 segments, 1 gain (users with 1 to 4 likes +0.2000) and 0 lose beyond chance"
    )
    assert "0 gain and 1 lose" in gains_text(gains_and_losses(SEGMENTS.standard(), bad, good))
    ahead = compare_on(None, "hit_rate_at_5", good, bad, 0.95)
    assert (ahead.mean, ahead.users) == (1.0, 3)


def test_an_evaluation_comes_back_from_its_ranks() -> None:
    found = measured(1, 5)
    owners = np.repeat(found.users, found.heldout.counts).astype(np.int64)
    again = evaluation_of(
        owners, found.heldout.indices, found.ranks, found.per_user, found.catalogue
    )
    assert again.users.tolist() == found.users.tolist()
    for segment in SEGMENTS.standard():
        for name, values in segment.per_user(found).items():
            assert segment.per_user(again)[name].tolist() == values.tolist()
