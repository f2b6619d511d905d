"""The training kernel learns what LightFM learns, from the same random numbers."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st
from lightfm import LightFM

from recsys.base import cores
from recsys.base.events import Note, listening
from recsys.models import kernel, lightfm
from recsys.models.configuration import LightFMParameters
from recsys.models.kernel import Interactions, Kernel, draw_groups, draw_start, load_kernel
from recsys.models.lightfm import DivergedError, Training
from tests.fixtures.slow_training import SlowTraining

N_USERS, N_ITEMS = 60, 40
LEARNED = [
    f"{side}_{part}"
    for side in ("user", "item")
    for part in ("embeddings", "embedding_gradients", "biases", "bias_gradients")
]


@pytest.fixture(autouse=True)
def small_groups(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small data are cut as well."""
    monkeypatch.setattr(lightfm, "LEAST_IN_GROUP", 64)


def some_likes(weighted: bool = False) -> sp.csr_matrix:
    generator = np.random.default_rng(0)
    likes = sp.csr_matrix((generator.random((N_USERS, N_ITEMS)) < 0.15).astype(np.float32))
    if weighted:
        likes.data = generator.uniform(0.2, 3, likes.nnz).astype(np.float32)
    return likes


def some_features(rows: int, count: int) -> sp.csr_matrix:
    """An identity, and features that several rows share."""
    generator = np.random.default_rng(1)
    shared = (generator.random((rows, count)) < 0.2) * generator.uniform(0.1, 1, (rows, count))
    return sp.hstack([sp.identity(rows), sp.csr_matrix(shared)], format="csr", dtype=np.float32)


ITEM_FEATURES, USER_FEATURES = some_features(N_ITEMS, 7), some_features(N_USERS, 5)
CASES: dict[str, dict[str, Any]] = {
    "identity": {},
    "regularised": {"alpha": 1e-3},
    "weighted": {"weighted": True},
    "item features": {"item_features": ITEM_FEATURES},
    "user features": {"user_features": USER_FEATURES},
    "everything": {
        "alpha": 1e-3, "weighted": True,
        "item_features": ITEM_FEATURES, "user_features": USER_FEATURES,
    },
}  # fmt: skip


def both(
    case: Mapping[str, Any], width: int = kernel.WIDEST, epochs: int = 3, **parameters: Any
) -> tuple[LightFM, LightFM]:
    """A model that LightFM trained, and one that the kernel trained; 350 interactions an epoch."""
    alpha = case.get("alpha", 0.0)
    settings = {"user_alpha": alpha, "item_alpha": 2 * alpha, "k": 2, "n": 4}
    settings["max_sampled"] = case.get("max_sampled", 7)
    theirs, ours = (LightFM(**settings, **parameters, random_state=3) for _ in range(2))
    weighted = case.get("weighted", False)
    likes = some_likes(weighted)
    features: dict[str, Any] = {name: case.get(name) for name in ("user_features", "item_features")}
    pairs = likes.tocoo()
    theirs.fit_partial(pairs, sample_weight=pairs if weighted else None, epochs=epochs, **features)
    columns = [
        count if matrix is None else matrix.shape[1]
        for count, matrix in zip(likes.shape, features.values(), strict=True)
    ]
    draw_start(ours, *columns)
    trained = Kernel(ours, Interactions(likes, weighted), **features, width=width)
    for _ in range(epochs):
        trained.run_epoch()
    return theirs, ours


def assert_same(theirs: LightFM, ours: LightFM) -> None:
    for name in LEARNED:
        expected, found = getattr(theirs, name), getattr(ours, name)
        np.testing.assert_allclose(found, expected, rtol=2e-5, atol=2e-6, err_msg=name)
    # So many random numbers have been drawn.
    assert theirs.random_state.randint(2**31) == ours.random_state.randint(2**31)


@pytest.mark.parametrize("components", [5, 16, 37])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
@pytest.mark.parametrize("loss", ["warp", "bpr", "logistic", "warp-kos"])
def test_a_thousand_updates_are_those_of_lightfm(
    loss: str, schedule: str, case: str, components: int
) -> None:
    chosen = dict(CASES[case])
    if loss == "warp-kos":
        chosen["weighted"] = False  # which LightFM refuses with this loss
    assert_same(*both(chosen, loss=loss, learning_schedule=schedule, no_components=components))


def test_a_scale_that_grows_too_large_is_divided_out_within_the_epoch() -> None:
    assert_same(*both({"alpha": 0.3}, loss="warp", no_components=5, epochs=1))


def test_a_loss_of_nothing_regularises_as_well() -> None:
    # From the 20th of 40 items on, the logarithm of the rank is 0.
    assert_same(*both({"alpha": 1e-2, "max_sampled": 60}, loss="warp", no_components=5))


@pytest.mark.parametrize("case", CASES)
def test_no_bit_depends_on_how_wide_the_vectors_are(case: str) -> None:
    models = [both(CASES[case], width, loss="warp", no_components=37)[1] for width in (256, 512)]
    for name in LEARNED:
        one, other = (getattr(model, name) for model in models)
        np.testing.assert_array_equal(one, other, err_msg=name)


@pytest.mark.parametrize("components", [5, 37, 64])
@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("width", [128, 256])
def test_narrower_vectors_learn_what_lightfm_learns(width: int, case: str, components: int) -> None:
    assert_same(*both(CASES[case], width, loss="warp", no_components=components))


@pytest.mark.parametrize("components", [5, 16])
@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
def test_it_begins_with_the_vectors_of_lightfm(schedule: str, components: int) -> None:
    theirs, ours = (
        LightFM(no_components=components, learning_schedule=schedule, random_state=5)
        for _ in range(2)
    )
    counts = {"no_user_features": 30, "no_item_features": 5_000}
    theirs._initialize(components, **counts)
    draw_start(ours, **counts)
    for name in [*LEARNED, "user_embedding_momentum", "item_bias_momentum"]:
        expected, found = getattr(theirs, name), getattr(ours, name)
        np.testing.assert_array_equal(found, expected, err_msg=name)
        assert found.dtype == np.float32


def in_blocks(
    likes: sp.csr_matrix, groups: int, threads: int = 1, epochs: int = 2, **parameters: Any
) -> LightFM:
    """A model trained in groups x groups blocks."""
    model = LightFM(**parameters, random_state=3)
    draw_start(model, *likes.shape)
    trained = Kernel(model, Interactions(likes, bool((likes.data != 1).any())), groups=groups)
    for _ in range(epochs):
        trained.run_epoch(threads)
    return model


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
@pytest.mark.parametrize("loss", ["warp", "bpr", "logistic"])
def test_the_number_of_threads_changes_no_bit(loss: str, schedule: str, weighted: bool) -> None:
    parameters: dict[str, Any] = {"loss": loss, "learning_schedule": schedule}
    parameters |= {"no_components": 20, "user_alpha": 1e-2, "item_alpha": 2e-2}
    likes = some_likes(weighted)
    expected = in_blocks(likes, 5, 1, **parameters)
    assert expected.item_biases.all()  # all have learned something
    for threads in (2, 3, 8):
        found = in_blocks(likes, 5, threads, **parameters)
        for name in LEARNED:
            np.testing.assert_array_equal(
                getattr(found, name), getattr(expected, name), err_msg=name
            )


def test_the_seconds_of_other_threads_are_told() -> None:
    generator = np.random.default_rng(0)
    likes = sp.csr_matrix((generator.random((400, 300)) < 0.2).astype(np.float32))
    model = LightFM(loss="warp", no_components=32, random_state=0)
    draw_start(model, *likes.shape)
    trained = Kernel(model, Interactions(likes, False), groups=4)
    assert trained.run_epoch(1) == 0
    assert trained.run_epoch(2) > 0


def test_a_fit_takes_the_cores_that_are_free(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "available", lambda: 3)
    told: list[float] = []  # CPU seconds of other threads
    monkeypatch.setattr(lightfm, "add_seconds", told.append)
    likes = sp.random(400, 300, 0.2, "csr", np.float32, np.random.RandomState(0))
    parameters = LightFMParameters(8, blocks=4)
    Training(likes, parameters, 0).advance(1)
    Training(likes, parameters, 0, threads=1).advance(1)
    with cores.at_most(1):
        Training(likes, parameters, 0).advance(1)
    assert [seconds > 0 for seconds in told] == [True, False, False]


def test_the_number_of_blocks_is_part_of_what_is_learned() -> None:
    whole, few, many = (in_blocks(some_likes(), groups) for groups in (1, 2, 5))
    assert not np.array_equal(few.item_embeddings, many.item_embeddings)
    assert not np.array_equal(few.item_embeddings, whole.item_embeddings)


def test_blocks_are_regularised_as_much_as_an_epoch_that_is_not_cut() -> None:
    # Users and items without likes are in no update of this loss, so all that happens to them is
    # to be divided by the scale of their group.
    none = sp.csr_matrix((30, 40), dtype=np.float32)
    likes = sp.block_diag([some_likes(), none], format="csr")
    parameters: dict[str, Any] = {"loss": "logistic", "user_alpha": 0.02, "item_alpha": 0.01}
    start, whole, cut = (
        in_blocks(likes, groups, epochs=epochs, no_components=8, **parameters)
        for groups, epochs in ((1, 0), (1, 1), (4, 1))
    )
    for side, first in (("user", N_USERS), ("item", N_ITEMS)):
        before, after, mean = (
            np.abs(getattr(model, f"{side}_embeddings")[first:]).mean()
            for model in (start, whole, cut)
        )
        assert after < 0.9 * before
        assert np.log(before / mean) == pytest.approx(np.log(before / after), rel=0.1)


def test_blocks_learn_what_an_epoch_that_is_not_cut_learns() -> None:
    # Users of a kind like the items of their kind.
    generator = np.random.default_rng(0)
    alike = np.arange(300)[:, None] % 6 == np.arange(240) % 6
    seen = generator.random(alike.shape) < 0.3
    likes = sp.csr_matrix((alike & seen).astype(np.float32))
    for groups in (1, 8):
        model = in_blocks(likes, groups, epochs=15, loss="warp", no_components=16)
        scores = model.user_embeddings @ model.item_embeddings.T + model.item_biases
        hidden = scores[alike & ~seen].mean()
        others = scores[~alike]
        assert hidden > others.mean() + 2 * others.std(), groups


@given(
    st.lists(st.integers(0, 50), min_size=1, max_size=60).filter(any),
    st.integers(1, 9),
    st.integers(0, 99),
)
def test_groups_have_as_many_interactions_but_for_one_user(
    counts: list[int], groups: int, seed: int
) -> None:
    each = np.array(counts)
    grouped, bounds = draw_groups(each, groups, np.random.RandomState(seed))
    np.testing.assert_array_equal(np.sort(grouped), np.arange(len(each)))
    assert (bounds[0], bounds[-1], len(bounds)) == (0, len(each), groups + 1)
    assert (np.diff(bounds) >= 0).all()
    sums = [each[grouped[a:b]].sum() for a, b in pairwise(bounds)]
    assert max(sums) <= each.sum() / groups + each.max()


def test_a_paused_fit_in_blocks_goes_on_to_the_last_bit() -> None:
    generator = np.random.default_rng(0)
    likes = sp.csr_matrix((generator.random((200, 150)) < 0.05).astype(np.float32))
    parameters = LightFMParameters(12, item_alpha=1e-4, user_alpha=1e-3, blocks=2)
    whole = Training(likes, parameters, 0, threads=1)
    paused, resumed = (Training(likes, parameters, 0, threads=3) for _ in range(2))
    whole.advance(3)
    paused.advance(2)
    resumed.restore({name: array.copy() for name, array in paused.state().items()})
    resumed.advance(1)
    for name, expected in whole.state().items():
        np.testing.assert_array_equal(resumed.state()[name], expected, err_msg=name)
    one = Training(likes, replace(parameters, blocks=1), 0)
    one.advance(3)
    assert not np.array_equal(one.state()["item_embeddings"], whole.state()["item_embeddings"])


def by_item_groups(
    groups: int,
    epochs: int = 1,
    user_features: Any = None,
    likes: sp.csr_matrix | None = None,
    item_features: sp.csr_matrix = ITEM_FEATURES,
    width: int = 512,
    **parameters: Any,
) -> LightFM:
    """A model with features of items, trained by groups of items, or as LightFM does with 0."""
    likes = some_likes() if likes is None else likes
    model = LightFM(random_state=3, **{"loss": "warp", **parameters})
    users = N_USERS if user_features is None else user_features.shape[1]
    draw_start(model, users, item_features.shape[1])
    given = Interactions(likes, False)
    trained = Kernel(model, given, user_features, item_features, width=width, item_groups=groups)
    for _ in range(epochs):
        trained.run_epoch()
    return model


@pytest.mark.parametrize("loss", ["warp", "bpr"])
@pytest.mark.parametrize(
    ("alpha", "rate"),
    [(0.0, 0.1), (1e-2, 0.1), (0.3, 0.02)],  # the last divides scales in between
)
@pytest.mark.parametrize("groups", [1, 3])
def test_groups_of_items_are_trained_as_if_each_had_one_feature(
    groups: int, alpha: float, rate: float, loss: Any
) -> None:
    settings = {"loss": loss, "no_components": 5, "max_sampled": 7, "learning_rate": rate}
    slow = SlowTraining(groups, some_likes(), ITEM_FEATURES, alpha, **settings)
    for _ in range(2):
        slow.run_epoch()
    found = by_item_groups(groups, 2, user_alpha=alpha, item_alpha=2 * alpha, **settings)
    for side in ("user", "item"):
        for parts, expected in (
            (("embeddings", "biases"), slow.vectors[side]),
            (("embedding_gradients", "bias_gradients"), slow.squares[side]),
        ):
            one = np.column_stack([getattr(found, f"{side}_{part}") for part in parts])
            np.testing.assert_allclose(one, expected, rtol=1e-3, atol=1e-4, err_msg=side)


@pytest.mark.parametrize("components", [5, 16, 37])
@pytest.mark.parametrize("alpha", [0.0, 1e-2])
@pytest.mark.parametrize("user_features", [None, USER_FEATURES])
def test_items_that_are_learned_from_once_in_a_group_learn_as_in_lightfm(
    user_features: Any, alpha: float, components: int
) -> None:
    # One like an epoch, and a single draw: the same item is drawn from one group as from all, if
    # the group has them in their order.
    likes = sp.csr_matrix(([1.0], ([7], [11])), (N_USERS, N_ITEMS), dtype=np.float32)
    settings = {"user_alpha": alpha, "item_alpha": 2 * alpha, "max_sampled": 1}
    case = {"user_features": user_features, "no_components": components, "likes": likes}

    def in_order(counts: Any, groups: int, generator: Any) -> tuple[Any, Any]:
        return np.arange(N_ITEMS, dtype=np.int32), np.array([0, N_ITEMS])

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(kernel, "draw_groups", in_order)
        ours = by_item_groups(1, 20, **case, **settings)
    theirs = by_item_groups(0, 20, **case, **settings)
    assert np.count_nonzero(theirs.item_biases) > 10
    assert_same(theirs, ours)


@pytest.mark.parametrize("components", [5, 16, 37])
def test_groups_of_items_do_not_depend_on_the_registers(components: int) -> None:
    models = [
        by_item_groups(3, 2, width=width, no_components=components, item_alpha=1e-3)
        for width in (128, 256, 512)
    ]
    for name in LEARNED:
        narrow, middle, wide = (getattr(model, name) for model in models)
        np.testing.assert_array_equal(middle, wide, err_msg=name)
        np.testing.assert_allclose(narrow, wide, rtol=2e-4, atol=2e-5, err_msg=name)


@pytest.mark.parametrize("groups", [0, 2])
def test_items_without_features_learn_nothing(groups: int) -> None:
    # LightFM gives such an item a vector of zeros.
    features = ITEM_FEATURES.tolil()
    features[[3, 11]] = 0
    found = by_item_groups(groups, 2, item_features=features.tocsr(), no_components=16)
    for name in LEARNED:
        assert np.isfinite(getattr(found, name)).all(), name
    assert found.item_biases[3] == found.item_biases[11] == 0


@pytest.mark.parametrize(
    ("settings", "features"),
    [
        ({"loss": "warp"}, None),
        ({"loss": "logistic"}, ITEM_FEATURES),
        ({"loss": "warp-kos"}, ITEM_FEATURES),
        ({"loss": "warp", "learning_schedule": "adadelta"}, ITEM_FEATURES),
    ],
)
def test_groups_of_items_are_for_features_pairs_and_adagrad(
    settings: dict[str, Any], features: Any
) -> None:
    with pytest.raises(ValueError, match="groups of items are for"):
        Kernel(
            LightFM(**settings), Interactions(some_likes(), False), None, features, item_groups=2
        )


@pytest.mark.parametrize("loss", ["warp", "bpr"])
def test_blocks_are_groups_of_items_of_a_fit_with_features(
    loss: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(lightfm, "LEAST_WITH_FEATURES", N_ITEMS)

    def trained(blocks: int, threads: int) -> Mapping[str, Any]:
        parameters = LightFMParameters(5, loss=loss, max_sampled=7, blocks=blocks)
        model = Training(some_likes(), parameters, 0, item_features=ITEM_FEATURES, threads=threads)
        model.advance(2)
        return model.state()

    cut, whole, more = trained(4, 1), trained(1, 1), trained(9, 1)
    assert not np.array_equal(cut["item_biases"], whole["item_biases"])
    for threads in (2, 3, 8):
        for name, expected in cut.items():
            np.testing.assert_array_equal(trained(4, threads)[name], expected, err_msg=name)
            np.testing.assert_array_equal(more[name], expected, err_msg=f"{name}, always four")
    monkeypatch.setattr(lightfm, "LEAST_WITH_FEATURES", N_ITEMS + 1)
    np.testing.assert_array_equal(trained(4, 1)["item_biases"], whole["item_biases"])


@pytest.mark.parametrize(
    ("loss", "features"), [("logistic", ITEM_FEATURES), ("warp-kos", None), ("warp", None)]
)
def test_what_cannot_be_cut_is_trained_in_one_block(loss: Any, features: Any) -> None:
    # Features are shared by items, warp-kos chooses among all items of a user, and 60 users make
    # no group.
    models = [
        Training(some_likes(), LightFMParameters(8, loss=loss, blocks=n), 0, item_features=features)
        for n in (1, 2)
    ]
    for model in models:
        model.advance(2)
    one, cut = (model.factors().item_factors for model in models)
    np.testing.assert_array_equal(one, cut)


@pytest.mark.parametrize("components", [5, 16])
@pytest.mark.parametrize("schedule", ["adagrad", "adadelta"])
@pytest.mark.parametrize("blocks", [1, 3])
def test_a_paused_fit_goes_on_to_the_last_bit(blocks: int, schedule: Any, components: int) -> None:
    parameters = LightFMParameters(
        components, learning_schedule=schedule, item_alpha=1e-4, blocks=blocks
    )

    def untrained() -> Training:
        return Training(some_likes(), parameters, 0, item_features=ITEM_FEATURES)

    whole, paused, resumed = untrained(), untrained(), untrained()
    whole.advance(3)
    paused.advance(2)
    resumed.restore({name: array.copy() for name, array in paused.state().items()})
    resumed.advance(1)
    for name, expected in whole.state().items():
        np.testing.assert_array_equal(resumed.state()[name], expected, err_msg=name)


def test_a_model_is_trained_by_lightfm_where_that_is_asked_for() -> None:
    likes = some_likes()
    parameters = LightFMParameters(8, trainer="lightfm")
    asked = Training(likes, parameters, 0)
    asked.advance(2)
    alone = LightFM(no_components=8, loss="warp", random_state=0)
    alone.fit_partial(likes.tocoo(), epochs=2)
    np.testing.assert_array_equal(asked.factors().user_factors, alone.user_embeddings)
    ours = Training(likes, LightFMParameters(8), 0)
    ours.advance(2)
    found = ours.factors().user_factors
    np.testing.assert_allclose(found, alone.user_embeddings, rtol=1e-5, atol=1e-6)


def test_lightfm_trains_with_a_note_where_the_kernel_was_not_compiled(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(kernel, "FOLDER", tmp_path)
    load_kernel.cache_clear()
    lightfm._say_that_lightfm_trains.cache_clear()
    said: list[object] = []
    try:
        with listening(said.append):
            models = [Training(some_likes(), LightFMParameters(8), 0) for _ in range(2)]
    finally:
        load_kernel.cache_clear()
    models[0].advance(1)
    alone = LightFM(no_components=8, loss="warp", random_state=0)
    alone.fit_partial(some_likes().tocoo(), epochs=1)
    np.testing.assert_array_equal(models[0].factors().user_factors, alone.user_embeddings)
    (note,) = said
    assert isinstance(note, Note)
    assert "install a C compiler" in note.text


def test_a_kernel_of_another_release_is_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    class Larger(kernel.Task):
        _fields_ = (("more", ctypes.c_int64),)

    monkeypatch.setattr(kernel, "Task", Larger)
    load_kernel.cache_clear()
    try:
        assert load_kernel() is None
    finally:
        load_kernel.cache_clear()


def test_a_model_that_diverges_is_told() -> None:
    training = Training(some_likes(), LightFMParameters(8, learning_rate=1e30), 0)
    with pytest.raises(DivergedError):
        training.advance(5)


def test_no_interactions_are_no_epoch() -> None:
    training = Training(sp.csr_matrix((3, 4), dtype=np.float32), LightFMParameters(2), 0)
    training.advance(2)
    assert np.isfinite(training.factors().item_factors).all()
