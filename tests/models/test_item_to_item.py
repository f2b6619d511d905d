"""Item-to-item models against their definitions, on matrices small enough to write down."""

from __future__ import annotations

from dataclasses import replace

import hypothesis
import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import strategies as st

from recsys.base.arrays import Float32Array
from recsys.models import ease, item_to_item
from recsys.models.blending import (
    factor_spread,
    fit_neighbours,
    item_to_item_model,
    neighbour_spread,
    parameters_of,
)
from recsys.models.configuration import parse_configuration
from recsys.models.ease import Ease
from recsys.models.item_to_item import (
    ItemToItemModel,
    NeighbourScorer,
    largest_of_product,
    truncated,
)
from recsys.models.itemknn import ItemKnn
from recsys.models.rp3beta import Rp3Beta
from recsys.ranking import compiled
from recsys.ranking.factors import Factors
from recsys.ranking.neighbours import Neighbours


def random_likes(n_users: int = 90, n_items: int = 31, seed: int = 1) -> sp.csr_matrix:
    generator = np.random.default_rng(seed)
    return sp.csr_matrix((generator.random((n_users, n_items)) < 0.2).astype(np.float32))


def without_likes_of(item: int, likes: sp.csr_matrix) -> sp.csr_matrix:
    found = likes.toarray()
    found[:, item] = 0
    return sp.csr_matrix(found)


def dense(neighbours: Neighbours) -> Float32Array:
    parts = neighbours.weights, neighbours.indices, neighbours.indptr
    found: Float32Array = sp.csr_matrix(parts, shape=(neighbours.n_items,) * 2).toarray()
    return found


@pytest.mark.parametrize("dropout", [0.0, 0.25])
def test_ease_solves_the_regularised_least_squares_it_states(dropout: float) -> None:
    """Each column by itself, as a ridge regression on the other items."""
    likes = random_likes()
    found = dense(Ease(3.0, dropout, kept=31).neighbours(likes))
    x = likes.toarray().astype(np.float64)
    penalty = 3.0 + dropout / (1 - dropout) * x.sum(axis=0)
    for item in range(x.shape[1]):
        rest = np.delete(np.arange(x.shape[1]), item)
        normal = x[:, rest].T @ x[:, rest] + np.diag(penalty[rest])
        expected = np.linalg.solve(normal, x[:, rest].T @ x[:, item])
        np.testing.assert_allclose(found[rest, item], expected, rtol=2e-3, atol=2e-4)
        assert found[item, item] == 0


def test_ease_works_in_blocks_of_any_size(monkeypatch: pytest.MonkeyPatch) -> None:
    likes = random_likes()
    whole = dense(Ease(3.0, kept=12).neighbours(likes))
    monkeypatch.setattr(ease, "_BLOCK", 7)
    np.testing.assert_array_equal(dense(Ease(3.0, kept=12).neighbours(likes)), whole)
    # The largest of each row, whatever their sign.
    every = dense(Ease(3.0, kept=31).neighbours(likes))
    for row, kept in zip(every, whole, strict=True):
        assert np.count_nonzero(kept) == 12
        assert np.abs(kept[kept != 0]).min() >= np.sort(np.abs(row))[-13]


@pytest.mark.parametrize("popular", [1, 9, 31])
def test_in_parts_ease_is_exact_where_all_items_with_more_likes_are_near(
    popular: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """However many are solved together: the factor is then the whole inverse's."""
    likes = random_likes(n_users=400)
    whole = dense(Ease(3.0, 0.25, kept=31).neighbours(likes))
    monkeypatch.setattr(ease, "MOST_EXACT", 30)
    monkeypatch.setattr(ease, "POPULAR", popular)
    monkeypatch.setattr(ease, "_BLOCK", 4)
    parts = dense(Ease(3.0, 0.25, kept=31, nearest=30).neighbours(likes))
    np.testing.assert_array_equal(np.diag(parts), 0)
    np.testing.assert_allclose(parts, whole, rtol=2e-3, atol=2e-4)


def test_in_parts_ease_is_the_inverse_that_its_regressions_make(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """By hand: each item after the popular ones given the five nearest of those before it."""
    likes = without_likes_of(30, random_likes(n_users=400))
    monkeypatch.setattr(ease, "MOST_EXACT", 30)
    monkeypatch.setattr(ease, "POPULAR", 9)
    found = dense(Ease(3.0, 0.25, kept=31, nearest=5).neighbours(likes))
    x = likes.toarray().astype(np.float64)
    counts = x.sum(axis=0)
    normal = x.T @ x + np.diag(3.0 + 0.25 / 0.75 * counts)
    order = np.argsort(-counts, kind="stable")
    inverse = np.zeros_like(normal)
    popular = np.ix_(order[:9], order[:9])
    inverse[popular] = np.linalg.inv(normal[popular])
    lengths = np.sqrt(np.diag(normal))
    for place, item in enumerate(order[9:], 9):
        before = order[:place]
        correlations = (x.T @ x)[item, before] / lengths[before]
        near = before[np.argsort(-correlations, kind="stable")[:5]]
        near = near[(x.T @ x)[item, near] > 0]
        column = np.zeros(31)
        column[item] = 1
        column[near] = -np.linalg.solve(normal[np.ix_(near, near)], normal[near, item])
        left = normal[item, item] + normal[item, near] @ column[near]
        inverse += np.outer(column, column) / left
    expected = -inverse / np.diag(inverse)
    np.fill_diagonal(expected, 0)
    np.testing.assert_allclose(found, expected, rtol=2e-3, atol=2e-4)


def test_in_parts_ease_is_the_same_where_nothing_was_compiled(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(ease, "MOST_EXACT", 30)
    monkeypatch.setattr(ease, "POPULAR", 9)
    likes = random_likes(n_users=400)
    likes.data *= np.random.default_rng(3).choice(np.float32([0.3, 0.7, 1]), likes.nnz)
    found = dense(Ease(3.0, 0.25, nearest=5).neighbours(likes))
    monkeypatch.setattr(compiled, "load_sums", lambda: None)
    np.testing.assert_array_equal(dense(Ease(3.0, 0.25, nearest=5).neighbours(likes)), found)


def test_in_parts_ease_keeps_what_is_largest_of_each_row(monkeypatch: pytest.MonkeyPatch) -> None:
    likes = random_likes(n_users=400)
    monkeypatch.setattr(ease, "MOST_EXACT", 30)
    monkeypatch.setattr(ease, "POPULAR", 9)
    every = Ease(3.0, kept=31, nearest=6).neighbours(likes)
    fewer = Ease(3.0, kept=4, nearest=6).neighbours(likes)
    for row, kept in zip(dense(every), dense(fewer), strict=True):
        assert np.count_nonzero(kept) == min(4, np.count_nonzero(row))
        np.testing.assert_array_equal(kept[kept != 0], row[kept != 0])
        assert np.abs(kept[kept != 0]).min(initial=9) >= np.sort(np.abs(row))[-4]
    np.testing.assert_array_equal(dense(truncated(every, 4)), dense(fewer))
    assert truncated(every, 31) is every


def test_items_without_likes_have_no_weights_in_parts(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ease, "MOST_EXACT", 3)
    monkeypatch.setattr(ease, "POPULAR", 2)
    likes = sp.csr_matrix(np.float32([[1, 1, 0, 0, 1], [1, 1, 1, 0, 0], [0, 1, 1, 0, 0]]))
    found = dense(Ease(1.0, kept=5).neighbours(likes))
    assert np.isfinite(found).all()
    np.testing.assert_array_equal(found[3], 0)
    np.testing.assert_array_equal(found[:, 3], 0)
    assert found[2, 0] != 0


def test_rp3beta_is_the_walk_of_three_steps() -> None:
    likes = random_likes()
    x = likes.toarray().astype(np.float64)
    users, items = np.maximum(x.sum(1), 1), np.maximum(x.sum(0), 1)
    walk = (items[:, None] ** -0.7 * x.T) @ (users[:, None] ** -0.7 * x) * items**-0.4
    np.fill_diagonal(walk, 0)
    found = dense(Rp3Beta(0.7, 0.4, kept=31).neighbours(likes))
    np.testing.assert_allclose(found, walk, rtol=1e-4, atol=1e-6)


def test_itemknn_is_the_shrunk_cosine() -> None:
    likes = random_likes()
    x = likes.toarray().astype(np.float64)
    together = x.T @ x
    lengths = np.sqrt(np.diag(together))
    cosine = together / (np.outer(lengths, lengths) + 4.0)
    np.fill_diagonal(cosine, 0)
    found = dense(ItemKnn(4.0, kept=31).neighbours(likes))
    np.testing.assert_allclose(found, cosine, rtol=1e-4, atol=1e-6)


def test_a_product_keeps_the_largest_of_each_row_equal_ones_by_index() -> None:
    first = sp.csr_matrix(np.float32([[1, 0], [1, 1], [0, 1], [0, 0]]))
    second = sp.csr_matrix(np.float32([[5, 2, 2, 0], [0, 1, 7, 3]]))
    found = dense(largest_of_product(first, second, 2))
    # Row 0 is (5, 2, 2, 0), its own 5 left out; row 1 (5, 3, 9, 3), its own 3 left out.
    expected = [[0, 2, 2, 0], [5, 0, 9, 0], [0, 1, 0, 3], [0, 0, 0, 0]]
    np.testing.assert_array_equal(found, np.float32(expected))


@pytest.mark.parametrize("entries", [1, 7, 40, 10**6])
def test_a_product_is_the_same_in_blocks_of_any_size(
    entries: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    likes = without_likes_of(4, random_likes())
    by_item = sp.csr_matrix(likes.T)
    whole = largest_of_product(by_item, likes, 6)
    monkeypatch.setattr(item_to_item, "_ENTRIES", entries)
    monkeypatch.setattr(item_to_item, "_BLOCK", 9)
    found = largest_of_product(by_item, likes, 6)
    np.testing.assert_array_equal(found.indptr, whole.indptr)
    np.testing.assert_array_equal(dense(found), dense(whole))
    parts = list(item_to_item._blocks(by_item, likes))
    assert [part[0] for part in parts[1:]] == [part[1] for part in parts[:-1]]
    assert (parts[0][0], parts[-1][1]) == (0, 31)
    lengths = by_item @ np.diff(likes.indptr)
    assert all(np.minimum(lengths, 31)[start + 1 : stop].sum() <= entries for start, stop in parts)


@hypothesis.given(
    rows=st.lists(st.lists(st.integers(-3, 3), max_size=9), min_size=1, max_size=6),
    kept=st.integers(1, 6),
)
def test_what_is_kept_of_a_row_is_what_sorting_it_finds(rows: list[list[int]], kept: int) -> None:
    counts = [len(row) for row in rows]
    indptr = np.concatenate([[0], np.cumsum(counts)]).astype(np.int64)
    indices = np.concatenate([np.arange(count) for count in counts]).astype(np.int32)
    found = truncated(Neighbours(indptr, indices, np.concatenate(rows).astype(np.float32)), kept)
    for row, values in enumerate(rows):
        largest = sorted(range(len(values)), key=lambda place: (-abs(values[place]), place))
        part = slice(found.indptr[row], found.indptr[row + 1])
        assert found.indices[part].tolist() == sorted(largest[:kept])
        assert found.weights[part].tolist() == [values[place] for place in sorted(largest[:kept])]


@pytest.mark.parametrize("kept", [1, 4, 30, 31, 40])
def test_the_largest_of_dense_rows_are_the_same_where_nothing_was_compiled(
    kept: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Numbers of all sizes, many of them equal, with both signs of zero."""
    generator = np.random.default_rng(kept)
    block = generator.choice([-2.5, -1, -1e-30, -0.0, 0.0, 1e-40, 1, 2.5, 3e30], (50, 31))
    block[:20] += generator.normal(size=(20, 31))
    block = block.astype(np.float32)
    columns, weights = item_to_item.largest_of_dense_rows(block, kept)
    assert columns.shape == weights.shape == (50, min(kept, 31))
    for row, found in enumerate(columns.tolist()):
        order = sorted(range(31), key=lambda place: (-abs(block[row, place]), place))
        assert found == sorted(order[:kept])
    np.testing.assert_array_equal(weights, np.take_along_axis(block, columns, 1))
    monkeypatch.setattr(compiled, "load_sums", lambda: None)
    again = item_to_item.largest_of_dense_rows(block, kept)
    np.testing.assert_array_equal(again[0], columns)
    np.testing.assert_array_equal(again[1], weights)


def test_a_configuration_names_its_neighbours() -> None:
    model = Ease(7.0, 0.1, kept=5)
    flat = {"no_components": 3, **parameters_of(model, 2.0)}
    assert item_to_item_model(parse_configuration(flat)[1]) == model
    walk = Rp3Beta(0.9, 0.2, kept=6)
    assert item_to_item_model(parse_configuration(parameters_of(walk, 1.0))[1]) == walk
    assert item_to_item_model(parse_configuration({"no_components": 3})[1]) is None


@pytest.mark.parametrize("model", [Ease(3.0, kept=5), Rp3Beta(0.9, 0.2, kept=5)])
def test_what_is_fitted_already_is_cut_to_what_the_configuration_keeps(
    model: ItemToItemModel,
) -> None:
    """A leaderboard's model keeps more of a row than the one that is blended and registered."""
    likes = random_likes()
    draw = np.random.default_rng(2).standard_normal
    zeros = np.zeros(90, np.float32), np.zeros(31, np.float32)
    factors = Factors(draw((90, 4)).astype(np.float32), draw((31, 4)).astype(np.float32), *zeros)
    parameters = parse_configuration(parameters_of(model, 2.0))[1]
    expected = fit_neighbours(factors, likes, parameters)
    found = fit_neighbours(factors, likes, parameters, replace(model, kept=31).neighbours(likes))
    assert expected is not None
    assert found is not None
    np.testing.assert_array_equal(dense(found), dense(expected))


@pytest.mark.parametrize("numbers", [2**18, 60])
def test_neighbours_are_brought_to_the_spread_of_the_factors(
    numbers: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("recsys.ranking.rows._IN_BLOCK", numbers)  # one block, or many
    likes = random_likes()
    draw = np.random.default_rng(2).standard_normal
    factors = Factors(
        draw((90, 4)).astype(np.float32), draw((31, 4)).astype(np.float32),
        draw(90).astype(np.float32), draw(31).astype(np.float32),
    )  # fmt: skip
    by_hand = np.sqrt(factors.score(np.arange(90)).astype(np.float64).var(axis=1).mean())
    assert factor_spread(factors) == pytest.approx(by_hand, rel=1e-5)
    parameters = parse_configuration(parameters_of(Ease(3.0), 0.5))[1]
    scaled = fit_neighbours(factors, likes, parameters)
    assert scaled is not None
    scores = NeighbourScorer(scaled, likes).score(np.arange(90)).astype(np.float64)
    with_likes = np.diff(likes.indptr) > 0
    assert np.sqrt(scores[with_likes].var(axis=1).mean()) == pytest.approx(0.5 * by_hand, rel=1e-4)
    assert neighbour_spread(scaled, likes) == pytest.approx(0.5 * by_hand, rel=1e-4)
    none = parse_configuration({**parameters_of(Ease(3.0), 0.0)})[1]
    assert fit_neighbours(factors, likes, none) is None
