"""Ages: what interactions count for them by hand, and times that stay with their pairs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from hypothesis import given
from hypothesis import strategies as st

from recsys.base.durations import as_days, days_of
from recsys.base.errors import ConfigError, InputError
from recsys.data import persistence
from recsys.data.ages import Aging, InteractionTimes
from recsys.data.interactions import InteractionColumns, Interactions, read_interactions
from recsys.data.splits import split, times_of
from tests.fixtures.planted import planted

# Four likes of 0, 10, 20 and 30 days after 1970-04-11, of weight 1, 2, 1 and 4.
LIKES = sp.csr_matrix(np.array([[1, 0, 2], [0, 1, 4]], np.float32))
TIMES = InteractionTimes.of_matrix(LIKES, np.array([100.0, 110.0, 120.0, 130.0]))


@pytest.mark.parametrize(
    ("aging", "expected"),
    [
        (Aging(), [1, 2, 1, 4]),
        (Aging(half_life="10d"), [1 / 8, 2 / 4, 1 / 2, 4]),
        (Aging(half_life="240h"), [1 / 8, 2 / 4, 1 / 2, 4]),
        (Aging(window="20d"), [0, 2, 1, 4]),
        (Aging(window="19d"), [0, 0, 1, 4]),
        (Aging("10d", "1w"), [0, 0, 0, 4]),
        # Nothing falls below a thousandth of what it was.
        (Aging(half_life="1d"), [0.001, 0.002, 0.001, 4]),
    ],
)
def test_what_likes_count_by_their_age(aging: Aging, expected: list[float]) -> None:
    found = aging.applied(LIKES, TIMES)
    np.testing.assert_allclose(found.toarray()[[0, 0, 1, 1], [0, 2, 1, 2]], expected, rtol=1e-6)
    assert found.nnz == np.count_nonzero(expected)
    assert found.dtype == np.float32
    assert (found is LIKES) == (aging == Aging())
    assert LIKES.data.tolist() == [1, 2, 1, 4]


def test_age_counts_from_the_latest_of_what_is_trained() -> None:
    earlier = LIKES.copy()
    earlier.data[3] = 0  # the latest like is held out, say
    earlier.eliminate_zeros()
    assert TIMES.ages(earlier).tolist() == [20, 10, 0]
    assert Aging("10d").applied(earlier, TIMES).data.tolist() == [1 / 4, 1, 1]
    assert TIMES.ages(sp.csr_matrix(LIKES.shape, dtype=np.float32)).tolist() == []


def test_the_times_of_some_users_and_items_go_by_their_new_places() -> None:
    users, items = np.array([1]), np.array([1, 2])
    part = TIMES.restricted(users, items)
    assert (part.pairs.tolist(), part.days.tolist(), part.n_items) == ([0, 1], [120.0, 130.0], 2)
    assert part.ages(LIKES[users][:, items]).tolist() == [10, 0]
    # The latest like is of another item.
    part = TIMES.restricted(np.array([0, 1]), np.array([0, 1]))
    assert part.ages(LIKES[:, :2]).tolist() == [20, 0]


def test_likes_without_a_time_are_refused() -> None:
    other = sp.csr_matrix(np.ones((2, 3), np.float32))
    nothing = InteractionTimes.of_matrix(LIKES[:0], np.empty(0))
    for times in (TIMES, nothing):
        with pytest.raises(InputError, match="nobody knows when they were"):
            Aging("10d").applied(other, times)
    with pytest.raises(InputError, match=r"data\.timestamp_column"):
        Aging("10d").applied(LIKES, None)
    assert Aging().applied(LIKES, None) is LIKES


@pytest.mark.parametrize("wrong", ["", "10", "0d", "soon", "10 parsecs", 10.0, None, True])
def test_what_is_no_duration_is_refused(wrong: Any) -> None:
    with pytest.raises(ConfigError, match="half_life"):
        Aging(half_life=wrong)
    with pytest.raises(ConfigError, match="window"):
        Aging(window=wrong)


@given(st.floats(1e-6, 1e8))
def test_days_are_written_to_six_digits_and_read_again(days: float) -> None:
    written = as_days(days)
    read = days_of(written)
    assert read == pytest.approx(days, rel=1e-5)
    assert as_days(read) == written


def timed(unit: float = 1.0) -> Interactions:
    """The planted likes, one after the other a day apart from 2001-09-09 on."""
    frame = planted()[0].sample(frac=1, random_state=1)
    frame["t"] = ((1e9 + 86_400 * np.arange(len(frame))) * unit).astype(np.int64)
    return read_interactions(frame, InteractionColumns(name=None, timestamp="t"))[0]


@pytest.mark.parametrize("unit", [1.0, 1e3, 1e9])
def test_a_split_keeps_the_times_of_what_is_trained(unit: float, tmp_path: Path) -> None:
    whole = timed(unit)
    parts = split(whole, by_time=True, seed=1)
    persistence.save_split(tmp_path, parts)
    parts = persistence.load_split(tmp_path)
    when = sp.csr_matrix(
        (whole.timestamp / (86_400 * unit), (whole.user, whole.item)), parts.train.shape
    )
    train, known = parts.train, parts.refit_train()
    searched, final, everything = parts.times(), parts.final_times(), times_of(whole)
    assert searched is not None
    assert final is not None
    assert everything is not None
    assert len(searched.days) == train.nnz
    assert len(final.days) == known.nnz
    for times, matrix in ((searched, train), (final, known), (everything, whole.matrix())):
        days = when[matrix.nonzero()].A1
        np.testing.assert_allclose(times.ages(matrix), days.max() - days, atol=1e-6)
    # The search knows of no held-out like when it was.
    with pytest.raises(InputError):
        searched.ages(known)


def test_without_a_time_or_its_unit_there_are_no_ages(tmp_path: Path) -> None:
    weeks = timed(1e-8)
    assert weeks.timestamp.max() < 100
    plain = read_interactions(planted()[0])[0]
    for interactions in (weeks, plain):
        parts = split(interactions, seed=1)
        persistence.save_split(tmp_path, parts)
        assert (parts.times(), parts.final_times(), times_of(interactions)) == (None, None, None)
        assert persistence.load_split(tmp_path).train_days is None
    assert not list(tmp_path.glob("*_days.npy"))


def test_one_holdout_is_measured_on_what_was_searched(tmp_path: Path) -> None:
    parts = split(timed(), one_holdout=True, seed=1)
    final = parts.final_times()
    assert final is not None
    assert final.ages(parts.final()[0]).min() == 0
    with pytest.raises(InputError):
        final.ages(parts.validation)
