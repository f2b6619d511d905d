"""Content against scikit-learn's tf-idf, cosines by hand, and the slow obvious way."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.feature_extraction.text import TfidfTransformer
from sklearn.preprocessing import normalize

from recsys.models.content import Profiles, inverse_frequency, suggest_features, tf_idf


def random_features(n_items: int = 60, n_features: int = 30, seed: int = 0) -> sp.csr_matrix:
    """Item 3 and feature 4 have nothing."""
    rng = np.random.default_rng(seed)
    dense = (rng.random((n_items, n_features)) < 0.15) * rng.integers(1, 4, (n_items, n_features))
    dense[3], dense[:, 4] = 0, 0
    return sp.csr_matrix(dense.astype(np.float32))


def profiles_of(features: sp.csr_matrix) -> Profiles:
    return tf_idf(features, inverse_frequency(features, features.shape[1]))


def dense(profiles: Profiles) -> np.ndarray:
    parts = profiles.data, profiles.indices, profiles.indptr
    return sp.csr_matrix(parts, shape=(profiles.n_items, profiles.n_features)).toarray()


def test_weights_are_scikit_learns():
    features = random_features()
    peer = TfidfTransformer().fit_transform(features).toarray()
    np.testing.assert_allclose(dense(profiles_of(features)), peer, rtol=1e-5, atol=1e-6)


def test_only_counted_items_count():
    features = random_features()
    peer = TfidfTransformer().fit(features[:20]).idf_
    found = inverse_frequency(features, 30, np.arange(20))
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, peer, rtol=1e-6)


def test_one_item_is_weighed_as_its_row():
    features = random_features()
    profiles = profiles_of(features)
    row = features[7]
    np.testing.assert_allclose(
        profiles.weigh(row.indices, row.data), profiles.rows(np.array([7])).data, rtol=1e-5
    )
    assert not len(profiles.weigh(np.array([], int)))


def test_rows_are_taken_in_the_order_asked_for():
    profiles = profiles_of(random_features())
    chosen = np.array([5, 3, 5, 0])
    np.testing.assert_array_equal(dense(profiles.rows(chosen)), dense(profiles)[chosen])


def test_votes_worked_out_by_hand():
    # Features a, b, c, d; weights of one. Items: abc, ab, ad, c; asked: an item with a.
    features = sp.csr_matrix(
        np.array([[1, 1, 1, 0], [1, 1, 0, 0], [1, 0, 0, 1], [0, 0, 1, 0]], np.float32)
    )
    profiles = tf_idf(features, np.ones(4, np.float32))
    votes = suggest_features(profiles, np.array([0]))
    # Votes 3 ** -1.5 for b and c, 2 ** -1.5 for b, 2 ** -1.5 for d; b has most.
    most = 3**-1.5 + 2**-1.5
    # Of the three items with a two have b, one c, one d: 1, 1/2, 1/2 of the greatest; a tenth.
    expected = [-np.inf, 1 + 1 / 10, 3**-1.5 / most + 1 / 20, 2**-1.5 / most + 1 / 20]
    np.testing.assert_allclose(votes, expected, rtol=1e-6)
    # A vector along item 3's, whose likeness is (0 + 1) / 2 now; those of the others halve.
    directions = np.array([[1, 0], [1, 0], [1, 0], [0, 1]], np.float32)
    votes = suggest_features(profiles, np.array([0]), np.array([0, 5], np.float32), directions)
    most = 1 + 3**-1.5  # c, in eighths
    expected = [
        -np.inf,
        (3**-1.5 + 2**-1.5) / most + 1 / 10,
        1 + 1 / 20,
        2**-1.5 / most + 1 / 20,
    ]
    np.testing.assert_allclose(votes, expected, rtol=1e-5)


def test_an_item_does_not_vote_for_itself():
    features = random_features()
    profiles = profiles_of(features)
    directions = normalize(np.random.default_rng(2).standard_normal((60, 4))).astype(np.float32)
    shown = features[7].indices[:-1]
    hidden = features[7].indices[-1]
    others = [i for i in range(60) if i != 7]
    alone = suggest_features(profiles, shown, directions[7], directions, leave_out=7)
    without = suggest_features(
        profiles.rows(np.array(others)), shown, directions[7], directions[others]
    )
    np.testing.assert_allclose(alone, without, rtol=1e-5, atol=1e-6)
    itself = suggest_features(profiles, shown, directions[7], directions)
    assert itself[hidden] > alone[hidden]


def test_few_neighbours_are_the_nearest_and_cooccurrence_is_everybodys():
    profiles = profiles_of(random_features())
    features = np.array([1, 2])
    own = np.zeros(30, np.float32)
    own[features] = profiles.weigh(features)
    likeness = dense(profiles) @ own
    nearest = np.argsort(-likeness)[:4]
    present = dense(profiles) > 0
    votes = (likeness[nearest] ** 3) @ present[nearest]
    company = sum(present[present[:, f]].mean(axis=0) for f in features)
    others = np.setdiff1d(np.arange(30), features)
    expected = np.full(30, -np.inf)
    expected[others] = votes[others] / votes[others].max()
    expected[others] += company[others] / company[others].max() / 10
    found = suggest_features(profiles, features, neighbours=4)
    np.testing.assert_allclose(found, expected, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("vector", [None, np.zeros(4, np.float32)])
def test_an_item_with_nothing_is_given_no_feature(vector: np.ndarray | None):
    profiles = profiles_of(random_features())
    directions = np.ones((60, 4), np.float32) / 2
    assert not suggest_features(profiles, np.array([], int), vector, directions).any()
