"""Withheld items and users: nothing of them is left, and they are served as well as planted."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from sklearn.preprocessing import normalize

from recsys.evaluation.cold_start import (
    ContentScorer,
    best_blending,
    shuffled_profiles,
    withhold,
)
from recsys.evaluation.comparison import StrategyFits, TriedStrategy, compare
from recsys.models.content import inverse_frequency, tf_idf
from recsys.models.hybrid import FeaturesBySide
from recsys.ranking.factors import Factors
from tests.fixtures.matrices import ITEMS, SIZE, group_tags, grouped


@given(st.integers(0, 2**31 - 1), st.lists(st.integers(0, ITEMS - 1), unique=True))
def test_every_interaction_is_in_one_place(seed: int, cold: list[int]):
    known, test = grouped()
    held = withhold(known, test, np.array(sorted(cold), int), seed)
    back = sp.lil_matrix(known.shape)
    back[:, held.cold] = held.items
    whole = held.train + back.tocsr() + held.known + held.test
    assert whole.max() == 1
    lost = (known + test - whole).tocoo()
    lost = set(zip(lost.row[lost.data != 0], lost.col[lost.data != 0], strict=True))
    # Gone: what withheld users have of cold items, and what others had in the test holdout.
    users = set(held.users.tolist())
    assert all((u in users) == (i in cold) or test[u, i] for u, i in lost)
    assert not held.train[:, held.cold].nnz
    assert not held.train[held.users].nnz
    assert not held.known[:, held.cold].nnz


def test_content_scores_are_cosines_to_the_sum_of_what_is_liked():
    rng = np.random.default_rng(3)
    features = sp.csr_matrix((rng.random((20, 9)) < 0.3).astype(np.float32))
    likes = sp.csr_matrix((rng.random((7, 20)) < 0.3).astype(np.float32))
    profiles = tf_idf(features, inverse_frequency(features, 9))
    rows = np.array([4, 2, 11])
    dense = sp.csr_matrix((profiles.data, profiles.indices, profiles.indptr), shape=(20, 9))
    expected = (normalize(likes @ dense) @ dense[rows].T).toarray()
    found = ContentScorer(profiles, likes, profiles.rows(rows)).score(np.arange(7))
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-6)


def test_shuffling_deals_the_same_features_to_others():
    features = sp.csr_matrix(np.array([[1, 0], [0, 0], [0, 1], [1, 1], [1, 0]], np.float32))
    profiles = tf_idf(features, np.ones(2, np.float32))
    dealt = shuffled_profiles(profiles, 1)
    assert not dealt.described[1]
    sizes = [sorted(np.diff(p.indptr).tolist()) for p in (profiles, dealt)]
    assert sizes[0] == sizes[1]


def test_vectors_folded_in_are_as_long_as_trained_ones():
    rng = np.random.default_rng(0)
    biases = np.zeros(6, np.float32)
    vectors = rng.standard_normal((6, 3)).astype(np.float32)
    from recsys.models.foldin import FoldIn
    from recsys.models.untrained import fold_in_items

    factors = Factors(vectors, vectors * 2, biases, biases)
    likers = sp.csr_matrix(np.array([[1, 1, 0, 0, 0, 0], [0, 0, 0, 0, 0, 0]], np.float32))
    foldin = FoldIn(np.eye(3, dtype=np.float32))
    found = fold_in_items(factors, foldin, likers)
    length = np.linalg.norm(vectors * 2, axis=1).mean()
    direction = vectors[0] + vectors[1]
    np.testing.assert_allclose(found[0], direction / np.linalg.norm(direction) * length, rtol=1e-5)
    assert not found[1].any()


@pytest.fixture(scope="module")
def compared() -> dict:
    known, test = grouped()
    cold = np.arange(8)
    tried = {
        "none": TriedStrategy(SIZE, 30),
        "mapped": TriedStrategy(SIZE | {"strategy": "mapped", "content_blending": 1.0}, 30),
        "joint": TriedStrategy(SIZE | {"strategy": "joint"}, 10),
    }
    held = withhold(known, test, cold, 1)

    def now(function, *arguments):
        from concurrent.futures import Future

        future: Future = Future()
        future.set_result(function(*arguments))
        return future

    fits = StrategyFits(tried, known, FeaturesBySide(item=group_tags()), 1, now).results()
    away = StrategyFits(tried, held.train, FeaturesBySide(item=group_tags()), 1, now).results()
    assert set(fits) == set(away) == set(tried)
    return compare(fits, away, tried, held, test, known, seed=1, samples=200)


def test_cold_items_are_found_by_their_tags_and_by_nothing_else(compared: dict):
    # Two of the eight cold items are of a user's group: at best 2 of 5.
    means = {
        name: entry["precision_at_5"]["mean"] for name, entry in compared["cold"]["models"].items()
    }
    best = means["content"]
    assert means["mapped"] == pytest.approx(best, rel=0.02)
    assert means["joint"] == pytest.approx(best, rel=0.05)
    assert means["shuffled"] < 0.8 * best
    assert means["popularity"] == 0
    assert compared["cold"]["items"] == 8


def test_new_users_are_served_like_trained_ones(compared: dict):
    assert compared["foldin"]["users"] > 10
    assert compared["foldin"]["share"] > 0.9


def test_the_sweep_starts_at_the_items_own_and_ends_at_their_features(compared: dict):
    assert [row["likes"] for row in compared["blend"]] == [1, 2, 3, 4, 5]
    for row in compared["blend"]:
        assert 0 < row["own"] <= 0.4
        assert 0 < row["features"] <= 0.4
        assert set(row["blend"]) == {"1", "2", "5", "10"}


def test_the_blending_is_the_best_on_average_and_the_least_of_equals(compared: dict):
    sweep = [{"blend": {"1": 0.1, "5": 0.3}}, {"blend": {"1": 0.4, "5": 0.2}}]
    assert best_blending(sweep) == 1
    assert best_blending([*sweep, {"blend": {"1": 0.1, "5": 0.2}}]) == 5
    assert compared["cold_blending"] in (1, 2, 5, 10)


def test_warm_users_are_compared_with_no_features(compared: dict):
    warm = compared["warm"]
    assert "above_none" not in warm["none"]
    low, high = (warm["mapped"]["above_none"][end] for end in ("low", "high"))
    assert low <= warm["mapped"]["above_none"]["mean"] <= high
    # One tag an item: nothing to hide and something left to go by.
    assert "suggestion" not in compared
