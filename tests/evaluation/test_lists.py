"""Lists: what they say together, worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.evaluation.lists import (
    attainable_coverage,
    evenly_spaced,
    jaccard_overlap,
    mean_list_overlap,
)
from recsys.ranking.metrics import percentiles

LISTS = np.array([[0, 1], [0, 2], [3, -1]], np.int32)


def test_attainable_coverage_is_of_what_the_lists_could_show() -> None:
    # Four different items in five places; of a catalogue of eight, five could have been shown.
    assert attainable_coverage(LISTS, 8) == 4 / 5
    assert attainable_coverage(LISTS, 4) == 1
    assert attainable_coverage(np.full((3, 2), -1, np.int32), 8) == 0


def test_mean_list_overlap_is_the_share_that_two_users_have_in_common() -> None:
    same = np.tile(np.arange(5, dtype=np.int32), (7, 1))
    assert mean_list_overlap(same, 5) == pytest.approx(1)
    assert mean_list_overlap(np.arange(10, dtype=np.int32).reshape(2, 5), 10) == 0
    # Two of three users share one of two items: one pair of three, half a list.
    pairs = np.array([[0, 1], [0, 2], [3, 4]], np.int32)
    assert mean_list_overlap(pairs, 5) == pytest.approx(1 / 6)
    assert mean_list_overlap(pairs[:1], 5) == 0


@given(st.integers(2, 8), st.integers(1, 5), st.integers(0, 2**31))
def test_mean_list_overlap_is_what_comparing_every_pair_gives(
    users: int, n: int, seed: int
) -> None:
    generator = np.random.default_rng(seed)
    lists = np.array([generator.choice(9, n, replace=False) for _ in range(users)], np.int32)
    pairs = [
        len(set(lists[a]) & set(lists[b])) / n for a in range(users) for b in range(a + 1, users)
    ]
    assert mean_list_overlap(lists, 9) == pytest.approx(np.mean(pairs))


def test_overlap_is_jaccards_index() -> None:
    one = np.array([[0, 1, 2], [4, 5, -1], [-1, -1, -1], [7, 8, 9]])
    other = np.array([[2, 1, 0], [5, 6, 7], [-1, -1, -1], [1, 2, 3]])
    assert jaccard_overlap(one, other).tolist() == [1.0, 1 / 4, 1.0, 0.0]


def test_percentiles_and_a_spread_of_users() -> None:
    assert percentiles(np.array([5, 1, 1, 9])).tolist() == [5 / 8, 2 / 8, 2 / 8, 7 / 8]
    assert evenly_spaced(3, 5).tolist() == [0, 1, 2]
    assert evenly_spaced(9, 3).tolist() == [0, 4, 8]
