"""The compiled loops give what NumPy gives, to the last bit, and are passed nothing unsafe."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from recsys.bundle import Seen
from recsys.ranking import compiled, neighbours, topk
from recsys.ranking.compiled import CompiledRows, group_maxima, load_sums
from recsys.ranking.factors import Factors
from recsys.ranking.neighbours import Blended, BlendedAudience, Neighbours, add_of_columns
from recsys.ranking.topk import top_k

pytestmark = pytest.mark.skipif(load_sums() is None, reason="nothing was compiled")

USERS, ITEMS = 150, 700


@pytest.fixture
def by_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    """As where nothing was compiled."""
    monkeypatch.setattr(compiled, "load_sums", lambda: None)
    monkeypatch.setattr(topk, "load_sums", lambda: None)


def random_neighbours(seed: int, n_items: int = ITEMS) -> Neighbours:
    """Rows of different lengths, some of them empty."""
    rng = np.random.default_rng(seed)
    there = rng.random((n_items, n_items)) < rng.choice([0, 0.02, 0.2], n_items)[:, None]
    rows, columns = np.nonzero(there)
    weights = rng.normal(size=len(rows)).astype(np.float32)
    return Neighbours(
        np.searchsorted(rows, np.arange(n_items + 1)), columns.astype(np.int32), weights
    )


def random_likes(seed: int) -> Seen:
    """Likes of users, of items without a row of neighbours as well."""
    rng = np.random.default_rng(seed)
    users, items = np.nonzero(rng.random((USERS, ITEMS + 20)) < 0.02)
    return Seen(np.searchsorted(users, np.arange(USERS + 1)), items.astype(np.int32))


def random_factors(seed: int, users: int, items: int) -> Factors:
    rng = np.random.default_rng(seed)
    shapes = ((users, 8), (items, 8), users, items)
    return Factors(*(rng.normal(size=shape).astype(np.float32) for shape in shapes))


def everything(found: Neighbours, likes: Seen) -> list[np.ndarray]:
    """What is asked of neighbours, in all ways."""
    rng = np.random.default_rng(5)
    some = np.sort(rng.permutation(ITEMS + 20)[:90])
    columns = found.of_columns(some)
    added = rng.normal(size=(60, len(some))).astype(np.float32)
    add_of_columns(columns, likes, np.arange(40, 100), added)
    users = rng.integers(0, USERS, 50)
    blend = Blended(random_factors(1, USERS, ITEMS + 20), found, likes)
    lists = top_k(blend, users, 12, known=likes)
    prefix = top_k(blend, users, 12, known=likes, candidates=np.arange(3, 400))
    others = top_k(blend, users, 12, candidates=np.flatnonzero(rng.random(ITEMS) < 0.5))
    audience = BlendedAudience(random_factors(2, len(some), USERS), columns, likes)
    heard = top_k(audience, np.arange(len(some)), 7)
    return [
        found.scores(likes.of(3)),
        found.scores_of_users(likes, users),
        *found.column(17),
        *(columns.indptr, columns.indices, columns.weights),
        added,
        *(part for top in (lists, prefix, others, heard) for part in (top.items, top.scores)),
    ]


def test_products_of_rows_are_those_of_a_matrix_in_single_precision() -> None:
    """Rows of any order, some empty; the room to work in is left as it was, so it serves again."""
    found = random_neighbours(4)
    rows = CompiledRows.of(found.indptr, found.indices, found.weights)
    assert rows is not None
    room = np.full(ITEMS, -1, np.int32)
    matrix = sp.csr_matrix((found.weights, found.indices, found.indptr), (ITEMS, ITEMS))
    for chosen in (np.arange(60)[::-1], np.arange(60, 90), np.arange(0)):
        expected = (matrix[chosen] @ matrix[chosen].T).toarray()
        products = rows.products(chosen, room)
        others = ~np.eye(len(chosen), dtype=bool)
        np.testing.assert_array_equal(products[others], expected[others])
        np.testing.assert_allclose(np.diag(products), np.diag(expected), rtol=1e-6)
        assert (room == -1).all()


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_scores_lists_and_columns_are_those_of_numpy(
    seed: int, request: pytest.FixtureRequest
) -> None:
    likes = random_likes(seed)
    compiled_ones = everything(random_neighbours(seed), likes)
    request.getfixturevalue("by_numpy")
    plain = random_neighbours(seed)
    assert plain._compiled is None
    for one, other in zip(compiled_ones, everything(plain, likes), strict=True):
        np.testing.assert_array_equal(one, other, strict=one.dtype.kind == "f")


@pytest.mark.parametrize("group", [16, 32, 128])
def test_maxima_of_groups_are_those_of_numpy_not_a_number_among_them(group: int) -> None:
    rng = np.random.default_rng(group)
    scores = rng.normal(size=(7, 5 * group)).astype(np.float32)
    scores[1, 3], scores[2, group], scores[3, :group], scores[4, 0] = np.nan, np.inf, -np.inf, -0.0
    scores[5, 2 * group - 1] = np.nan
    out = np.zeros((7, 9), np.float32)[:, 2:7]
    assert group_maxima(scores, group, out)
    expected = np.maximum.reduceat(scores, np.arange(0, 5 * group, group), axis=1)
    np.testing.assert_array_equal(out, expected)


def test_what_would_be_read_or_written_elsewhere_is_left_to_numpy() -> None:
    bounds, weights = np.array([0, 1, 2]), np.ones(2, np.float32)
    for indptr, indices in (
        (bounds, np.array([0, -1], np.int32)),
        (np.array([0, 3, 2]), np.array([0, 1], np.int32)),
        (np.array([0, 1, 9]), np.array([0, 1], np.int32)),
        (bounds, np.array([0, 1], np.int64)),
    ):
        assert CompiledRows.of(indptr, indices, weights) is None
    rows = CompiledRows.of(bounds, np.array([0, 5], np.int32), weights)
    assert rows is not None
    assert not rows.takes(np.zeros(5, np.float32))
    assert rows.takes(np.zeros(6, np.float32))
    beyond = Seen(np.array([0, 7]), np.array([1], np.int32))
    assert not rows.add_liked(beyond, np.array([0]), np.zeros((1, 6), np.float32))
    assert not group_maxima(np.zeros((2, 24), np.float32), 12, np.zeros((2, 2), np.float32))


def test_loops_of_another_release_are_not_called(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compiled, "VERSION", compiled.VERSION + 1)
    load_sums.cache_clear()
    try:
        assert load_sums() is None
        assert (
            neighbours.CompiledRows.of(
                np.array([0, 0]), np.empty(0, np.int32), np.empty(0, np.float32)
            )
            is None
        )
    finally:
        load_sums.cache_clear()
