"""Stability indices and scores, against values worked out by hand."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from recsys.evaluation.stability import (
    change_score,
    count_score,
    share_score,
    stability_by_chance,
    stability_index,
    stability_of_bins,
)

COUNTS = st.lists(st.integers(0, 10_000), min_size=2, max_size=12)


def test_the_index_is_the_sum_over_bins() -> None:
    # With half a count added, the shares are 10/40, 30/40 and 20/40, 20/40.
    parts = [(0.5 - 0.25) * math.log(0.5 / 0.25), (0.5 - 0.75) * math.log(0.5 / 0.75)]
    assert stability_of_bins([9.5, 29.5], [19.5, 19.5]) == pytest.approx(parts)
    assert stability_index([9.5, 29.5], [19.5, 19.5]) == pytest.approx(sum(parts))
    assert stability_index([9.5, 29.5], [19.5, 19.5]) == pytest.approx(0.25 * math.log(3))


def test_an_empty_bin_is_no_infinity() -> None:
    # (0.5, 10.5) / 11 and (10.5, 0.5) / 11
    assert stability_index([0, 10], [10, 0]) == pytest.approx(2 * (10 / 11) * math.log(21))


@given(COUNTS, st.data())
def test_the_index_is_positive_and_the_same_both_ways(
    before: list[int], data: st.DataObject
) -> None:
    size = len(before)
    after = data.draw(st.lists(st.integers(0, 10_000), min_size=size, max_size=size))
    assert stability_index(before, before) == 0
    assert stability_index(before, after) >= 0
    assert stability_index(before, after) == pytest.approx(stability_index(after, before))


def test_chance_explains_what_samples_of_one_population_differ_by() -> None:
    assert stability_by_chance(4, 100, 50, 0.95) == pytest.approx(
        (1 / 100 + 1 / 50) * stats.chi2.ppf(0.95, 3)
    )
    assert stability_by_chance(1, 100, 100) == 0
    generator = np.random.default_rng(3)
    shares = [0.5, 0.3, 0.1, 0.1]
    bound = stability_by_chance(4, 400, 300, 0.9)
    above = [
        stability_index(generator.multinomial(400, shares), generator.multinomial(300, shares))
        > bound
        for _ in range(2000)
    ]
    assert np.mean(above) == pytest.approx(0.1, abs=0.03)


def test_counts_differ_by_the_spread_of_poisson_or_by_their_own() -> None:
    by_hand = 2 * (math.sqrt(40.375) - math.sqrt(400.375))
    one = math.sqrt(1 + math.pi / 2)
    assert count_score(40, [400]) == pytest.approx(by_hand / one)
    assert count_score(400, [400, 400, 400]) == 0
    # Nights that vary by hundreds make nothing of one that does.
    assert abs(count_score(40, [100, 400, 900, 50, 700])) < 3 < abs(count_score(40, [400] * 5))


def test_shares_differ_by_the_spread_of_the_binomial_or_by_their_own() -> None:
    by_hand = 2 * (math.asin(math.sqrt(0.2)) - math.asin(math.sqrt(0.1))) * math.sqrt(400)
    assert share_score(0.2, [0.1], 400) == pytest.approx(by_hand / math.sqrt(1 + math.pi / 2))
    assert abs(share_score(0.2, [0.05, 0.1, 0.3, 0.25], 400)) < 3


def test_changes_may_be_negative() -> None:
    wide = math.sqrt(1 + math.pi / 6)
    assert change_score(-20, [80, 100, 130]) == pytest.approx(-120 / (20 / 0.6745 * wide))
    assert change_score(7, [0, 0, 0]) == pytest.approx(7 / wide)
