"""Models with a half-life or a window: as if fitted on likes of that weight, or on the recent."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp

from recsys.base.errors import ConfigError, InputError
from recsys.data.ages import Aging, InteractionTimes
from recsys.models import ease
from recsys.models.blending import item_to_item_model, parameters_of
from recsys.models.configuration import LightFMParameters, parse_configuration
from recsys.models.ease import Ease
from recsys.models.foldin import learn_foldin, learn_item_foldin
from recsys.models.hybrid import LightFM, fit_hybrid
from recsys.models.item_to_item import ItemToItemModel
from recsys.models.itemknn import ItemKnn
from recsys.models.lightfm import Training
from recsys.models.model import model_from_dict
from recsys.models.popularity import Popularity
from recsys.models.rp3beta import Rp3Beta
from recsys.ranking.neighbours import Neighbours

HALF = {"half_life": "30d"}
RECENT = {"window": "100d"}


def likes(seed: int = 3) -> tuple[sp.csr_matrix, InteractionTimes]:
    """Likes of up to 300 days of age; the last user and the last item have old ones alone."""
    generator = np.random.default_rng(seed)
    matrix = sp.csr_matrix((generator.random((60, 20)) < 0.3).astype(np.float32))
    days = generator.uniform(0, 300, matrix.nnz)
    users = np.repeat(np.arange(60), np.diff(matrix.indptr))
    days[(users == 59) | (matrix.indices == 19)] = 10.0
    return matrix, InteractionTimes.of_matrix(matrix, days)


def dense(neighbours: Neighbours) -> Any:
    parts = neighbours.weights, neighbours.indices, neighbours.indptr
    return sp.csr_matrix(parts, shape=(neighbours.n_items,) * 2).toarray()


ITEM_TO_ITEM: list[ItemToItemModel] = [
    Ease(3.0, 0.2, kept=20), ItemKnn(2.0, kept=20), Rp3Beta(1.0, 0.4, kept=20),
]  # fmt: skip


@pytest.mark.parametrize("model", ITEM_TO_ITEM, ids=lambda model: model.name)
def test_four_users_whose_likes_count_a_quarter_are_one_user(model: ItemToItemModel) -> None:
    matrix, _ = likes()
    quarters = sp.vstack([0.25 * matrix] * 4, format="csr", dtype=np.float32)
    np.testing.assert_allclose(
        dense(model.neighbours(quarters)), dense(model.neighbours(matrix)), rtol=2e-3, atol=1e-6
    )


def test_in_parts_as_well(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ease, "MOST_EXACT", 10)
    monkeypatch.setattr(ease, "POPULAR", 8)
    test_four_users_whose_likes_count_a_quarter_are_one_user(Ease(3.0, 0.2, kept=20, nearest=10))


def test_similar_items_by_hand() -> None:
    """Likes that count 1 and 1/4 of the one item, 1/4 and 1/4 of the other."""
    matrix = sp.csr_matrix(np.ones((2, 2), np.float32))
    times = InteractionTimes.of_matrix(matrix, np.array([60.0, 0.0, 0.0, 0.0]))
    found = dense(ItemKnn(0.0, half_life="30d").fit(matrix, times=times).neighbours)
    together = np.sqrt(1 / 4) + 1 / 4
    assert found[0, 1] == found[1, 0] == pytest.approx(together / np.sqrt(5 / 4 * 1 / 2))
    # From the first item 4 of 5 walks go to the first user, whose next step is the second item
    # in 1 of 5; 1 of 5 goes to the second user, whose next step is it in 1 of 2.
    walks = dense(Rp3Beta(1.0, 0.0, half_life="30d").fit(matrix, times=times).neighbours)
    assert walks[0, 1] == pytest.approx(4 / 5 * 1 / 5 + 1 / 5 * 1 / 2)


def test_popularity_counts_what_likes_count() -> None:
    matrix, times = likes()
    counts = Popularity("30d").fit(matrix, times=times).item_biases
    expected = np.zeros(20)
    np.add.at(expected, matrix.indices, np.maximum(0.5 ** (times.ages(matrix) / 30), 1e-3))
    np.testing.assert_allclose(counts, expected, rtol=1e-5)
    recent = Popularity(window="100d").fit(matrix, times=times).item_biases
    young = times.ages(matrix) <= 100
    assert recent.tolist() == np.bincount(matrix.indices[young], minlength=20).tolist()


MODELS = [
    {"model": "ease", "regularization": 3.0}, {"model": "itemknn"}, {"model": "rp3beta"},
    {"model": "popularity"}, {"model": "lightfm", "no_components": 4, "epochs": 3},
]  # fmt: skip


@pytest.mark.parametrize("values", MODELS, ids=lambda values: values["model"])
@pytest.mark.parametrize("aging", [HALF, RECENT, HALF | RECENT])
def test_every_model_of_them_says_so_needs_times_and_repeats(
    values: dict[str, Any], aging: dict[str, Any]
) -> None:
    matrix, times = likes()
    model = model_from_dict({**values, **aging})
    assert model_from_dict(model.to_dict()) == model
    assert aging.items() <= model.to_dict().items()
    first, again = (model.fit(matrix, seed=1, times=times).score(np.arange(60)) for _ in range(2))
    assert first.tobytes() == again.tobytes()
    assert np.isfinite(first).all()
    plain = model_from_dict(values)
    assert (plain.fit(matrix, seed=1, times=times).score(np.arange(60)) != first).any()
    with pytest.raises(InputError, match="nobody knows when"):
        model.fit(matrix)
    with pytest.raises(ConfigError, match="half_life 'soon'"):
        model_from_dict({**values, "half_life": "soon"})
    if values["model"] != "lightfm":
        assert not {"half_life", "window"} & set(plain.to_dict())


@pytest.mark.parametrize("values", MODELS, ids=lambda values: values["model"])
@pytest.mark.parametrize("aging", [{"half_life": "0.1h"}, {"window": "0.1h"}])
def test_of_an_instant_models_are_still_finite(
    values: dict[str, Any], aging: dict[str, Any]
) -> None:
    """A window in which a single like is left."""
    matrix, times = likes()
    scores = model_from_dict({**values, **aging}).fit(matrix, times=times).score(np.arange(60))
    assert np.isfinite(scores).all()


@pytest.mark.parametrize("model", ["ease", "itemknn", "rp3beta"])
def test_users_are_scored_by_old_likes_too(model: str) -> None:
    matrix, times = likes()
    found = model_from_dict({"model": model, **RECENT}).fit(matrix, times=times)
    recent = Aging(**RECENT).applied(matrix, times)
    alone = model_from_dict({"model": model}).fit(recent)
    assert found.neighbours.weights.tolist() == alone.neighbours.weights.tolist()
    np.testing.assert_allclose(
        found.score(np.arange(60)), matrix @ dense(alone.neighbours), rtol=1e-4, atol=1e-6
    )


def trained(matrix: sp.csr_matrix, times: InteractionTimes | None = None, **more: Any) -> Training:
    training = Training(matrix, LightFMParameters(no_components=4, **more), 1, times=times)
    training.advance(3)
    return training


def test_lightfm_takes_the_weights_as_if_they_were_given() -> None:
    matrix, times = likes()
    weighted = Aging(**HALF).applied(matrix, times)
    assert weighted.nnz == matrix.nnz
    found, expected = (
        training.factors() for training in (trained(matrix, times, **HALF), trained(weighted))
    )
    assert found.item_factors.tobytes() == expected.item_factors.tobytes()
    assert found.user_factors.tobytes() == expected.user_factors.tobytes()
    # Weights are raised to their power before.
    matrix.data[:] = 1 + np.arange(matrix.nnz) % 3
    squared = matrix.copy()
    squared.data **= 2
    found = trained(matrix, times, weight_power=2.0, **HALF).factors()
    expected = trained(Aging(**HALF).applied(squared, times)).factors()
    assert found.item_factors.tobytes() == expected.item_factors.tobytes()


def test_lightfm_leaves_out_what_is_older_and_folds_in_who_has_nothing_else() -> None:
    matrix, times = likes()
    recent = Aging(**RECENT).applied(matrix, times)
    training = trained(matrix, times, **RECENT)
    found, alone = training.factors(), trained(recent).factors()
    fitted = np.diff(recent.indptr) > 0
    assert 50 < fitted.sum() < 60
    assert found.user_factors[fitted].tobytes() == alone.user_factors[fitted].tobytes()
    assert found.item_factors[:19].tobytes() == alone.item_factors[:19].tobytes()
    assert found.item_biases[:19].tobytes() == alone.item_biases[:19].tobytes()
    # The last user and the last item, from what they are known by among those that were fitted.
    liked = matrix[59].indices[matrix[59].indices < 19]
    own = learn_foldin(alone, recent).user(alone.item_factors, liked)
    np.testing.assert_allclose(found.user_factors[59], own, rtol=1e-5)
    likers = np.flatnonzero(matrix[:, 19].toarray().ravel() * fitted)
    own = learn_item_foldin(alone, recent).user(alone.user_factors, likers)
    np.testing.assert_allclose(found.item_factors[19], own, rtol=1e-5)
    assert found.item_biases[19] == alone.item_biases[:19].min()
    view = training.view()
    assert view.item_factors.tobytes() == found.item_factors.tobytes()


def test_a_window_that_holds_everything_changes_nothing() -> None:
    matrix, times = likes()
    found, plain = (t.factors() for t in (trained(matrix, times, window="1y"), trained(matrix)))
    assert found.user_factors.tobytes() == plain.user_factors.tobytes()


def test_kos_takes_a_window_and_no_half_life() -> None:
    matrix, times = likes()
    trained(matrix, times, loss="warp-kos", **RECENT)
    with pytest.raises(ConfigError, match="warp-kos with a half_life"):
        LightFMParameters(loss="warp-kos", **HALF)


def test_a_blend_goes_by_age_on_both_sides_and_repeats_to_the_bit() -> None:
    matrix, times = likes()
    neighbours = parameters_of(Ease(3.0, half_life="60d", window="200d"), 2.0)
    assert (neighbours["neighbours_half_life"], neighbours["neighbours_window"]) == ("60d", "200d")
    configuration = {
        "no_components": 4, "initialisation": "spectral", "user_blending": 0.5,
        **HALF, **RECENT, **neighbours,
    }  # fmt: skip
    model = item_to_item_model(parse_configuration(configuration)[1])
    assert model == Ease(3.0, half_life="60d", window="200d")
    first, again = (
        fit_hybrid(matrix, configuration, 3, 1, times=times).scorer(matrix).score(np.arange(60))
        for _ in range(2)
    )
    assert first.tobytes() == again.tobytes()
    without = {n: v for n, v in configuration.items() if n not in ("half_life", "window")}
    other = fit_hybrid(matrix, without, 3, 1, times=times).scorer(matrix).score(np.arange(60))
    assert (first != other).any()
    for name in ("neighbours_half_life", "neighbours_window"):
        with pytest.raises(ConfigError, match="'soon'"):
            parse_configuration({**configuration, name: "soon"})


def test_the_models_own_class_takes_times() -> None:
    matrix, times = likes()
    model = LightFM.from_dict({"no_components": 4, "epochs": 2, **RECENT})
    assert model.fit(matrix, times=times).finite()
