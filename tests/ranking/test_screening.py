"""Screening never rules out what belongs into a list: bounds hold, and lists are the same bits."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.bundle import Bundle, Seen
from recsys.data.idmap import IdMap
from recsys.ranking import screening
from recsys.ranking.compiled import load_sums
from recsys.ranking.factors import Factors
from recsys.ranking.neighbours import Neighbours
from recsys.ranking.screening import Screen, Screening
from recsys.recommend.queries.filters import Filters
from recsys.recommend.queries.scoring import products
from recsys.recommend.recommender import Recommender

pytestmark = pytest.mark.skipif(load_sums() is None, reason="nothing was compiled")

ITEMS, USERS = 3000, 40


def random_rows(seed: int, n: int, d: int, spread: float) -> np.ndarray:
    """Rows of very different lengths, some of them nothing, some twice."""
    rng = np.random.default_rng(seed)
    rows = rng.normal(size=(n, d)) * 10 ** rng.uniform(-spread, spread, (n, 1))
    rows[rng.random(n) < 0.05] = 0
    rows[1::7] = rows[0::7][: len(rows[1::7])]
    return rows.astype(np.float32)


@settings(max_examples=25, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    n=st.integers(2048, 2120),
    d=st.integers(1, 70),
    spread=st.sampled_from([0.0, 1.0, 8.0, 20.0]),
    size=st.sampled_from([1e-12, 1.0, 1e12]),
)
def test_no_product_is_above_its_bound(
    seed: int, n: int, d: int, spread: float, size: float
) -> None:
    rows = random_rows(seed, n, d, spread)
    vector = (np.random.default_rng(seed + 1).normal(size=d) * size).astype(np.float32)
    screen = Screen.of(rows, np.zeros(n, np.float32))
    if np.linalg.norm(rows.astype(np.float64), axis=1).max() >= 1e15:
        assert screen is None
        return
    assert screen is not None
    bounds = screen.bounds(vector, n)
    assert bounds is not None
    exact = rows.astype(np.float64) @ vector.astype(np.float64)
    assert (bounds >= products(rows, vector)).all()
    assert (bounds >= exact).all()
    lengths = np.linalg.norm(rows.astype(np.float64), axis=1) * np.linalg.norm(vector)
    # At most half a step, the 254th part of the largest number, in each direction; twice that.
    assert (bounds - exact <= 2 * (np.sqrt(d) / 254 + 1e-3) * lengths + 1e-9 * size).all()


def test_a_bound_by_hand() -> None:
    rows = np.zeros((2048, 3), np.float32)
    rows[5] = 127, -254, 1  # in steps of 2: 63.5 becomes 64 and 0.5 becomes 0, cut off -1, 0, 1
    screen = Screen.of(rows, np.full(2048, 7, np.float32))
    assert screen is not None
    assert screen.packed[0, :, 5].ravel().tolist() == [64, -127, 0, 0]
    assert screen.scales[5] == 2
    # The length of what is cut off; of the vector at most sqrt(3) / 2 steps of 1 / 32767.
    of_vector = np.hypot(128, 254) * np.sqrt(3) / 2 / 32767
    assert screen.errors[5] == pytest.approx(np.sqrt(2) + of_vector, abs=2e-3)
    bounds = screen.bounds(np.array([1, 0, 0], np.float32), 2048, 3.0)
    assert bounds is not None
    assert bounds[5] == pytest.approx(128 + 10 + np.sqrt(2) + of_vector, abs=3e-3)
    assert bounds[6] == 10


def test_both_loops_give_the_same_bits(monkeypatch: pytest.MonkeyPatch) -> None:
    rows = random_rows(3, 2500, 37, 2.0)
    screen = Screen.of(rows, rows[:, 0])
    assert screen is not None
    wide = screen.bounds(rows[9], 2100, 0.5)
    monkeypatch.setattr(screening, "_WIDE", 0)
    plain = screen.bounds(rows[9], 2100, 0.5)
    assert wide is not None
    assert plain is not None
    assert len(wide) == 2100
    assert wide.tobytes() == plain.tobytes()


@pytest.mark.parametrize("wrong", [np.nan, np.inf, 1e16, 1e-30])
def test_what_cannot_be_bounded_is_not(wrong: float) -> None:
    rows = random_rows(4, 2048, 4, 1.0)
    offsets = rows[:, 0].copy()
    screen = Screen.of(rows, offsets)
    assert screen is not None
    assert screen.bounds(np.full(4, wrong, np.float32), 2048) is None
    if not wrong < 1:
        rows[77, 2] = wrong
        assert Screen.of(rows, offsets) is None
    assert Screen.of(rows[:2047], offsets[:2047]) is None  # few


def test_a_screen_is_made_when_it_is_asked_for_often() -> None:
    often = Screening(random_rows(5, 2048, 4, 1.0), np.zeros(2048, np.float32))
    assert [often.often() for _ in range(63)] == [None] * 63
    made = often.often()
    assert made is not None
    assert often.often() is made is often.made()


def recommender(seed: int, blended: bool, extreme: bool) -> Recommender:
    """A model with equal items, items that are likely to be cut, and biases that matter."""
    rng = np.random.default_rng(seed)
    items = random_rows(seed, ITEMS, 17, 0.3)
    biases = (rng.normal(size=ITEMS) * rng.choice([0, 3])).astype(np.float32)
    if extreme:
        biases[[3, 50]] = np.inf, np.nan
    liked = [np.sort(rng.permutation(ITEMS)[:30]).astype(np.int32) for _ in range(USERS)]
    neighbours = None
    if blended:
        columns = np.sort(rng.integers(0, ITEMS, (ITEMS, 20)), axis=1).astype(np.int32)
        weights = rng.normal(size=columns.size).astype(np.float32)
        neighbours = Neighbours(np.arange(ITEMS + 1) * 20, columns.ravel(), weights)
    return Recommender(
        Bundle(
            Factors(
                rng.normal(size=(USERS, 17)).astype(np.float32),
                items,
                rng.normal(size=USERS).astype(np.float32),
                biases,
            ),
            IdMap(pa.array([f"u{user}" for user in range(USERS)]), "user"),
            IdMap(pa.array([f"i{item}" for item in range(ITEMS)]), "item"),
            None,
            Seen(np.arange(USERS + 1) * 30, np.concatenate(liked)),
            {"seed": seed},
            trained=ITEMS,
            neighbours=neighbours,
        )
    )


@pytest.mark.parametrize("extreme", [False, True])
@pytest.mark.parametrize("blended", [False, True])
def test_lists_are_the_same_with_and_without(blended: bool, extreme: bool) -> None:
    asked = [
        (1, Filters()),
        (10, Filters(include_seen=True)),
        (300, Filters()),
        (10, Filters(exclude=tuple(f"i{item}" for item in range(0, ITEMS, 3)))),
        (10, Filters(only=("i5", "i6", "i7"))),
    ]
    plain, screened = (recommender(8, blended, extreme) for _ in range(2))
    assert screened.bundle.screening.made() is not None
    for user in (0, 7, 39):
        for n, filters in asked:
            expected = plain.recommend(f"u{user}", n, filters, liked=["i40"])
            assert screened.recommend(f"u{user}", n, filters, liked=["i40"]) == expected
            assert screened.recommend_for(["i9"], n, filters) == plain.recommend_for(
                ["i9"], n, filters
            )


def test_few_items_are_multiplied_exactly(monkeypatch: pytest.MonkeyPatch) -> None:
    from recsys.recommend.queries import recommendation

    asked = recommender(8, True, False)
    asked.bundle.screening.made()
    counts: list[int] = []

    def counted(matrix: np.ndarray, vector: np.ndarray) -> np.ndarray:
        counts.append(len(matrix))
        return products(matrix, vector)

    monkeypatch.setattr(recommendation, "products", counted)
    for user in range(USERS):
        asked.recommend(f"u{user}")
    assert np.median(counts) < 100
    assert max(counts) <= ITEMS / 8
