"""ALS against the equations that its solution satisfies."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from recsys.models.als import Als


def weighted(n_users: int = 70, n_items: int = 25, seed: int = 1) -> sp.csr_matrix:
    """Rows with fewer and with more interactions than there are components, some without any."""
    generator = np.random.default_rng(seed)
    shares = generator.random((n_users, 1)) ** 2
    likes = (generator.random((n_users, n_items)) < shares) * generator.uniform(0.5, 3)
    likes[:2] = 0
    likes[:, 3] = 0
    return sp.csr_matrix(likes.astype(np.float32))


@pytest.mark.parametrize("exponent", [0.0, 1.0])
@pytest.mark.parametrize("unobserved_weight", [0.0, 0.2])
def test_the_items_solve_the_stated_least_squares_for_the_users(
    exponent: float, unobserved_weight: float
) -> None:
    likes = weighted()
    model = Als(6, 0.05, unobserved_weight, exponent, iterations=3)
    found = model.fit(likes, seed=1)
    users, dense = found.user_factors.astype(np.float64), likes.toarray().astype(np.float64)
    for item in range(likes.shape[1]):
        weights = dense[:, item]
        mass = weights.sum() + unobserved_weight * len(users)
        normal = (users.T * (weights + unobserved_weight)) @ users
        normal += 0.05 * mass**exponent * np.eye(6)
        expected = np.linalg.solve(normal, users.T @ weights) if weights.any() else np.zeros(6)
        np.testing.assert_allclose(found.item_factors[item], expected, rtol=2e-3, atol=2e-4)


def test_who_has_no_interactions_has_no_scores() -> None:
    found = Als(6, iterations=2).fit(weighted(), seed=1)
    np.testing.assert_array_equal(found.user_factors[:2], 0)
    np.testing.assert_array_equal(found.item_factors[3], 0)


def test_batches_of_any_size_find_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    from recsys.models import als

    whole = Als(6, iterations=2).fit(weighted(), seed=1)
    monkeypatch.setattr(als, "_BATCH_BYTES", 1)
    parts = Als(6, iterations=2).fit(weighted(), seed=1)
    np.testing.assert_allclose(parts.item_factors, whole.item_factors, rtol=1e-3, atol=1e-5)
