"""The exact top-k against sorting everything, on awkward scores, and its bounded memory."""

from __future__ import annotations

import subprocess
import sys
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

import recsys
from recsys.ranking import topk as ranking
from recsys.ranking.factors import Factors
from recsys.ranking.scorer import ScoreTable
from recsys.ranking.topk import UNRANKED, Block, TopK, score_blocks, top_k

AWKWARD = [-np.inf, np.inf, np.nan, -1.0, -0.0, 0.0, 1.0, 2.0, 1e-45, 3.4e38]


def table(*rows: list[float]) -> ScoreTable:
    return ScoreTable(np.array(rows, np.float32))


def product(scores: np.ndarray) -> Factors:
    """Factors whose product these scores are."""
    n_users, n_items = scores.shape
    zeros = np.zeros(n_users, np.float32), np.zeros(n_items, np.float32)
    return Factors(np.eye(n_users, dtype=np.float32), scores.T.copy(), *zeros)


def matrix(n_users: int, n_items: int, *pairs: tuple[int, int]) -> sp.csr_array:
    users, items = np.array(pairs, int).reshape(-1, 2).T
    return sp.csr_array((np.ones(len(users)), (users, items)), shape=(n_users, n_items))


def random_factors(n_users: int, n_items: int, d: int = 8, seed: int = 0) -> Factors:
    rng = np.random.default_rng(seed)
    parts = [rng.standard_normal(shape, np.float32) for shape in ((n_users, d), (n_items, d))]
    biases = [rng.standard_normal(n, np.float32) for n in (n_users, n_items)]
    return Factors(*parts, *biases)


def random_known(n_users: int, n_items: int, share: float = 0.1, seed: int = 1) -> sp.csr_array:
    rng = np.random.default_rng(seed)
    return sp.csr_array(rng.random((n_users, n_items)) < share)


def masked(scores: np.ndarray, known=None, candidates=None) -> np.ndarray:
    """Scores with everything that must not be recommended at -inf."""
    scores = np.where(np.isfinite(scores), scores, -np.inf).astype(np.float32)
    if known is not None:
        scores[known.toarray() > 0] = -np.inf
    if candidates is not None:
        outside = np.setdiff1d(np.arange(scores.shape[1]), candidates)
        scores[:, outside] = -np.inf
    return scores


def sorted_top(scores: np.ndarray, k: int) -> TopK:
    """The slow obvious way, on masked scores."""
    items = np.full((len(scores), k), -1, np.int32)
    values = np.full((len(scores), k), -np.inf, np.float32)
    for row, line in enumerate(scores):
        order = [i for i in np.argsort(-line, kind="stable")[:k] if line[i] > -np.inf]
        items[row, : len(order)], values[row, : len(order)] = order, line[order]
    return TopK(items, values)


def assert_same(found: TopK, expected: TopK) -> None:
    np.testing.assert_array_equal(found.items, expected.items)
    np.testing.assert_array_equal(found.scores, expected.scores)
    assert (found.items.dtype, found.scores.dtype) == (np.int32, np.float32)


def all_ranks(scorer, n_users: int, *, known=None) -> np.ndarray:
    """Ranks of all items of all users."""
    ranks = np.empty((n_users, scorer.n_items), np.int64)

    def look(block: Block) -> None:
        owners = np.repeat(np.arange(len(block.rows)), scorer.n_items)
        items = np.tile(np.arange(scorer.n_items), len(block.rows))
        ranks[block.rows] = block.ranks(items, owners).reshape(-1, scorer.n_items)

    score_blocks(scorer, np.arange(n_users), look, depth=3, known=known)
    return ranks


class TestByHand:
    def test_best_first(self):
        found = top_k(table([1, 3, 2]), np.array([0]), 2)
        assert found.items.tolist() == [[1, 2]]
        assert found.scores.tolist() == [[3, 2]]

    def test_known_items_are_left_out(self):
        found = top_k(table([1, 3, 2], [1, 3, 2]), np.arange(2), 2, known=matrix(2, 3, (1, 1)))
        assert found.items.tolist() == [[1, 2], [2, 0]]

    def test_equal_scores_by_item_index(self):
        assert top_k(table([5, 7, 7, 5]), np.array([0]), 3).items.tolist() == [[1, 2, 0]]

    def test_minus_zero_equals_zero(self):
        assert top_k(table([-0.0, 0.0, -0.0]), np.array([0]), 3).items.tolist() == [[0, 1, 2]]

    def test_what_is_not_finite_is_never_recommended(self):
        found = top_k(table([np.nan, 1, np.inf, 2, -np.inf]), np.array([0]), 5)
        assert found.items.tolist() == [[3, 1, -1, -1, -1]]
        assert found.scores.tolist() == [[2, 1, -np.inf, -np.inf, -np.inf]]

    def test_every_item_known(self):
        found = top_k(table([1, 2]), np.array([0]), 1, known=matrix(1, 2, (0, 0), (0, 1)))
        assert found.items.tolist() == [[-1]]

    def test_candidates_in_any_order_and_repeated(self):
        found = top_k(table([9, 1, 3, 2]), np.array([0]), 3, candidates=np.array([3, 1, 3]))
        assert found.items.tolist() == [[3, 1, -1]]

    def test_no_candidates_no_users_no_items(self):
        none = np.array([], int)
        assert top_k(table([1, 2]), np.array([0]), 2, candidates=none).items.tolist() == [[-1, -1]]
        assert top_k(table([1, 2]), none, 2).items.shape == (0, 2)
        assert top_k(ScoreTable(np.empty((1, 0), np.float32)), np.array([0]), 1).items.tolist() == [
            [-1]
        ]

    def test_biases_count(self):
        zeros = np.zeros((1, 2), np.float32)
        biases = np.array([1, 3, 2], np.float32)
        factors = Factors(zeros, np.zeros((3, 2), np.float32), np.array([10], np.float32), biases)
        assert top_k(factors, np.array([0]), 3).scores.tolist() == [[13, 12, 11]]

    def test_rank_counts_the_others_that_score_as_much(self):
        ranks = all_ranks(table([1, 3, 2, 3, np.nan]), 1, known=matrix(1, 5, (0, 2)))
        assert ranks.tolist() == [[2, 1, UNRANKED, 1, UNRANKED]]


@st.composite
def problems(draw):
    shape = draw(st.tuples(st.integers(1, 5), st.integers(1, 90)))
    scores = draw(hnp.arrays(np.float32, shape, elements=st.sampled_from(AWKWARD)))
    known = draw(st.none() | hnp.arrays(bool, shape).map(sp.csr_array))
    candidates = draw(
        st.none() | hnp.arrays(int, st.integers(0, 9), elements=st.integers(0, shape[1] - 1))
    )
    return scores.astype(np.float32), known, candidates, draw(st.integers(1, 100))


class TestAgainstSorting:
    @settings(max_examples=150)
    @given(problems())
    def test_lists(self, problem):
        scores, known, candidates, k = problem
        found = top_k(
            ScoreTable(scores), np.arange(len(scores)), k, known=known, candidates=candidates
        )
        assert_same(found, sorted_top(masked(scores, known, candidates), k))

    # The scores of an item are contiguous where a product is ranked, and else those of a user.
    @pytest.mark.parametrize("made", [ScoreTable, product])
    @settings(max_examples=100)
    @given(problems())
    def test_ranks_and_hits(self, made, problem):
        scores, known, _, k = problem
        if made is product:
            scores = np.nan_to_num(scores, nan=0, posinf=1, neginf=-1)
        scorer, expected = made(scores), masked(scores, known)
        ranks = (expected[:, None, :] >= expected[:, :, None]).sum(axis=2) - 1
        ranks = np.where(expected > -np.inf, ranks, UNRANKED)
        np.testing.assert_array_equal(all_ranks(scorer, len(scores), known=known), ranks)

        def look(block: Block) -> None:
            owners, items = (part.ravel() for part in np.indices(scores.shape))
            np.testing.assert_array_equal(block.hits(items, owners, k), ranks.ravel() < k)

        score_blocks(scorer, np.arange(len(scores)), look, depth=k, known=known)

    @pytest.mark.parametrize("n_items", [1, 15, 16, 17, 1000, 1024, 1025, 5000])
    @pytest.mark.parametrize("k", [1, 7, 300])
    def test_factors(self, n_items, k):
        factors, known = random_factors(9, n_items), random_known(9, n_items)
        scores = factors.user_factors @ factors.item_factors.T + factors.item_biases
        scores = masked(scores + factors.user_biases[:, None], known)
        found = top_k(factors, np.arange(9), k, known=known)
        np.testing.assert_array_equal(found.items, sorted_top(scores, k).items)
        np.testing.assert_allclose(found.scores, sorted_top(scores, k).scores, rtol=1e-4, atol=1e-5)

    def test_a_diverged_model_recommends_what_is_left(self):
        factors = random_factors(3, 3000)
        factors.item_factors[5], factors.item_biases[7] = np.nan, np.inf
        factors.user_factors[1] = np.nan
        factors.item_factors[9], factors.user_factors[2] = 3e38, 3e38  # overflows
        found = top_k(factors, np.arange(3), 3000)
        assert not set(found.items[0]) & {5, 7}
        assert (found.items[0] >= 0).sum() >= 2997
        assert (found.items[1] == -1).all()
        assert np.isfinite(found.scores[found.items >= 0]).all()


class TestInvariance:
    @pytest.mark.parametrize("block_bytes", [1, 10_000, 1_000_000])
    @pytest.mark.parametrize("threads", [1, 3])
    def test_block_size_and_threads(self, block_bytes, threads):
        factors, known = random_factors(700, 500), random_known(700, 500)
        users = np.arange(700)
        whole = top_k(factors, users, 20, known=known)
        parts = top_k(factors, users, 20, known=known, block_bytes=block_bytes, threads=threads)
        np.testing.assert_array_equal(parts.items, whole.items)
        np.testing.assert_allclose(parts.scores, whole.scores, rtol=1e-5, atol=1e-6)

    def test_order_and_repetition_of_users(self):
        factors, known = random_factors(50, 2000), random_known(50, 2000)
        users = np.random.default_rng(0).integers(50, size=300)
        whole = top_k(factors, np.arange(50), 10, known=known)
        found = top_k(factors, users, 10, known=known)
        np.testing.assert_array_equal(found.items, whole.items[users])

    @pytest.mark.parametrize("d", [6, 64, 101])
    @pytest.mark.parametrize("n_items", [90, 2300])
    def test_one_user_gets_the_scores_of_the_crowd(self, d, n_items):
        factors = random_factors(1300, n_items, d)
        crowd = top_k(factors, np.arange(1300), 10)
        for user in (0, 17, 1299):
            alone = top_k(factors, np.array([user]), 10)
            # Some BLAS kernels add up in another order by where a column stands.
            np.testing.assert_array_equal(alone.items[0], crowd.items[user])
            np.testing.assert_allclose(alone.scores[0], crowd.scores[user], rtol=1e-5, atol=1e-6)

    @pytest.mark.parametrize("d", [6, 64, 101])
    def test_equal_items_tie_wherever_they_stand(self, d):
        factors = random_factors(700, 2500, d)
        # Whole numbers: their sums are exact in whatever order a BLAS kernel takes them.
        for part in (factors.user_factors, factors.item_factors, factors.user_biases):
            np.rint(4 * part, out=part)
        factors.item_factors[:], factors.item_biases[:] = factors.item_factors[0], 0
        assert (top_k(factors, np.arange(700), 5).items == np.arange(5)).all()

    def test_the_scores_of_a_scorer_are_left_alone(self):
        scorer = table([1, np.nan, 3])
        top_k(scorer, np.array([0]), 2, known=matrix(1, 3, (0, 2)))
        np.testing.assert_array_equal(scorer.scores, [[1, np.nan, 3]])

    def test_blas_gets_its_threads_back(self):
        threadpoolctl = pytest.importorskip("threadpoolctl")
        before = [pool["num_threads"] for pool in threadpoolctl.threadpool_info()]
        top_k(random_factors(9, 100), np.arange(9), 2, threads=2)
        assert [pool["num_threads"] for pool in threadpoolctl.threadpool_info()] == before


class TestLimits:
    @pytest.mark.parametrize("n_items", [200_000, 5_000])
    def test_memory_is_bounded(self, n_items):
        factors = random_factors(2000 if n_items < 10_000 else 100, n_items, 4)
        ranking._buffers.clear()  # what an earlier call left must not serve this one
        tracemalloc.start()
        try:
            top_k(factors, np.arange(factors.n_users), 20, block_bytes=16 * 2**20)
            assert tracemalloc.get_traced_memory()[1] < 40 * 2**20
        finally:
            tracemalloc.stop()

    @pytest.mark.parametrize(
        "change",
        [
            {"k": 0},
            {"threads": 0},
            {"users": np.array([2])},
            {"users": np.array([-1])},
            {"candidates": np.array([3])},
            {"known": matrix(2, 9, (0, 8))},
            {"known": matrix(1, 3, (0, 1))},
        ],
    )
    def test_what_is_out_of_range_is_refused(self, change):
        arguments = {"users": np.arange(2), "k": 1} | change
        users, k = arguments.pop("users"), arguments.pop("k")
        with pytest.raises(ValueError, match="must"):
            top_k(random_factors(2, 3), users, k, **arguments)

    def test_a_scorer_of_the_wrong_shape_is_refused(self):
        class Wrong(ScoreTable):
            n_items = 9

        with pytest.raises(ValueError, match="shape"):
            top_k(Wrong(np.zeros((1, 3), np.float32)), np.array([0]), 1)

    def test_an_error_in_a_thread_comes_out(self):
        class Broken(ScoreTable):
            def score(self, users):
                raise RuntimeError("broken")

        with pytest.raises(RuntimeError, match="broken"):
            top_k(Broken(np.zeros((99, 3), np.float32)), np.arange(99), 1, threads=3, block_bytes=1)

    def test_numpy_is_enough(self):
        code = (
            "import sys; sys.modules['threadpoolctl'] = None\n"
            "import numpy as np\n"
            "from recsys.ranking.factors import Factors\n"
            "from recsys.ranking.topk import top_k\n"
            "one = np.ones((2, 3), np.float32)\n"
            "top_k(Factors(one, one, one[:, 0], one[:, 0]), np.arange(2), 1, threads=2)\n"
            "heavy = {'scipy', 'lightfm', 'implicit', 'sklearn', 'pandas'} & set(sys.modules)\n"
            "assert not heavy, heavy"
        )
        root = Path(recsys.__file__).parents[1]
        subprocess.run([sys.executable, "-c", code], check=True, cwd=root)


@pytest.mark.parametrize("scorer_of", [ScoreTable, product])
@pytest.mark.parametrize("k", [1, 40, 150, 2500])
def test_deep_lists_and_parts_of_a_block_are_ranked_exactly(scorer_of, k: int) -> None:
    rng = np.random.default_rng(5)
    scores = np.round(rng.normal(0, 20, (7, 2000))).astype(np.float32)  # many are equal
    known, chosen = random_known(7, 2000), np.flatnonzero(rng.random(2000) < 0.3)
    scorer, seen = scorer_of(scores), masked(scores, known)
    assert_same(top_k(scorer, np.arange(7), k, known=known), sorted_top(seen, k))
    found = np.full((7, min(k, len(chosen))), -1)

    def visit(block: Block) -> None:
        positions, values = block.part(chosen).largest(k)
        inside = positions[:, : found.shape[1]]
        found[block.rows] = np.where(
            values[:, : found.shape[1]] > -np.inf, chosen[np.minimum(inside, len(chosen) - 1)], -1
        )
        expected = [row[np.isfinite(row)].std() for row in seen[block.rows]]
        np.testing.assert_allclose(block.spread(), expected, rtol=1e-5)

    score_blocks(scorer, np.arange(7), visit, depth=k, known=known)
    expected = chosen[sorted_top(seen[:, chosen], found.shape[1]).items]
    there = sorted_top(seen[:, chosen], found.shape[1]).items >= 0
    np.testing.assert_array_equal(found, np.where(there, expected, -1))


def test_an_item_with_a_bias_of_minus_infinity_is_left_out() -> None:
    factors = random_factors(3, 100)
    biases = factors.item_biases.copy()
    biases[::3] = -np.inf
    left = Factors(factors.user_factors, factors.item_factors, factors.user_biases, biases)
    kept = np.setdiff1d(np.arange(100), np.arange(0, 100, 3))
    with np.errstate(all="raise"):
        found = top_k(left, np.arange(3), 70)
    expected = top_k(factors, np.arange(3), 70, candidates=kept)
    np.testing.assert_array_equal(found.items, expected.items)
    assert (found.items[:, 66:] == -1).all()
