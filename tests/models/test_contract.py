"""What every model promises, see `recsys.models.model.Model`; once for all in `MODELS`."""

from __future__ import annotations

import json
from dataclasses import FrozenInstanceError, dataclass, field
from typing import ClassVar

import numpy as np
import pytest
import scipy.sparse as sp

from recsys.base.arrays import Float32Array, IntArray
from recsys.base.errors import ConfigError, InputError
from recsys.models.model import MODELS, FactorModel, Model, model_class, model_from_dict
from recsys.models.popularity import Popularity
from recsys.ranking.factors import Factors
from recsys.ranking.metrics import evaluate
from recsys.ranking.scorer import Scorer
from recsys.ranking.topk import top_k

N_USERS, N_ITEMS, GROUPS = 60, 24, 3
# Quick ones: the contract does not depend on how well a model learns.
QUICK = {
    "als": {"factors": 8, "iterations": 4},
    "bpr": {"factors": 8, "iterations": 100, "learning_rate": 0.1},
    "lightfm": {"no_components": 8, "epochs": 10},
    "ease": {"regularization": 5.0},
    "itemknn": {"shrinkage": 2.0},
    "popularity": {},
    "rp3beta": {},
    "neighbours": {"shrinkage": 2.0},
    "blend": {"weight": 100.0},
}


@dataclass(frozen=True)
class ItemScorer:
    """A user's row of interactions times an item-item matrix."""

    rows: sp.csr_matrix
    similarity: Float32Array

    @property
    def n_items(self) -> int:
        return self.similarity.shape[1]

    def score(self, users: IntArray) -> Float32Array:
        return np.asarray(self.rows[users] @ self.similarity, np.float32)


@dataclass(frozen=True)
class Neighbours(Model):
    """Items by how often they are liked together: a model without factors."""

    name: ClassVar[str] = "neighbours"
    shrinkage: float = 1.0

    def _fit(self, interactions: sp.csr_matrix, seed: int, threads: int) -> Scorer:
        together = (interactions.T @ interactions).toarray()
        counts = np.diag(together)
        np.fill_diagonal(together := together.copy(), 0)
        weights = together / (np.sqrt(np.outer(counts, counts)) + self.shrinkage)
        return ItemScorer(interactions.copy(), weights.astype(np.float32))


@dataclass(frozen=True)
class Sum:
    parts: tuple[Scorer, Scorer]
    weight: float

    @property
    def n_items(self) -> int:
        return self.parts[0].n_items

    def score(self, users: IntArray) -> Float32Array:
        first, second = (part.score(users) for part in self.parts)
        return first + np.float32(self.weight) * second


@dataclass(frozen=True)
class Blend(Model):
    """Two models' scores added; models are its hyper-parameters."""

    name: ClassVar[str] = "blend"
    first: Model = field(default_factory=Popularity)
    second: Model = field(default_factory=Neighbours)
    weight: float = 0.5

    def _fit(self, interactions: sp.csr_matrix, seed: int, threads: int) -> Scorer:
        parts = [part.fit(interactions, seed=seed) for part in (self.first, self.second)]
        return Sum((parts[0], parts[1]), self.weight)


@pytest.fixture(autouse=True)
def registered(monkeypatch: pytest.MonkeyPatch) -> None:
    """Models to come: a file of their own, and a line here."""
    for name, found in (("neighbours", "Neighbours"), ("blend", "Blend")):
        monkeypatch.setitem(MODELS, name, f"{__name__}:{found}")


@pytest.fixture(params=[*MODELS, "neighbours", "blend"])
def model(request: pytest.FixtureRequest) -> Model:
    return model_from_dict({"model": request.param, **QUICK[request.param]})


def world(weighted: bool = False) -> sp.csr_matrix:
    """Users who like most items of their group; the last user and the last item have nobody."""
    generator = np.random.default_rng(3)
    group_of_user, group_of_item = np.arange(N_USERS) % GROUPS, np.arange(N_ITEMS) % GROUPS
    liked = (group_of_user[:, None] == group_of_item) & (generator.random((N_USERS, N_ITEMS)) < 0.7)
    liked[-1, :] = liked[:, -1] = False
    weights = generator.integers(1, 4, liked.shape) if weighted else 1
    return sp.csr_matrix((liked * weights).astype(np.float32))


def scores(scorer: Scorer) -> Float32Array:
    return scorer.score(np.arange(N_USERS))


@pytest.mark.parametrize("weighted", [False, True])
def test_a_second_fit_gives_the_same_bytes(model: Model, weighted: bool) -> None:
    interactions = world(weighted)
    first = scores(model.fit(interactions, seed=5))
    assert first.tobytes() == scores(model.fit(interactions, seed=5)).tobytes()


def test_the_order_in_which_interactions_are_stored_makes_no_difference(model: Model) -> None:
    interactions = world(weighted=True)
    order = np.random.default_rng(1).permutation(interactions.nnz)
    pairs = interactions.tocoo()
    # Straight into the arrays of a CSR matrix: SciPy's own conversion would sort them.
    order = order[np.argsort(pairs.row[order], kind="stable")]
    shuffled = sp.csr_matrix(
        (pairs.data[order], pairs.col[order], interactions.indptr), shape=interactions.shape
    )
    assert not shuffled.has_sorted_indices
    expected = scores(model.fit(interactions, seed=5))
    assert scores(model.fit(shuffled, seed=5)).tobytes() == expected.tobytes()
    assert not shuffled.has_sorted_indices  # what was given is left as it was


def test_scores_have_the_stated_shape_and_are_finite(model: Model) -> None:
    scorer = model.fit(world())
    assert isinstance(scorer, Scorer)
    assert scorer.n_items == N_ITEMS
    users = np.array([7, N_USERS - 1, 7])  # one without interactions, one twice
    found = scorer.score(users)
    assert found.shape == (3, N_ITEMS)
    assert found.dtype == np.float32
    assert np.isfinite(scores(scorer)).all()
    np.testing.assert_array_equal(found[0], found[2])


def test_ranking_and_metrics_take_it(model: Model) -> None:
    train = world()
    scorer = model.fit(train)
    found = top_k(scorer, np.arange(N_USERS), 3, known=train)
    assert (found.items >= 0).all()
    expected = np.sort(np.where(train.toarray() > 0, -np.inf, scores(scorer)), axis=1)[:, ::-1]
    np.testing.assert_allclose(found.scores, expected[:, :3], rtol=1e-4, atol=1e-5)
    rest = sp.csr_matrix(
        (np.arange(N_USERS)[:, None] % GROUPS == np.arange(N_ITEMS) % GROUPS)
        & (train.toarray() == 0)
    )
    measured = evaluate(scorer, rest, known=train, ks=(3,)).per_user["precision_at_3"].mean()
    # Whoever tells the groups apart is far above one who cannot.
    assert measured > 0.5 or model.name == "popularity"


def test_neither_the_model_nor_the_interactions_are_changed(model: Model) -> None:
    interactions = world(weighted=True)
    before, said = interactions.copy(), model.to_dict()
    scorer = model.fit(interactions)
    kept = scores(scorer)
    assert (interactions != before).nnz == 0
    assert model.to_dict() == said
    interactions.data[:] = 9
    assert scores(scorer).tobytes() == kept.tobytes()
    with pytest.raises(FrozenInstanceError):
        model.name = "another"  # type: ignore[misc]


def test_the_configuration_goes_through_json(model: Model) -> None:
    again = model_from_dict(json.loads(json.dumps(model.to_dict())))
    assert again == model
    assert type(again) is model_class(model.name)
    assert hash(again) == hash(model)


def test_hyperparameters_that_are_none_are_refused_in_one_line(model: Model) -> None:
    with pytest.raises(ConfigError, match="colour"):
        model_from_dict({"model": model.name, "colour": 1})


def test_a_factor_model_fits_factors(model: Model) -> None:
    assert isinstance(model.fit(world()), Factors) == isinstance(model, FactorModel)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_weights_that_are_no_positive_numbers_are_refused(model: Model, value: float) -> None:
    interactions = world()
    interactions.data[3] = value
    with pytest.raises(InputError, match="weight"):
        model.fit(interactions)


def test_an_unknown_model_is_named_with_those_that_are_known() -> None:
    with pytest.raises(ConfigError, match=r"no model 'svd'.*als.*lightfm.*popularity"):
        model_from_dict({"model": "svd"})
