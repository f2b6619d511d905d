"""Spectral start: known structure found exactly, the same answer whatever was asked before."""

from __future__ import annotations

import tracemalloc
from typing import Literal

import numpy as np
import pytest
import scipy.sparse as sp
from sklearn.utils.extmath import randomized_svd

from recsys.base.errors import ConfigError
from recsys.data.features import with_identity
from recsys.data.interactions import read_interactions
from recsys.data.splits import split
from recsys.models import spectral
from recsys.models.configuration import LightFMParameters
from recsys.models.lightfm import Training
from recsys.models.spectral import LENGTH, PART, STEP, Spectrum, Start
from recsys.tuning.problems import Problem
from recsys.tuning.segments import train_whole
from recsys.tuning.trials import TrialResult
from tests.fixtures.planted import planted


def matrix(rows: list[list[float]]) -> sp.csr_matrix:
    return sp.csr_matrix(np.array(rows, np.float32))


# Two groups who like different things; nobody knows the last user or the last item.
GROUPS = matrix(
    [
        [1, 1, 0, 0, 0, 0],
        [1, 1, 0, 0, 0, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 1, 1, 1, 0],
        [0, 0, 0, 0, 0, 0],
    ]
)


def random_likes(
    seed: int, shape: tuple[int, int] = (60, 90), density: float = 0.1
) -> sp.csr_matrix:
    likes = sp.random(*shape, density, "csr", np.float32, random_state=seed)
    likes.data[:] = 1
    return likes


def users_of(start: Start) -> np.ndarray:
    """The vectors of all users."""
    return np.concatenate([vectors for _, vectors in start.users()])


def test_groups_that_share_nothing_get_one_direction_each() -> None:
    start = Spectrum(GROUPS, 0).start(4)
    users = users_of(start)
    assert users.shape == start.items.shape == (6, 2)  # no third direction in these likes
    for vectors, groups in ((users, ([0, 1], [2, 3, 4])), (start.items, ([0, 1], [2, 3, 4]))):
        one, other = (vectors[group] for group in groups)
        np.testing.assert_allclose(one, np.tile(one[0], (len(one), 1)), atol=1e-6)
        np.testing.assert_allclose(other, np.tile(other[0], (len(other), 1)), atol=1e-6)
        assert abs(float(one[0] @ other[0])) < 1e-6
        np.testing.assert_allclose(np.linalg.norm(vectors[:5], axis=1), LENGTH, rtol=1e-6)
    # Users point where the items do that they like.
    np.testing.assert_allclose(users[0], start.items[0], atol=1e-6)
    np.testing.assert_allclose(users[4], start.items[4], atol=1e-6)
    assert not users[5].any()
    assert not start.items[5].any()


def test_directions_are_the_singular_vectors_of_the_normalised_likes() -> None:
    likes = random_likes(1)
    dense = likes.toarray().astype(np.float64)
    of_users, of_items = dense.sum(axis=1), dense.sum(axis=0)
    scale = np.maximum(of_users, 1)[:, None] ** -0.5 * np.maximum(of_items, 1) ** -0.25
    left, values, _ = np.linalg.svd(dense * scale)
    whole = left[:, : len(values)] * np.sqrt(values)
    # Complete, so that the decomposition is exact up to a sign of each column.
    found = users_of(Spectrum(likes, 0).start(60))
    wanted = LENGTH * whole / np.linalg.norm(whole, axis=1, keepdims=True)
    np.testing.assert_allclose(np.abs(found), np.abs(wanted[:, : found.shape[1]]), atol=2e-3)


def test_of_fewer_users_than_items_they_are_those_of_scikit_learn() -> None:
    likes = random_likes(3, (150, 400))
    scale = [np.maximum(np.asarray(likes.sum(axis=axis)).ravel(), 1) for axis in (1, 0)]
    normalised = sp.diags(scale[0] ** -0.5) @ likes @ sp.diags(scale[1] ** -0.25)
    # The same random numbers, and few components, so that they are far from exact.
    left, values, right = randomized_svd(
        normalised.tocsr().astype(np.float32), STEP, n_iter=2, random_state=5
    )
    start = Spectrum(likes, 5).start(STEP)
    for found, vectors in ((users_of(start), left), (start.items, right.T)):
        whole = vectors * np.sqrt(values)
        wanted = LENGTH * whole / np.maximum(np.linalg.norm(whole, axis=1, keepdims=True), 1e-9)
        np.testing.assert_allclose(np.abs(found), np.abs(wanted), atol=2e-4)


def test_parts_of_users_have_the_vectors_of_all_and_nothing_holds_these(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    likes = random_likes(4, (12_000, 50), 0.2)
    whole = users_of(Spectrum(likes, 1).start(30))
    monkeypatch.setattr(spectral, "PART", 300)
    tracemalloc.start()
    start = Spectrum(likes, 1).start(30)
    rows = [(part.start, part.stop) for part, _ in start.users()]
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows == [(at, min(at + 300, 12_000)) for at in range(0, 12_000, 300)]
    assert PART > 12_000
    np.testing.assert_allclose(users_of(start), whole, atol=2e-4)
    # A part of the users with the random numbers in double precision, and what sums there are.
    assert peak < whole.nbytes


def test_the_answer_does_not_depend_on_what_was_asked_before() -> None:
    likes = random_likes(2, (200, 300))
    asked = Spectrum(likes, 7)
    for n in (STEP + 5, 9, 3 * STEP, 9):
        fresh = Spectrum(likes, 7).start(n)
        again = asked.start(n)
        assert users_of(again).shape == (200, n)
        np.testing.assert_array_equal(users_of(again), users_of(fresh))
        np.testing.assert_array_equal(again.items, fresh.items)


def test_no_likes_have_no_directions() -> None:
    start = Spectrum(sp.csr_matrix((3, 4), dtype=np.float32), 0).start(8)
    assert users_of(start).shape == (3, 0)
    assert start.items.shape == (4, 0)


def begun(
    initialisation: Literal["random", "spectral"], likes: sp.csr_matrix, **features: sp.csr_matrix
) -> dict[str, np.ndarray]:
    """Vectors after an epoch whose steps are too small to be seen."""
    settings = LightFMParameters(
        no_components=4, learning_rate=1e-12, initialisation=initialisation
    )
    training = Training(likes, settings, 3, **features)
    training.advance(1)
    return training.state()


def test_who_is_known_begins_with_a_direction_and_everything_else_as_lightfm_draws_it() -> None:
    drawn, spectral = begun("random", GROUPS), begun("spectral", GROUPS)
    start = Spectrum(GROUPS, 3).start(4)
    for side, vectors in (("user", users_of(start)), ("item", start.items)):
        found, before = (state[f"{side}_embeddings"] for state in (spectral, drawn))
        np.testing.assert_allclose(found[:5, :2], vectors[:5], atol=1e-6)
        np.testing.assert_allclose(found[5], before[5], atol=1e-6)
        np.testing.assert_allclose(found[:, 2:], before[:, 2:], atol=1e-6)


def test_features_begin_as_lightfm_draws_them() -> None:
    tags = matrix([[1, 0], [0, 1], [1, 0], [0, 1], [1, 1], [0, 1]])
    both = with_identity(tags)
    drawn = begun("random", GROUPS, item_features=both)["item_embeddings"]
    spectral = begun("spectral", GROUPS, item_features=both)["item_embeddings"]
    np.testing.assert_allclose(spectral[6:], drawn[6:], atol=1e-6)
    np.testing.assert_allclose(spectral[:5, :2], Spectrum(GROUPS, 3).start(4).items[:5], atol=1e-6)
    # Without an identity no column is an item's own, however many there are.
    many = sp.hstack([tags, tags, tags, tags]).tocsr()
    drawn, spectral = (
        begun(kind, GROUPS, item_features=many)["item_embeddings"]
        for kind in ("random", "spectral")
    )
    np.testing.assert_allclose(spectral, drawn, atol=1e-6)


def test_few_epochs_are_worth_more_than_after_a_random_start() -> None:
    reached = {"random": 0.0, "spectral": 0.0}
    for seed in (1, 2, 3):
        parts = split(read_interactions(planted()[0])[0], seed=seed)
        problem = Problem(parts.train, parts.validation, seed=seed)
        for kind in reached:
            settings = {"no_components": 16, "alpha": 1e-4, "initialisation": kind}
            reached[kind] += train_whole(problem, TrialResult(0, settings), [2]).precision
    assert reached["spectral"] > 1.05 * reached["random"]


def test_an_unknown_start_is_refused() -> None:
    with pytest.raises(ConfigError, match="one of random, spectral"):
        LightFMParameters.from_dict({"initialisation": "svd"})
