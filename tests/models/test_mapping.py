"""Mapping against the closed form, scikit-learn's Ridge, and a planted truth."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import Ridge

from recsys.models.content import Profiles, inverse_frequency, tf_idf
from recsys.models.mapping import (
    Mapping,
    blend_content,
    choose_mapping,
    fit_mapping,
    ridge,
    similar_features,
)
from recsys.ranking.factors import Factors


def features_of(n_items: int, n_features: int, seed: int = 0) -> sp.csr_matrix:
    """Tags at random; item 3 has none."""
    rng = np.random.default_rng(seed)
    dense = (rng.random((n_items, n_features)) < 0.2).astype(np.float32)
    dense[3] = 0
    return sp.csr_matrix(dense)


def world(
    n_users: int = 40, n_items: int = 120, n_features: int = 15, d: int = 4, seed: int = 0
) -> tuple[Profiles, Factors, sp.csr_matrix]:
    """Items that are the sum of their tags' vectors; users like what their vectors say."""
    rng = np.random.default_rng(seed)
    features = features_of(n_items, n_features, seed)
    profiles = tf_idf(features, inverse_frequency(features, n_features))
    tags = rng.standard_normal((n_features, d + 1)).astype(np.float32)
    items = matrix(profiles) @ tags
    users = rng.standard_normal((n_users, d)).astype(np.float32)
    factors = Factors(users, items[:, :d], np.zeros(n_users, np.float32), items[:, d])
    scores = users @ items[:, :d].T
    likes = sp.csr_matrix((scores > np.quantile(scores, 0.9, axis=1)[:, None]).astype(np.float32))
    return profiles, factors, likes


def matrix(profiles: Profiles) -> sp.csr_matrix:
    parts = profiles.data, profiles.indices, profiles.indptr
    return sp.csr_matrix(parts, shape=(profiles.n_items, profiles.n_features))


@settings(max_examples=40)
@given(
    st.integers(1, 30),
    st.integers(1, 20),
    st.sampled_from([0.01, 1.0, 100.0]),
    st.integers(0, 10_000),
)
def test_conjugate_gradients_reach_the_closed_form(n: int, p: int, penalty: float, seed: int):
    rng = np.random.default_rng(seed)
    dense = (rng.random((n, p)) < 0.4) * rng.random((n, p))
    targets = rng.standard_normal((n, 3)).astype(np.float32)
    targets[:, 1] = 0  # a column without anything to explain
    exact = np.linalg.solve(dense.T @ dense + penalty * np.eye(p), dense.T @ targets)
    found = ridge(sp.csr_matrix(dense.astype(np.float32)), targets, penalty, tolerance=1e-6)
    np.testing.assert_allclose(found, exact, rtol=1e-3, atol=1e-3)
    assert not found[:, 1].any()


@pytest.mark.parametrize("numbers", [2**18, 6 * 64])
def test_it_is_scikit_learns_ridge(numbers: int, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("recsys.ranking.rows._IN_BLOCK", numbers)  # one block, or four
    inputs = features_of(200, 30)
    targets = np.random.default_rng(1).standard_normal((200, 6)).astype(np.float32)
    peer = Ridge(alpha=2.0, fit_intercept=False, solver="cholesky")
    peer.fit(inputs.toarray().astype(np.float64), targets)
    found = ridge(inputs, targets, 2.0, tolerance=1e-6)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, peer.coef_.T, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("penalty", [0.0, -1.0, float("nan")])
def test_a_penalty_is_needed(penalty: float):
    with pytest.raises(ValueError, match="penalty"):
        ridge(features_of(10, 5), np.zeros((10, 1), np.float32), penalty)


def test_planted_tag_vectors_give_new_items_their_direction_and_bias():
    profiles, factors, _ = world()
    mapping = fit_mapping(profiles, factors, np.arange(100), penalty=1e-4)
    vectors, biases = mapping.vectors(profiles.rows(np.arange(100, 120)))
    own = factors.item_factors[100:]
    cosines = (vectors * own).sum(1) / np.linalg.norm(own, axis=1) / mapping.length
    assert cosines.min() > 0.99
    np.testing.assert_allclose(biases, factors.item_biases[100:], atol=0.02)


def test_mapped_vectors_are_as_long_as_trained_ones_on_average():
    profiles, factors, _ = world()
    learned = np.array([0, 1, 3, 7])  # item 3 has no tag and does not count
    mapping = fit_mapping(profiles, factors, learned)
    expected = np.linalg.norm(factors.item_factors[[0, 1, 7]], axis=1).mean()
    assert mapping.length == pytest.approx(expected, rel=1e-5)
    lengths = np.linalg.norm(mapping.vectors(profiles)[0], axis=1)
    np.testing.assert_allclose(lengths[lengths > 0], mapping.length, rtol=1e-5)
    assert lengths[3] == 0


def test_items_outside_do_not_matter():
    profiles, factors, _ = world()
    inside = np.arange(60)
    before = fit_mapping(profiles, factors, inside)
    factors.item_factors[60:] = 1e6
    after = fit_mapping(profiles, factors, inside)
    np.testing.assert_array_equal(before.feature_factors, after.feature_factors)


def test_the_gain_is_on_the_biases_alone():
    profiles, factors, _ = world()
    plain = fit_mapping(profiles, factors, np.arange(60))
    gained = fit_mapping(profiles, factors, np.arange(60), bias_gain=4.0)
    np.testing.assert_array_equal(gained.feature_factors, plain.feature_factors)
    np.testing.assert_allclose(gained.feature_biases, 4 * plain.feature_biases, rtol=1e-6)


def test_one_item_is_the_row_of_many():
    profiles, factors, _ = world()
    mapping = fit_mapping(profiles, factors, np.arange(100))
    vectors, biases = mapping.vectors(profiles)
    for item in (3, 110):
        start, stop = profiles.indptr[item : item + 2]
        features = profiles.indices[start:stop]
        vector, bias = mapping.vector(features, profiles.weigh(features))
        np.testing.assert_allclose(vector, vectors[item], rtol=1e-4, atol=1e-6)
        assert bias == pytest.approx(biases[item], rel=1e-4, abs=1e-6)


def test_the_choice_prefers_what_ranks_hidden_items():
    profiles, factors, likes = world()
    choice = choose_mapping(
        profiles, factors, likes, penalties=(0.01, 1e5), bias_gains=(0.0,), share=0.3
    )
    assert choice.penalty == 0.01
    assert choice.precision == max(choice.tried.values())
    assert choice.tried[0.01, 0.0] > 0.4  # chance is 0.1
    again = choose_mapping(
        profiles, factors, likes, penalties=(0.01, 1e5), bias_gains=(0.0,), share=0.3
    )
    assert again == choice


def test_the_choice_does_not_see_the_hidden_vectors():
    profiles, factors, likes = world()
    rng = np.random.default_rng(5)
    shuffled = Factors(
        factors.user_factors,
        factors.item_factors[rng.permutation(120)],
        factors.user_biases,
        factors.item_biases,
    )
    right = choose_mapping(profiles, factors, likes, share=0.3)
    wrong = choose_mapping(profiles, shuffled, likes, share=0.3)
    assert wrong.precision < 0.75 * right.precision


def test_a_choice_needs_items_with_features():
    profiles, factors, likes = world()
    empty = Profiles(np.zeros(121, np.int64), profiles.indices[:0], profiles.data[:0], profiles.idf)
    with pytest.raises(ValueError, match="features"):
        choose_mapping(empty, factors, likes)


def test_tags_are_blended_into_items_by_their_number_of_likes():
    profiles, factors, _ = world()
    mapping = fit_mapping(profiles, factors, np.arange(100))
    vectors, biases = mapping.vectors(profiles)
    likes = np.full(120, 2)
    likes[0], likes[1] = 0, 6
    blended = blend_content(factors, mapping, profiles, likes, 2.0)
    for item, share in ((0, 1.0), (1, 0.25), (5, 0.5), (3, 0.0)):  # item 3 has no tag
        expected = (1 - share) * factors.item_factors[item] + share * vectors[item]
        np.testing.assert_allclose(blended.item_factors[item], expected, rtol=1e-4, atol=1e-5)
    expected = (factors.item_biases[5] + biases[5]) / 2
    assert blended.item_biases[5] == pytest.approx(expected, abs=1e-5)
    still = blend_content(factors, mapping, profiles, np.full(120, 2), 0.0)
    np.testing.assert_array_equal(still.item_factors, factors.item_factors)
    assert blended.item_factors.dtype == blended.item_biases.dtype == np.float32


def test_features_are_compared_by_cosine():
    tags = np.array([[2, 0], [0, 0], [0, -1], [3, 3]], np.float32)
    mapping = Mapping(tags, np.zeros(4, np.float32), 1.0)
    cosines = similar_features(mapping, np.array([5, 0], np.float32))
    np.testing.assert_allclose(cosines, [1, 0, 0, 0.5**0.5], rtol=1e-6)


def test_asking_imports_numpy_alone():
    code = (
        "import sys, numpy as np; from recsys.models import content, foldin, mapping;"
        "mapping.Mapping(np.ones((2, 3), 'f'), np.ones(2, 'f'), 1.0)"
        ".vector(np.array([1]), np.ones(1, 'f'));"
        "heavy = {'scipy', 'sklearn', 'lightfm', 'pandas'} & set(sys.modules);"
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
