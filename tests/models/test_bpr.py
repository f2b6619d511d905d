"""BPR by the compiled kernel: implicit's algorithm, step by step, and as good."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest
import scipy.sparse as sp
from implicit.cpu.bpr import BayesianPersonalizedRanking

from recsys.data.interactions import read_interactions
from recsys.data.splits import split
from recsys.models import bpr
from recsys.models.bpr import Bpr, start
from recsys.models.kernel import Interactions
from recsys.ranking.factors import Factors
from recsys.ranking.metrics import precision_at_k
from tests.fixtures.planted import planted

SEED = 3


def some_likes(shape: tuple[int, int] = (30, 20)) -> sp.csr_matrix:
    generator = np.random.default_rng(0)
    return sp.csr_matrix((generator.random(shape) < 0.2).astype(np.float32))


def drawn(limit: int) -> Iterator[int]:
    """Numbers below a limit, by splitmix64 as its authors give it."""
    state, mask = SEED, 2**64 - 1
    while True:
        state = (state + 0x9E3779B97F4A7C15) & mask
        x = state
        x = ((x ^ (x >> 30)) * 0xBF58476D1CE4E5B9) & mask
        x = ((x ^ (x >> 27)) * 0x94D049BB133111EB) & mask
        yield ((x ^ (x >> 31)) * limit) >> 64


def slowly(model: Bpr, likes: sp.csr_matrix) -> tuple[np.ndarray, np.ndarray]:
    """Rows of users and items, in double precision; pairs in the kernel's order."""
    users, items = (
        rows.astype(np.float64) for rows in start(Interactions(likes, False), model.factors, SEED)
    )
    owners, liked = likes.nonzero()
    rate, penalty = model.learning_rate, model.regularization
    numbers = drawn(likes.nnz)
    for _ in range(model.iterations):
        for step in range(likes.nnz + 16):  # pairs that are drawn ahead and not used
            one, other = next(numbers), next(numbers)
            user, near, far = owners[one], liked[one], liked[other]
            if step >= likes.nnz or likes[user, far]:
                continue
            own, closer, farther = users[user].copy(), items[near].copy(), items[far].copy()
            push = 1 / (1 + np.exp(own @ (closer - farther)))
            users[user] += rate * (push * (closer - farther) - penalty * own)
            items[near] += rate * (push * own - penalty * closer)
            items[far] += rate * (-push * own - penalty * farther)
            users[user, -1] = 1
    return users, items


def test_it_begins_with_implicits_vectors() -> None:
    likes = some_likes()
    likes = sp.csr_matrix(likes.multiply(np.arange(20) != 7).multiply(np.arange(30)[:, None] != 4))
    likes.eliminate_zeros()
    theirs = BayesianPersonalizedRanking(factors=5, iterations=0, random_state=SEED)
    theirs.fit(likes, show_progress=False)
    users, items = start(Interactions(likes, False), 5, SEED)
    np.testing.assert_array_equal(users, theirs.user_factors)
    np.testing.assert_array_equal(items, theirs.item_factors)
    # Whom nothing is known of, and what nobody likes.
    assert users[4].tolist() == [0, 0, 0, 0, 0, 1]
    assert not items[7].any()
    found = Bpr(5, iterations=3).fit(likes, seed=SEED)
    assert not found.user_factors[4].any()
    assert not found.item_factors[7].any()
    assert found.item_biases[7] == 0


@pytest.mark.parametrize("factors", [3, 15, 40])
def test_each_step_is_that_of_the_algorithm(factors: int) -> None:
    likes = some_likes()
    model = Bpr(factors, learning_rate=0.1, regularization=0.02, iterations=5)
    users, items = slowly(model, likes)
    found = model.fit(likes, seed=SEED)
    np.testing.assert_allclose(found.user_factors, users[:, :-1], atol=1e-5)
    np.testing.assert_allclose(found.item_factors, items[:, :-1], atol=1e-5)
    np.testing.assert_allclose(found.item_biases, items[:, -1], atol=1e-5)
    assert not found.user_biases.any()


def test_weights_and_the_order_of_items_do_not_count() -> None:
    likes = some_likes()
    weighted = likes.copy()
    weighted.data *= 3
    for row in range(likes.shape[0]):
        part = slice(*weighted.indptr[row : row + 2])
        weighted.indices[part] = weighted.indices[part][::-1]
    weighted.has_sorted_indices = False
    model = Bpr(8, iterations=3)
    first, second = model.fit(likes, seed=1), model.fit(weighted, seed=1)
    np.testing.assert_array_equal(first.user_factors, second.user_factors)
    np.testing.assert_array_equal(first.item_factors, second.item_factors)


def test_vectors_of_each_width_come_to_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    likes, model = some_likes(), Bpr(20, iterations=10)
    found = []
    for width in (512, 256, 128):
        monkeypatch.setattr(bpr, "WIDEST", width)
        found.append(model.fit(likes, seed=SEED))
    for other in found[1:]:
        np.testing.assert_allclose(other.item_factors, found[0].item_factors, atol=1e-6)
        np.testing.assert_allclose(other.user_factors, found[0].user_factors, atol=1e-6)


def test_it_is_as_good_as_implicits() -> None:
    parts = split(read_interactions(planted()[0])[0], seed=1)
    model = Bpr(16, learning_rate=0.05, iterations=60)
    reached: dict[str, list[float]] = {"kernel": [], "implicit": []}
    lengths: dict[str, list[float]] = {"kernel": [], "implicit": []}
    for seed in range(6):
        theirs = BayesianPersonalizedRanking(
            factors=16, learning_rate=0.05, iterations=60, random_state=seed, num_threads=1
        )
        theirs.fit(parts.train, show_progress=False)
        items = theirs.item_factors
        zeros = np.zeros(len(theirs.user_factors), np.float32)
        peer = Factors(theirs.user_factors[:, :-1], items[:, :-1], zeros, items[:, -1])
        for name, factors in (("kernel", model.fit(parts.train, seed=seed)), ("implicit", peer)):
            values = precision_at_k(factors, parts.validation, known=parts.train, k=5)
            reached[name].append(float(values.mean()))
            lengths[name].append(float(np.linalg.norm(factors.item_factors, axis=1).mean()))
    ours, others = (np.array(reached[name]) for name in ("kernel", "implicit"))
    error = np.sqrt((ours.var(ddof=1) + others.var(ddof=1)) / len(ours))
    assert abs(ours.mean() - others.mean()) < 3 * error
    assert np.mean(lengths["kernel"]) == pytest.approx(np.mean(lengths["implicit"]), rel=0.01)


def test_without_a_compiler_implicit_trains(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bpr, "load_kernel", lambda: None)
    likes = some_likes()
    theirs = BayesianPersonalizedRanking(
        factors=5, learning_rate=0.01, regularization=0.01, iterations=3, random_state=4,
        num_threads=1,
    )  # fmt: skip
    theirs.fit(likes, show_progress=False)
    found = Bpr(5, iterations=3).fit(likes, seed=4)
    np.testing.assert_array_equal(found.user_factors, theirs.user_factors[:, :-1])
    np.testing.assert_array_equal(found.item_factors, theirs.item_factors[:, :-1])
    np.testing.assert_array_equal(found.item_biases, theirs.item_factors[:, -1])
