"""Diverse lists: chosen as house rules choose them, measured on cases worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from recsys.evaluation.diversity import WEIGHTS, measure_diversity
from recsys.ranking.diversity import Bound, directions, intra_list_diversity, rerank
from recsys.ranking.factors import Factors
from recsys.ranking.topk import TopK

VECTORS = directions(np.array([[2, 0], [1, 0], [0, 1], [0, 0], [-1, 0]], np.float32))


def test_the_diversity_of_a_list_is_one_less_its_mean_cosine() -> None:
    lists = np.array([[0, 1, -1], [0, 2, -1], [0, 4, -1], [0, 1, 2], [0, -1, -1], [3, 0, -1]])
    found = intra_list_diversity(lists, VECTORS)
    assert found == pytest.approx([0, 1, 2, 1 - 1 / 3, 0, 1])


def test_lists_are_ranked_again_by_marginal_relevance() -> None:
    items = np.array([[0, 1, 2, -1], [2, -1, -1, -1]], np.int32)
    scores = np.array([[3, 2.9, 1, -np.inf], [1, -np.inf, -np.inf, -np.inf]], np.float32)
    top = TopK(items, scores)
    assert rerank(top, VECTORS, 0.0, 3).tolist() == [[0, 1, 2], [2, -1, -1]]
    # 1 is worth 0.5 * 0.95 - 0.5 * 1, and 2 nothing.
    assert rerank(top, VECTORS, 0.5, 2).tolist() == [[0, 2], [2, -1]]
    assert rerank(top, VECTORS, 0.3, 2).tolist() == [[0, 1], [2, -1]]


@given(
    seed=st.integers(0, 2**16),
    weight=st.sampled_from([0.0, 0.3, 0.7, 1.0]),
    n=st.integers(1, 12),
    rooms=st.lists(st.integers(-1, 4), max_size=2),
)
def test_bounds_hold_and_every_item_is_the_best_of_those_left(
    seed: int, weight: float, n: int, rooms: list[int]
) -> None:
    generator = np.random.default_rng(seed)
    unit = directions(generator.normal(0, 1, (20, 3)).astype(np.float32))
    scores = np.sort(generator.normal(0, 1, (3, 9)).astype(np.float32), axis=1)[:, ::-1].copy()
    items = np.array([generator.permutation(20)[:9] for _ in range(3)], np.int32)
    lengths = np.array([9, 4, 0])
    items[np.arange(9) >= lengths[:, None]] = -1
    scores[items < 0] = -np.inf
    bounds = [Bound(generator.random(20) < 0.5, room) for room in rooms]
    found = rerank(TopK(items, scores), unit, weight, n, bounds)
    assert found.shape == (3, n)
    for row, length in enumerate(lengths):
        left = dict(zip(items[row, :length].tolist(), scores[row].tolist(), strict=False))
        low, high = min(left.values(), default=0), max(left.values(), default=0)
        taken: list[int] = []
        for item in found[row].tolist():
            worth = {
                other: (1 - weight) * (score - low) / ((high - low) or 1)
                - weight * max([0.0, *(float(unit[other] @ unit[one]) for one in taken)])
                for other, score in left.items()
                if all(
                    not bound.mask[other] or bound.mask[taken].sum() < bound.room
                    for bound in bounds
                )
            }
            if item < 0:
                assert not worth
                continue
            assert worth[item] == pytest.approx(max(worth.values()), abs=1e-5)
            taken.append(item)
            del left[item]


def test_diversity_costs_precision_where_what_is_liked_is_alike() -> None:
    generator = np.random.default_rng(5)
    groups = np.repeat(np.eye(6, dtype=np.float32), 10, axis=0)
    vectors = groups + generator.normal(0, 0.1, groups.shape).astype(np.float32)
    users = np.repeat(np.eye(6, dtype=np.float32), 5, axis=0)
    zeros = np.zeros(60, np.float32)
    scorer = Factors(users, vectors, np.zeros(30, np.float32), zeros)
    heldout = sp.csr_matrix((users @ groups.T > 0).astype(np.float32))
    figures = measure_diversity(scorer, vectors, sp.csr_matrix((30, 60), dtype=np.float32), heldout)
    assert [one["weight"] for one in figures] == list(WEIGHTS)
    assert figures[0]["precision_at_5"] == 1
    assert figures[-1]["precision_at_5"] < 0.7
    spread = [one["intra_list_diversity"] for one in figures]
    assert spread == sorted(spread)
    assert spread[-1] > spread[0] + 0.3
    assert figures[0]["users"] == 30
    nobody = sp.csr_matrix((30, 60), dtype=np.float32)
    assert measure_diversity(scorer, vectors, nobody, nobody) == []
