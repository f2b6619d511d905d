"""Neighbours and blends: sums over likes by hand, and ranked the same tile by tile."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from recsys.models.item_to_item import NeighbourScorer
from recsys.ranking import topk as ranking
from recsys.ranking.factors import Factors
from recsys.ranking.neighbours import Blended, BlendedAudience, Neighbours
from recsys.ranking.topk import top_k

# Liking 0 speaks for 1 and against 2, liking 1 for 0, liking 2 says nothing.
HAND = Neighbours(
    np.array([0, 2, 3, 3]),
    np.array([1, 2, 0], np.int32),
    np.array([0.5, -0.25, 2.0], np.float32),
)


def test_a_score_is_the_sum_over_the_likes() -> None:
    np.testing.assert_array_equal(HAND.scores(np.array([0, 1])), np.float32([2.0, 0.5, -0.25]))
    np.testing.assert_array_equal(HAND.scores(np.array([2])), np.zeros(3, np.float32))
    # Items that were not trained lie behind; they say nothing.
    np.testing.assert_array_equal(HAND.scores(np.array([1, 7])), np.float32([2, 0, 0]))


def test_contributions_add_up_to_the_score() -> None:
    liked = np.array([0, 1, 2, 9])
    for item in range(3):
        parts = HAND.contributions(liked, item)
        assert parts.sum() == HAND.scores(liked)[item]
    np.testing.assert_array_equal(HAND.contributions(liked, 1), np.float32([0.5, 0, 0, 0]))


@pytest.mark.parametrize("bad", [([0, 2], [1], [1.0]), ([0, 1], [1], [1.0, 2.0])])
def test_arrays_that_do_not_belong_together_are_refused(bad: tuple[list, list, list]) -> None:
    with pytest.raises(ValueError, match=r"row|weight"):
        Neighbours(np.array(bad[0]), np.array(bad[1], np.int32), np.array(bad[2], np.float32))


def blend(n_users: int, n_items: int, behind: int = 0, seed: int = 0) -> Blended:
    """A blend of random parts, with items behind those that neighbours speak of."""
    generator = np.random.default_rng(seed)
    weights = sp.random(n_items, n_items, 0.05, format="csr", dtype=np.float32, rng=generator)
    weights.sort_indices()
    likes = sp.random(n_users, n_items + behind, 0.05, format="csr", rng=generator)
    draw = generator.standard_normal
    factors = Factors(
        draw((n_users, 7)).astype(np.float32),
        draw((n_items + behind, 7)).astype(np.float32),
        draw(n_users).astype(np.float32),
        draw(n_items + behind).astype(np.float32),
    )
    found = Neighbours(weights.indptr, weights.indices.astype(np.int32), weights.data)
    return Blended(factors, found, likes)


@given(seed=st.integers(0, 2**16), n=st.integers(1, 30), density=st.sampled_from([0, 0.1, 0.7, 1]))
def test_columns_are_those_of_the_matrix(seed: int, n: int, density: float) -> None:
    generator = np.random.default_rng(seed)
    dense = generator.normal(1, 0.1, (n, n)).astype(np.float32)
    dense[generator.random((n, n)) >= density] = 0
    rows = sp.csr_array(dense)
    found = Neighbours(rows.indptr, rows.indices.astype(np.int32), rows.data)
    for item in range(-1, n + 2):
        items, weights = found.column(item)
        column = dense[:, item] if 0 <= item < n else np.zeros(n, np.float32)
        np.testing.assert_array_equal(items, np.flatnonzero(column))
        np.testing.assert_array_equal(weights, column[items])
    chosen = np.sort(generator.choice(n + 3, generator.integers(1, n + 4), replace=False))
    some = found.of_columns(chosen)
    wide = np.hstack([dense, np.zeros((n, 3), np.float32)])[:, chosen]
    made = sp.csr_array((some.weights, some.indices, some.indptr), wide.shape)
    np.testing.assert_array_equal(made.toarray(), wide)
    assert all((np.diff(row.indices) > 0).all() for row in made)


@pytest.mark.parametrize("block_bytes", [1, 2**20])
def test_users_are_ranked_for_items_as_their_scores_are(block_bytes: int) -> None:
    scorer, items = blend(700, 90, behind=4), np.array([0, 3, 17, 89, 92])
    factors = scorer.factors
    turned = Factors(
        factors.item_factors[items], factors.user_factors,
        factors.item_biases[items], factors.user_biases,
    )  # fmt: skip
    found = BlendedAudience(turned, scorer.neighbours.of_columns(items), scorer.likes)
    expected = scorer.score(np.arange(700))[:, items].T
    asked = np.arange(len(items))
    np.testing.assert_allclose(found.score(asked), expected, rtol=1e-4, atol=1e-5)
    candidates = np.arange(5, 700, 3)
    for chosen in (None, candidates):
        top = top_k(found, asked, 6, candidates=chosen, block_bytes=block_bytes)
        kept = np.full_like(expected, -np.inf)
        kept[:, slice(None) if chosen is None else chosen] = (
            expected if chosen is None else expected[:, chosen]
        )
        best = np.sort(kept, axis=1)[:, :-7:-1]
        np.testing.assert_allclose(top.scores, best, rtol=1e-4, atol=1e-5)
        at = np.take_along_axis(kept, top.items.astype(np.int64), 1)
        np.testing.assert_allclose(at, top.scores, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("n_items", [5, 300, 3000])
@pytest.mark.parametrize("block_bytes", [1, 2**20, 2**27])
def test_a_blend_is_ranked_as_its_scores_are(n_items: int, block_bytes: int) -> None:
    scorer = blend(80, n_items, behind=3)
    users = np.array([3, 79, 3, *range(40)])
    dense = scorer.neighbours.scores
    by_hand = scorer.factors.score(users)
    for row, user in enumerate(users):
        start, stop = scorer.likes.indptr[user : user + 2]
        by_hand[row, :n_items] += dense(scorer.likes.indices[start:stop])
    np.testing.assert_allclose(scorer.score(users), by_hand, rtol=1e-4, atol=1e-5)
    found = top_k(scorer, users, 4, block_bytes=block_bytes)
    expected = np.sort(by_hand, axis=1)[:, ::-1][:, :4]
    np.testing.assert_allclose(found.scores, expected, rtol=1e-4, atol=1e-4)
    at = np.take_along_axis(by_hand, found.items.astype(np.int64), 1)
    np.testing.assert_allclose(at, found.scores, rtol=1e-4, atol=1e-4)


def test_a_blend_ranks_candidates_only_and_leaves_known_items_out() -> None:
    scorer = blend(30, 400)
    users, candidates = np.arange(30), np.arange(1, 400, 3)
    found = top_k(scorer, users, 5, known=scorer.likes, candidates=candidates, threads=2)
    scores = scorer.score(users)
    scores[scorer.likes.nonzero()] = -np.inf
    kept = np.full_like(scores, -np.inf)
    kept[:, candidates] = scores[:, candidates]
    np.testing.assert_allclose(found.scores, np.sort(kept, axis=1)[:, :-6:-1], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(("block_bytes", "threads"), [(1, 1), (10_000, 3), (1_000_000, 2)])
def test_blocks_and_threads_change_nothing_in_the_lists_of_a_blend(
    block_bytes: int, threads: int
) -> None:
    scorer, users = blend(700, 500, behind=3), np.arange(700)
    whole = top_k(scorer, users, 20, known=scorer.likes)
    parts = top_k(scorer, users, 20, known=scorer.likes, block_bytes=block_bytes, threads=threads)
    np.testing.assert_array_equal(parts.items, whole.items)
    np.testing.assert_allclose(parts.scores, whole.scores, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("n_items", [40, 2500])
def test_equal_items_of_a_blend_tie_wherever_they_stand(n_items: int) -> None:
    scorer = blend(700, n_items)
    factors = scorer.factors
    # Whole numbers: their sums are exact in whatever order they are taken.
    for part in (factors.user_factors, factors.item_factors, factors.user_biases):
        np.rint(4 * part, out=part)
    factors.item_factors[:], factors.item_biases[:] = factors.item_factors[0], 0
    # Liking one of the first twenty says the same of all items.
    said = np.repeat(np.arange(20, dtype=np.float32) % 7, n_items)
    everything = np.tile(np.arange(n_items, dtype=np.int32), 20)
    bounds = np.minimum(np.arange(n_items + 1), 20) * n_items
    neighbours = Neighbours(bounds, everything, said)
    found = top_k(Blended(factors, neighbours, scorer.likes), np.arange(700), 5)
    assert (found.items == np.arange(5)).all()


def test_what_a_blend_needs_beside_the_scores_is_little() -> None:
    scorer = blend(400, 1000)
    ranking._buffers.clear()  # what an earlier call left must not serve this one
    tracemalloc.start()
    try:
        top_k(scorer, np.arange(400), 20, block_bytes=2**18)
        assert tracemalloc.get_traced_memory()[1] < 2**21  # all at once take twice as much
    finally:
        tracemalloc.stop()


def test_neighbours_alone_are_a_scorer() -> None:
    likes = sp.csr_matrix(np.float32([[1, 1, 0], [0, 0, 1]]))
    scorer = NeighbourScorer(HAND, likes)
    expected = np.float32([[2.0, 0.5, -0.25], [0, 0, 0]])
    np.testing.assert_array_equal(scorer.score(np.array([0, 1])), expected)
