"""Hybrid models: the matrices LightFM is trained on, and sums that have to add up."""

from __future__ import annotations

import time
from threading import Event
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from recsys.base.cores import cpu_seconds
from recsys.base.errors import ConfigError, InputError
from recsys.models import hybrid
from recsys.models.configuration import HybridParameters, parse_configuration
from recsys.models.foldin import learn_foldin
from recsys.models.hybrid import (
    FeaturesBySide,
    finish_training,
    fit_hybrid,
    map_features,
    start_training,
)
from tests.fixtures.matrices import SIZE, side


def world(seed: int = 0, n_users: int = 40, n_items: int = 12) -> sp.csr_matrix:
    """Even users like even items, odd users odd ones."""
    rng = np.random.default_rng(seed)
    same = np.arange(n_users)[:, None] % 2 == np.arange(n_items) % 2
    return sp.csr_matrix((same & (rng.random((n_users, n_items)) < 0.7)).astype(np.float32))


# One tag for even items, one for odd, one that all have; two more items nobody has liked.
TAGS = [[float(i % 2 == 0), float(i % 2), 1.0] for i in range(12)] + [[1, 0, 1], [0, 0, 0]]


def test_the_matrix_of_joint_training_by_hand():
    items = side([[1, 1, 0], [0, 1, 1], [0, 1, 0], [9, 9, 9]], trained=3)
    likes = np.array([1, 2, 3])
    # f0 and f2 are on one trained item each: left out; rows then have f1 alone, of length one.
    parameters = HybridParameters(
        "joint", min_support=2, normalisation="l2", feature_weight=0.5, features_below=3
    )
    expected = [[1, 0, 0, 0, 0.5, 0], [0, 1, 0, 0, 0.5, 0], [0, 0, 1, 0, 0, 0]]
    np.testing.assert_array_equal(items.joint_matrix(parameters, likes).toarray(), expected)
    plain = items.joint_matrix(HybridParameters("joint", normalisation="l1"), likes).toarray()
    np.testing.assert_array_equal(plain[:, 3:], [[0.5, 0.5, 0], [0, 0.5, 0.5], [0, 1, 0]])


def test_without_identity_items_are_their_features():
    items = side([[1, 0], [0, 2]], trained=2, identity=False, normalisation="none", weight=3.0)
    matrix = items.joint_matrix(HybridParameters("joint"), np.array([1, 1]))
    np.testing.assert_array_equal(matrix.toarray(), [[3, 0], [0, 6]])


def test_without_identity_items_above_the_limit_have_a_column():
    items = side([[1, 0], [0, 2]], trained=2, identity=False, normalisation="none")
    matrix = items.joint_matrix(HybridParameters("joint", features_below=3), np.array([2, 3]))
    np.testing.assert_array_equal(matrix.toarray(), [[0, 1, 0], [1, 0, 0]])


@pytest.mark.parametrize("whose", [("item",), ("user",), ("item", "user")])
def test_without_identity_whoever_has_no_features_has_a_column(whose: tuple[str, ...]):
    likes = world()
    # Users 0 and 1, items 0 to 2: nothing is said of them.
    rows = {
        "item": [[0.0, 0.0]] * 3 + [[float(i % 2), 1.0] for i in range(3, 12)],
        "user": [[0.0, 0.0]] * 2 + [[float(u % 2), 1.0] for u in range(2, 40)],
    }
    tagged = {name: side(rows[name], len(rows[name]), identity=False) for name in rows}
    sides = FeaturesBySide(**{name: tagged[name] for name in whose})
    configuration = SIZE | {"strategy": "joint", "no_components": 2}
    training = start_training(likes, configuration, 1, sides)
    training.advance(20)  # LightFM divided nothing by nothing here, and the model diverged
    model = finish_training(training, likes, configuration, sides)
    assert model.factors.finite()
    for name in whose:
        empty, n = {"item": (3, 12), "user": (2, 40)}[name]
        matrix = tagged[name].joint_matrix(HybridParameters("joint"), np.ones(n, int))
        assert matrix.shape == (n, empty + 2)
        np.testing.assert_array_equal(matrix[:empty].toarray(), np.eye(empty, empty + 2))
        assert not matrix[empty:, :empty].nnz
        factors = getattr(model.factors, f"{name}_factors")
        assert (np.abs(factors[:empty]) > 0).any(axis=1).all()
        information = getattr(model, name)
        assert not information.profiles.described[:empty].any()
        assert information.mapping.feature_factors.shape == (2, 2)
        # Of the others all comes from the features.
        vectors, _ = information.mapping.vectors(information.profiles)
        np.testing.assert_allclose(factors[empty:], vectors[empty:], rtol=1e-4, atol=1e-5)


def test_features_mapped_without_blending_leave_the_ranking_as_it_was():
    sides = FeaturesBySide(item=side(TAGS, 12))
    plain = fit_hybrid(world(), SIZE, 5, 1)
    with_tags = fit_hybrid(world(), SIZE | {"strategy": "mapped", "penalty": 0.1}, 5, 1, sides)
    np.testing.assert_array_equal(plain.factors.item_factors, with_tags.factors.item_factors)
    assert plain.item is None
    assert with_tags.item is not None
    assert not with_tags.item.share[:12].any()


def test_users_are_blended_with_their_foldin_and_items_stay_as_they_were():
    likes, sides = world(), FeaturesBySide(item=side(TAGS, 12))
    plain = fit_hybrid(likes, SIZE, 5, 1).factors
    model = fit_hybrid(likes, SIZE | {"strategy": "mapped", "user_blending": 0.25}, 5, 1, sides)
    folded = learn_foldin(plain, likes).users(plain.item_factors, likes)
    share = np.where(np.diff(likes.indptr) > 0, 0.25, 0)[:, None]
    assert share.min() == 0  # somebody likes nothing, and stays
    expected = (1 - share) * plain.user_factors + share * folded
    np.testing.assert_allclose(model.factors.user_factors, expected, rtol=1e-5, atol=1e-6)
    np.testing.assert_array_equal(model.factors.item_factors, plain.item_factors)
    np.testing.assert_array_equal(model.factors.user_biases, plain.user_biases)
    # Without tags it is the same, and newcomers' maps are learned from users as they are ranked.
    untagged = fit_hybrid(likes, SIZE | {"user_blending": 0.25}, 5, 1).factors
    np.testing.assert_array_equal(untagged.user_factors, model.factors.user_factors)
    np.testing.assert_array_equal(model.own.user_factors, model.factors.user_factors)


def test_content_blending_is_the_share_and_the_rest_is_the_items_own():
    likes, sides = world(), FeaturesBySide(item=side(TAGS, 12))
    model = fit_hybrid(likes, SIZE | {"strategy": "mapped", "content_blending": 2.0}, 5, 1, sides)
    assert model.item is not None
    counts = np.bincount(likes.indices, minlength=12)
    np.testing.assert_allclose(model.item.share[:12], 2 / (2 + counts), rtol=1e-6)
    vectors, biases = model.item.mapping.vectors(model.item.profiles)
    share = model.item.share[:12, None]
    expected = (1 - share) * model.own.item_factors + share * vectors[:12]
    np.testing.assert_allclose(model.factors.item_factors, expected, rtol=1e-5, atol=1e-6)
    # Behind the trained items: one with tags, one with none.
    whole = model.catalogue()
    assert model.item.share[12:].tolist() == [1, 0]
    np.testing.assert_allclose(whole.item_factors[12:], [vectors[12], np.zeros(4)], rtol=1e-6)
    np.testing.assert_allclose(whole.item_biases[12:], [biases[12], 0], rtol=1e-6)


def test_an_unseen_item_goes_to_the_users_of_its_tag():
    likes, sides = world(), FeaturesBySide(item=side(TAGS, 12))
    factors = fit_hybrid(likes, SIZE | {"strategy": "mapped"}, 30, 1, sides).catalogue()
    scores = factors.user_factors @ factors.item_factors[12]
    assert scores[::2].min() > scores[1::2].max()


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {"normalisation": "l1", "feature_weight": 0.3},
        {"min_support": 7, "features_below": 20},
    ],
)
def test_joint_parts_add_up_to_lightfms_own_representations(parameters: dict[str, Any]):
    likes, sides = (
        world(),
        FeaturesBySide(item=side(TAGS, 12), user=side([[1.0, i % 2] for i in range(40)], 40)),
    )
    configuration = SIZE | {"strategy": "joint", **parameters}
    training = start_training(likes, configuration, 1, sides)
    training.advance(5)
    model = finish_training(training, likes, configuration, sides)
    for name in ("item", "user"):
        information = getattr(model, name)
        n = getattr(model.factors, f"n_{name}s")
        vectors, biases = information.mapping.vectors(information.profiles)
        identity = getattr(training._model, f"{name}_embeddings")[:n]
        own_bias = getattr(training._model, f"{name}_biases")[:n]
        share = information.share[:n]
        np.testing.assert_allclose(
            identity + share[:, None] * vectors[:n],
            getattr(model.factors, f"{name}_factors"),
            rtol=1e-4,
            atol=1e-5,
        )
        np.testing.assert_allclose(
            own_bias + share * biases[:n],
            getattr(model.factors, f"{name}_biases"),
            rtol=1e-4,
            atol=1e-5,
        )


def test_features_that_nothing_trained_has_say_nothing():
    # The third tag is on the fourth item only, which was never trained.
    items = side([[1, 0, 0], [0, 1, 0], [1, 0, 0], [0, 0, 1]], trained=3)
    likes = sp.csr_matrix(np.array([[1, 0, 1], [0, 1, 0]], np.float32))
    model = fit_hybrid(likes, SIZE | {"strategy": "joint"}, 3, 1, FeaturesBySide(item=items))
    assert model.item is not None
    assert not model.item.mapping.feature_factors[2].any()
    assert not model.catalogue().item_factors[3].any()


def test_user_features_are_mapped_as_well():
    users = side([[float(u % 2 == 0), float(u % 2)] for u in range(40)], 40)
    model = fit_hybrid(world(), SIZE, 30, 1, FeaturesBySide(user=users))
    assert model.user is not None
    even, _ = model.user.mapping.vector(np.array([0]), np.ones(1, np.float32))
    scores = model.factors.item_factors @ even
    assert scores[::2].min() > scores[1::2].max()


def test_mapping_again_is_what_learning_did():
    likes, sides = world(), FeaturesBySide(item=side(TAGS, 12))
    configuration = SIZE | {"strategy": "mapped", "content_blending": 1.0}
    model = fit_hybrid(likes, configuration, 5, 1, sides)
    again = map_features(model.own, likes, parse_configuration(configuration)[1], sides)
    np.testing.assert_array_equal(model.factors.item_factors, again.factors.item_factors)


def test_what_cannot_be_is_said():
    with pytest.raises(InputError, match="joint model without features"):
        fit_hybrid(world(), SIZE | {"strategy": "joint"}, 1, 1)
    with pytest.raises(ConfigError, match=r"strategy 'magic'.*none, mapped, joint"):
        parse_configuration(SIZE | {"strategy": "magic"})
    with pytest.raises(ConfigError, match="no hyper-parameter 'colour'"):
        parse_configuration(SIZE | {"colour": 1})


NEIGHBOURS = {"no_components": 4, "neighbours": "ease", "neighbours_weight": 1.0}


def test_neighbours_that_are_solved_beside_the_epochs_are_those_solved_after_them() -> None:
    likes = world()
    beside, after = (fit_hybrid(likes, NEIGHBOURS, 3, 1, threads=count) for count in (2, 1))
    assert beside.neighbours is not None
    assert after.neighbours is not None
    np.testing.assert_array_equal(beside.neighbours.weights, after.neighbours.weights)
    np.testing.assert_array_equal(beside.factors.item_factors, after.factors.item_factors)


def test_a_fit_that_diverges_does_not_wait_for_its_neighbours(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    ended = Event()
    monkeypatch.setattr(hybrid, "solve_neighbours", lambda *_: ended.wait(60))
    start = time.monotonic()
    with pytest.raises(InputError, match="diverged"):
        fit_hybrid(world(), {**NEIGHBOURS, "learning_rate": 1e9}, 20, 1, threads=2)
    assert time.monotonic() - start < 30
    ended.set()


def test_cpu_seconds_of_neighbours_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    def spend(*_: object) -> None:
        end = time.thread_time() + 0.3
        while time.thread_time() < end:
            pass

    monkeypatch.setattr(hybrid, "solve_neighbours", spend)
    for threads in (1, 2):
        start = cpu_seconds()
        fit_hybrid(world(), NEIGHBOURS, 1, 1, threads=threads)
        assert cpu_seconds() - start >= 0.3
