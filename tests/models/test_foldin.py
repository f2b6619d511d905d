"""Fold-in against the closed form, scikit-learn, and worlds where the right map is known."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.linear_model import Ridge

from recsys.models.foldin import FoldIn, blend_users, learn_foldin, pool_item_vectors
from recsys.ranking.factors import Factors


def world(n_users: int = 80, n_items: int = 50, d: int = 5, seed: int = 0):
    """Factors and likes; the first user likes nothing, the last everything."""
    rng = np.random.default_rng(seed)
    liked = rng.random((n_users, n_items)) < 0.2
    liked[0], liked[-1] = False, True
    factors = Factors(
        rng.standard_normal((n_users, d), np.float32),
        rng.standard_normal((n_items, d), np.float32),
        rng.standard_normal(n_users, np.float32),
        rng.standard_normal(n_items, np.float32),
    )
    return factors, sp.csr_matrix(liked.astype(np.float32))


def slow_pool(factors: Factors, likes: sp.csr_matrix) -> np.ndarray:
    counts = np.maximum(likes.getnnz(axis=1), 1)
    return (likes @ factors.item_factors) / np.sqrt(counts)[:, None]


def test_a_case_worked_out_by_hand():
    # 2 items at right angles; the user of both: (1, 1) / sqrt(2), times the matrix.
    vectors = np.array([[1, 0], [0, 1]], np.float32)
    foldin = FoldIn(np.array([[2, 0], [0, 4]], np.float32))
    np.testing.assert_allclose(foldin.user(vectors, np.array([0])), [2, 0])
    np.testing.assert_allclose(foldin.user(vectors, np.array([0, 1])), [2**0.5, 8**0.5])
    np.testing.assert_array_equal(foldin.user(vectors, np.array([], int)), [0, 0])


def test_pool_is_the_matrix_product(monkeypatch):
    factors, likes = world()
    expected = slow_pool(factors, likes)
    np.testing.assert_allclose(
        pool_item_vectors(factors.item_factors, likes), expected, rtol=1e-5, atol=1e-5
    )
    # Every user a portion, long ones alone.
    monkeypatch.setattr("recsys.models.foldin._GATHERED", 7)
    np.testing.assert_allclose(
        pool_item_vectors(factors.item_factors, likes), expected, rtol=1e-5, atol=1e-5
    )


@pytest.mark.parametrize(("penalty", "numbers"), [(1e-4, 2**18), (0.1, 2**18), (10.0, 33)])
def test_the_map_is_scikit_learns_ridge(
    penalty: float, numbers: int, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("recsys.ranking.rows._IN_BLOCK", numbers)  # one block, or many
    factors, likes = world()
    inputs = slow_pool(factors, likes)[1:].astype(np.float64)  # the first user was never trained
    alpha = penalty * (inputs**2).sum() / inputs.shape[1]
    peer = Ridge(alpha=alpha, fit_intercept=False).fit(inputs, factors.user_factors[1:])
    found = learn_foldin(factors, likes, penalty).matrix
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, peer.coef_.T, rtol=1e-4, atol=1e-5)


def test_a_planted_map_is_found_and_new_users_get_their_vector():
    factors, likes = world(n_users=200)
    planted = np.random.default_rng(1).standard_normal((5, 5)).astype(np.float32)
    users = pool_item_vectors(factors.item_factors, likes) @ planted
    known = replace(factors, user_factors=users[:100], user_biases=factors.user_biases[:100])
    foldin = learn_foldin(known, likes[:100], penalty=1e-9)
    np.testing.assert_allclose(
        foldin.users(factors.item_factors, likes[100:]), users[100:], rtol=1e-3, atol=1e-3
    )


def test_one_user_is_the_row_of_many_and_the_order_of_likes_is_nothing():
    factors, likes = world()
    foldin = learn_foldin(factors, likes)
    rows = foldin.users(factors.item_factors, likes)
    for user in (0, 1, 79):
        items = likes[user].indices
        alone = foldin.user(factors.item_factors, items)
        np.testing.assert_allclose(alone, rows[user], rtol=1e-4, atol=1e-5)
        np.testing.assert_allclose(
            foldin.user(factors.item_factors, items[::-1]), alone, rtol=1e-4, atol=1e-5
        )


def test_nothing_to_learn_from_gives_zero():
    factors, likes = world()
    nobody = sp.csr_matrix(likes.shape, dtype=np.float32)
    assert not learn_foldin(factors, nobody).matrix.any()


@pytest.mark.parametrize("numbers", [2**18, 2])
def test_blended_users_are_between_their_own_vector_and_the_folded_in_one(
    numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.ranking.rows._IN_BLOCK", numbers)  # one block, or one a user
    likes = sp.csr_matrix(np.array([[1, 1, 0], [0, 1, 1], [0, 0, 0], [1, 0, 1]], np.float32))
    rng = np.random.default_rng(3)
    factors = Factors(
        rng.normal(size=(4, 2)).astype(np.float32),
        rng.normal(size=(3, 2)).astype(np.float32),
        np.zeros(4, np.float32),
        np.zeros(3, np.float32),
    )
    folded = learn_foldin(factors, likes).users(factors.item_factors, likes)
    for share in (0.0, 0.25, 1.0):
        found = blend_users(factors, likes, share)
        expected = (1 - share) * factors.user_factors + share * folded
        expected[2] = factors.user_factors[2]  # likes nothing
        np.testing.assert_allclose(found.user_factors, expected, rtol=1e-5, atol=1e-6)
        assert found.item_factors is factors.item_factors
        out = factors.user_factors.copy()
        written = blend_users(replace(factors, user_factors=out), likes, share, out).user_factors
        assert written is out
        np.testing.assert_array_equal(written, found.user_factors)
