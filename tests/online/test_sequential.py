"""Sequential tests: by hand, and by simulation of people who are looked at a hundred times."""

from __future__ import annotations

import doctest
import math

import numpy as np
import pytest

from recsys.base.arrays import Float64Array
from recsys.online import sequential
from recsys.online.sequential import (
    always_valid_p,
    change_of,
    days_until,
    half_width,
    log_ratio,
    rate_of,
    sample_ratio_p,
)

LEVEL, EFFECT, LOOKS = 0.95, 0.05, 100


def test_the_examples_are_right() -> None:
    assert doctest.testmod(sequential).failed == 0


def test_the_interval_is_where_the_p_value_is_one_minus_the_level() -> None:
    for variance in (1e-5, 1e-3, 0.1):
        half = half_width(variance, 0.05, 0.05)
        assert always_valid_p(half, variance, 0.05) == pytest.approx(0.05)
        assert always_valid_p(0.0, variance, 0.05) == 1.0
    # By hand: V = tau^2 = 1: half^2 = 2 (2 ln 20 + ln 2).
    assert half_width(1.0, 1.0, 0.05) == pytest.approx(
        (2 * (2 * math.log(20) + math.log(2))) ** 0.5
    )


def test_the_variance_of_a_ratio_by_hand() -> None:
    # Two users a side with 10 items seen each: 2 and 4 clicks, then 3 and 6.
    events = np.array([[2.0, 0], [4, 0], [0, 3], [0, 6]])
    seen = np.array([[10.0, 0], [10, 0], [0, 10], [0, 10]])
    found = log_ratio(events, seen)
    assert found is not None
    assert found[0] == pytest.approx(math.log(1.5))
    # Parts of a user: 2/6 - 10/20 and so on, each 1/6, squared and added, times 4/3.
    assert found[1] == pytest.approx(4 / 36 * 4 / 3)
    assert log_ratio(events[:, ::-1], seen[:, ::-1]) == pytest.approx((-found[0], found[1]))


def test_what_a_user_does_much_of_on_both_sides_cancels() -> None:
    busy = np.arange(1.0, 201.0)
    events = np.column_stack([busy, busy])
    found = log_ratio(events, np.column_stack([busy, busy]) * 10)
    assert found == (0.0, 0.0)
    assert change_of(events, events * 10, EFFECT, LEVEL) is None


def test_too_little_is_said_and_not_guessed() -> None:
    nothing = np.zeros((3, 2))
    assert change_of(nothing, nothing + 1, EFFECT, LEVEL) is None
    assert rate_of(nothing[:, 0], nothing[:, 0], EFFECT, LEVEL) is None
    rate = rate_of(np.zeros(3), np.ones(3), EFFECT, LEVEL)
    assert rate == (0.0, 0.0, 1.0)


def test_more_days_for_smaller_changes_and_a_change_shows_when_it_was_said() -> None:
    days = [days_until(change, 0.01, 1.0, EFFECT, LEVEL) for change in (0.1, 0.05, 0.02)]
    assert days == sorted(days)
    # After so many days the expected interval and the luck of four times in five just leave 0 out.
    variance = 0.01 / days[1]
    expected = half_width(variance, math.log1p(EFFECT), 0.05)
    assert math.log1p(0.05) == pytest.approx(expected + 0.8416 * variance**0.5, rel=1e-3)


def test_a_wrong_split_is_found_however_often_one_looks() -> None:
    generator = np.random.default_rng(5)
    runs, users = 400, 3000
    joined = np.cumsum(generator.random((runs, users)) < 0.3, axis=1)[:, 29::30]
    total = np.arange(30, users + 1, 30)
    alarms = [
        min(sample_ratio_p(int(n - k), int(k), 0.3) for n, k in zip(total, run, strict=True))
        for run in joined
    ]
    assert np.mean(np.array(alarms) < 0.05) <= 0.05
    assert sample_ratio_p(7300, 2700, 0.3) < 1e-6


class People:
    """Many runs of a comparison at once: people come, return, and click more or less often."""

    def __init__(self, runs: int, users: int, seed: int) -> None:
        self.generator = np.random.default_rng(seed)
        self.shape = runs, users
        self.clicks = self.generator.beta(2, 8, self.shape)
        self.visits = 0.1 * self.generator.gamma(1.0, 1.0, self.shape)
        self.first = self.generator.integers(0, LOOKS // 2, self.shape)
        self.challenged = self.generator.random(self.shape) < 0.5

    def until_decided(self, lift: float, interleaved: bool) -> np.ndarray:
        """The look at which each run is decided, among `LOOKS`; -1 where none is."""
        runs, users = self.shape
        events, seen = np.zeros((2, runs, users, 2))
        decided = np.full(runs, -1)
        for look in range(LOOKS):
            n = self.generator.poisson(self.visits * (self.first <= look)) * 10
            sides = (n // 2, n // 2) if interleaved else (n * ~self.challenged, n * self.challenged)
            for side, items in enumerate(sides):
                rate = np.minimum(1.0, self.clicks * (1 + lift * side))
                events[..., side] += self.generator.binomial(items, rate)
                seen[..., side] += items
            for run in np.flatnonzero(decided < 0):
                if self._decided(events[run], seen[run]):
                    decided[run] = look
        return decided

    def _decided(self, events: Float64Array, seen: Float64Array) -> bool:
        there = seen.any(axis=1)
        if min((seen > 0).sum(axis=0)) < 100:
            return False
        found = change_of(events[there], seen[there], EFFECT, LEVEL)
        return found is not None and found.decided


@pytest.mark.parametrize("interleaved", [False, True], ids=["split", "interleaved"])
def test_equal_versions_are_told_apart_no_more_often_than_the_level_says(
    interleaved: bool,
) -> None:
    """At a hundred looks together; the usual interval would be wrong in every third run."""
    found = People(runs=60, users=700, seed=11).until_decided(0.0, interleaved)
    # 3 of 60 are expected at most; more than 7 would be luck of one in a hundred.
    assert np.sum(found >= 0) <= 7


def test_interleaving_finds_a_difference_of_three_per_cent_with_fewer_users() -> None:
    """The same people: what makes one of them click often cancels where both lists are one."""
    generator = np.random.default_rng(3)
    users, runs = 40_000, 5
    needed: dict[bool, list[int]] = {False: [], True: []}
    for _ in range(runs):
        clicks, items = generator.beta(2, 8, users), 40
        for interleaved in (False, True):
            side = np.arange(users) % 2
            half = np.full((users, 2), items / 2) if interleaved else items * np.eye(2)[side]
            rates = np.column_stack([clicks, 1.03 * clicks]).clip(max=1)
            events = generator.binomial(half.astype(int), rates).astype(np.float64)
            looks = range(1000, users + 1, 1000)
            found = (n for n in looks if _won(change_of(events[:n], half[:n], EFFECT, LEVEL)))
            needed[interleaved].append(next(found, users + 1))
    assert np.median(needed[True]) * 3 < np.median(needed[False])
    assert max(needed[True]) <= users


def _won(change: sequential.Change | None) -> bool:
    return change is not None and change.low > 0
