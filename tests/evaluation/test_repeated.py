"""Repeated holdouts: whom each fold tests, and when there are enough of them."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from recsys.data.interactions import Interactions, read_interactions
from recsys.data.splits import split
from recsys.evaluation.backtests import FoldScores
from recsys.evaluation.repeated import (
    half_width_of_these,
    relative_half_width,
    repeat_holdouts,
)
from tests.fixtures.planted import planted

N = 4


class Measure:
    """Records what it is given; a user's value is a number of their own and some chance."""

    def __init__(self) -> None:
        self.known: list[sp.csr_matrix] = []
        self.heldout: list[sp.csr_matrix] = []
        self.chance = np.random.default_rng(4)

    def __call__(self, known: sp.csr_matrix, heldout: sp.csr_matrix) -> FoldScores:
        self.known.append(known)
        self.heldout.append(heldout)
        return self.scores(np.flatnonzero(np.diff(heldout.indptr)))

    def scores(self, users: np.ndarray) -> FoldScores:
        values = (users % 7) / 7 + self.chance.random(len(users)) / 2
        return FoldScores(users, {"blend": values, "ease": values / 2}, "blend")


def world() -> tuple[Interactions, np.ndarray, np.ndarray]:
    interactions = read_interactions(planted()[0])[0]
    parts = split(interactions, n=N, share=0.2, seed=1)
    validation, test = (
        np.flatnonzero(np.diff(part.indptr)) for part in (parts.validation, parts.test)
    )
    return interactions, validation, test


def repeated(  # type: ignore[no-untyped-def]
    measure: Measure, half_width: float, most: int, rounds: int = 1, by_time: bool = False
):
    interactions, validation, test = world()
    if by_time:
        times = np.arange(len(interactions), dtype=np.int64)
        interactions = Interactions(
            interactions.user, interactions.item, None, times, interactions.users,
            interactions.items,
        )  # fmt: skip
    return repeat_holdouts(
        measure.scores(test), measure, interactions, validation,
        half_width=half_width, rounds=rounds, most_folds=most, n=N, by_time=by_time, seed=1,
        samples=200,
    )  # fmt: skip


def test_each_fold_tests_users_whom_none_before_did_and_never_those_of_the_search() -> None:
    interactions, validation, test = world()
    measure = Measure()
    found = repeated(measure, 1e-9, 4)
    assert found.ended == "4 folds were made"
    seen = [set(test), *(set(fold.users) for fold in found.folds[1:])]
    assert len(set.union(*seen)) == sum(map(len, seen)) == 240 - len(validation)
    assert not set.union(*seen) & set(validation)
    for known, heldout in zip(measure.known, measure.heldout, strict=True):
        counts = np.diff(heldout.indptr)
        assert set(counts[counts > 0]) == {N}
        assert ((known + heldout) != interactions.matrix()).nnz == 0
        assert known.multiply(heldout).nnz == 0


def test_it_ends_when_the_interval_is_narrow_enough() -> None:
    wide, narrow = (repeated(Measure(), width, 50, rounds=12) for width in (0.2, 0.062))
    assert wide.ended == narrow.ended == "the interval is narrow enough"
    assert len(wide.folds) == 1  # the test holdout says enough
    assert len(narrow.folds) > 2
    assert narrow.half_width <= 0.062 < relative_half_width(list(narrow.folds[:-1]), 1, 200)


def test_a_further_round_draws_other_likes_of_the_same_users() -> None:
    measure = Measure()
    found = repeated(measure, 1e-9, 50, rounds=2)
    # Four folds of 48 users each, of whom all but those of the test are tested once more.
    assert (len(found.folds), found.ended) == (8, "every eligible user was tested")
    first, again = sum(measure.heldout[:3]), sum(measure.heldout[4:8])
    both = first.multiply(again).nnz / first.nnz
    assert 0.1 < both < 0.9


def test_the_last_likes_are_held_out_once() -> None:
    measure = Measure()
    found = repeated(measure, 1e-9, 50, rounds=9, by_time=True)
    assert found.ended == "every eligible user was tested"
    assert len(found.folds) == 4
    last = measure.heldout[0]
    user = int(np.flatnonzero(np.diff(last.indptr))[0])
    interactions = world()[0]
    own = interactions.item[interactions.user == user]
    assert last[user].indices.tolist() == own[-N:].tolist()


def test_nothing_found_is_no_narrow_interval() -> None:
    nothing = FoldScores(np.arange(5), {"blend": np.zeros(5)}, "blend")
    assert relative_half_width([nothing], 1, 20) == pytest.approx(np.inf)


def fold(users: list[int] | np.ndarray, values: list[float] | np.ndarray) -> FoldScores:
    found = np.asarray(values, np.float64)
    return FoldScores(np.asarray(users), {"blend": found, "ease": found}, "blend")


def test_of_these_users_only_what_differs_from_fold_to_fold_is_chance() -> None:
    twice = [fold([1, 2], [0.2, 0.4]), fold([1, 2], [0.4, 0.4])]
    # User 1 is 0.1 off twice, user 2 never: a variance of 0.02 / 2 of a value, half of it of a
    # user's mean, and a quarter of the sum of two of these of the mean of both, which is 0.35.
    assert half_width_of_these(twice) == pytest.approx(1.96 * 0.05 / 0.35)
    # A user who was tested once has the same variance as the others.
    more = [*twice, fold([3], [0.35])]
    assert half_width_of_these(more) == pytest.approx(1.96 * np.sqrt(0.01 * 2) / 3 / 0.35)
    assert half_width_of_these(twice[:1]) is None
    assert half_width_of_these([fold([1], [0.0]), fold([1], [0.0])]) is None


def test_the_interval_of_these_users_has_their_true_mean_as_often_as_it_says() -> None:
    generator = np.random.default_rng(1)
    truth = generator.beta(1, 5, 150)
    users = np.arange(150)
    inside = []
    for _ in range(300):
        folds = [fold(users, generator.binomial(5, truth) / 5) for _ in range(3)]
        half = half_width_of_these(folds)
        assert half is not None
        mean = np.mean([one.of("choice").mean() for one in folds])
        inside.append(abs(mean - truth.mean()) <= half * mean)
        # How much users differ is no part of it: it is far narrower than the other interval.
    assert 0.92 <= np.mean(inside) <= 0.98
    assert half < 0.7 * relative_half_width(folds, 1, 200)
