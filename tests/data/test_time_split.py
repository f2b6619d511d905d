"""Splits by time: what is known before a cut, what is found after it, and that nothing leaks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.base.errors import InputError
from recsys.data import persistence
from recsys.data.folds import final_fold, search_fold
from recsys.data.interactions import InteractionColumns, Interactions, read_interactions
from recsys.data.kcore import kcore
from recsys.data.splits import split
from recsys.data.time_split import (
    Cuts,
    LeakError,
    Newcomers,
    find_cuts,
    refuse_leaks,
    shown,
    split_by_time,
)
from recsys.models.itemknn import ItemKnn
from recsys.ranking.metrics import precision_at_k
from tests.fixtures.timed import DAY, START, timed

COLUMNS = InteractionColumns(timestamp="t")
TEST = START + 53 * DAY
CUTS = Cuts(START + 46 * DAY, TEST)


def read(frame: pd.DataFrame) -> Interactions:
    return read_interactions(frame, COLUMNS)[0]


def of(rows: list[tuple[str, str, int]]) -> Interactions:
    return read(pd.DataFrame(rows, columns=["uid", "mid", "t"]).assign(modelname="x"))


def pairs(interactions: Interactions, matrix: object) -> set[tuple[str, str]]:
    users, items = matrix.nonzero()  # type: ignore[attr-defined]
    return set(zip(interactions.users.take(users), interactions.items.take(items), strict=True))


def test_parts_worked_out_by_hand() -> None:
    users = [f"u{u:02d}" for u in range(12)]
    rows = [(user, item, 10) for user in users for item in "ab"]
    rows += [("y", "a", 11), ("y", "c", 11), ("z", "d", 25)]
    rows += [(user, "c", 20) for user in users[:10]]
    rows += [(user, "d", 30) for user in users] + [("u10", "c", 31), ("u00", "e", 34)]
    # Known by the first half of their likes, at most n of them; w has too few.
    rows += [(f"v{u}", item, 30 + t) for u in range(3) for t, item in enumerate("cab")]
    rows += [("w", "a", 33)]
    whole = of(rows)
    found = split_by_time(whole, Cuts(20, 30), n=5)
    parts, time = found.parts, found.parts.time
    assert time is not None
    train = {(user, item) for user in users for item in "ab"} | {("y", "a"), ("y", "c")}
    assert pairs(whole, parts.train) == train
    assert pairs(whole, parts.validation) == {(user, "c") for user in users[:10]}
    assert pairs(whole, time.before_test) == (
        train | {("z", "d")} | {(user, "c") for user in users[:10]}
    )
    assert pairs(whole, parts.test) == {("u10", "c")} | {(user, "d") for user in users}
    assert pairs(whole, time.of_new_users) == {(f"v{u}", "c") for u in range(3)}
    assert pairs(whole, time.from_new_users) == {(f"v{u}", i) for u in range(3) for i in "ab"}
    assert pairs(whole, time.new_items) == {("u00", "e")}
    assert found.newcomers == Newcomers(users=3, users_left_out=1, items=1, item_likes=1)


def test_too_few_users_to_measure_are_said() -> None:
    rows = [(f"u{u:02d}", item, 10) for u in range(12) for item in "ab"]
    rows += [(f"u{u:02d}", "c", when) for u in range(12) for when in (20 + u,)]
    rows += [("y", "c", 11)]
    with pytest.raises(InputError, match=r"in the test, 2 trained users have 1 or more"):
        split_by_time(of(rows), Cuts(20, 30))


def test_a_like_is_known_before_its_time_only() -> None:
    whole = read(timed()[0])
    found = split_by_time(whole, CUTS, user_min=3, item_min=3, n=3)
    parts = found.parts
    time = dict(
        zip(
            zip(whole.users.take(whole.user), whole.items.take(whole.item), strict=True),
            whole.timestamp if whole.timestamp is not None else (),
            strict=True,
        )
    )
    train, refit = pairs(whole, parts.train), pairs(whole, parts.refit_train())
    assert max(time[pair] for pair in train) < CUTS.validation
    assert max(time[pair] for pair in refit) < TEST
    assert train < refit
    for held, known, low, high in (
        (parts.validation, train, CUTS.validation, TEST),
        (parts.test, refit, TEST, 2**60),
    ):
        wanted = pairs(whole, held)
        users, items = ({pair[side] for pair in known} for side in (0, 1))
        assert wanted == {
            (user, item)
            for (user, item), when in time.items()
            if low <= when < high and user in users and item in items
        }
        assert not wanted & known


def test_what_is_known_is_the_core_of_what_there_was() -> None:
    frame = timed()[0]
    whole = read(frame)
    parts = split_by_time(whole, CUTS, user_min=7, item_min=10).parts
    for until, known in ((CUTS.validation, parts.train), (TEST, parts.refit_train())):
        then = kcore(read(frame[frame.t < until]), 7, 10).interactions
        expected = set(zip(then.users.take(then.user), then.items.take(then.item), strict=True))
        assert pairs(whole, known) == expected
        assert 0 < len(expected) < (frame.t < until).sum()


@settings(max_examples=20)
@given(st.integers(0, 10**6), st.integers(1, 4))
def test_what_comes_after_the_cut_changes_nothing_that_is_learned_from(
    seed: int, least: int
) -> None:
    frame = timed()[0]
    past, future = frame[frame.t < TEST], frame[frame.t >= TEST]
    generator = np.random.default_rng(seed)
    other = future.assign(
        mid=generator.choice([*frame.mid.unique(), "new1", "new2"], len(future)),
        uid=generator.permutation(future.uid.to_numpy()),
    )
    other = other[~pd.MultiIndex.from_frame(other[["uid", "mid"]]).isin(
        pd.MultiIndex.from_frame(past[["uid", "mid"]])
    )]  # fmt: skip
    found = []
    for later in (future, other):
        whole = read(pd.concat([past, later]))
        parts = split_by_time(whole, CUTS, user_min=least, item_min=least).parts
        fold = search_fold(parts)
        found.append(
            (
                pairs(whole, parts.train),
                pairs(whole, parts.validation),
                pairs(whole, parts.refit_train()),
                (fold.known.todense().tolist(), fold.heldout.todense().tolist()),
            )
        )
    assert found[0] == found[1]


def test_a_planted_leak_is_refused() -> None:
    whole = read(timed()[0])
    assert whole.timestamp is not None
    learned = whole.timestamp < TEST
    refuse_leaks(whole.timestamp, TEST, learned, "train")
    learned[np.argmax(whole.timestamp)] = True
    with pytest.raises(LeakError, match="1 interactions of train are from 2024-01-13"):
        refuse_leaks(whole.timestamp, TEST, learned, "train")


def test_what_is_liked_together_only_later_helps_a_random_split_and_not_one_by_time() -> None:
    """Items p and q belong together from day 50 on; before, p goes with a and q with b."""
    generator = np.random.default_rng(3)
    rows = []
    for user in range(200):
        name, fillers = f"u{user:03d}", generator.choice(20, 6, replace=False)
        rows += [(name, f"f{k:02d}", START + int(generator.integers(40 * DAY))) for k in fillers]
        first = "pa" if user % 2 else "qb"
        rows += [(name, item, START + 10 * DAY) for item in first]
        rows.append((name, "q" if user % 2 else "p", START + 50 * DAY + user))
    whole = of(rows)
    p = {whole.items.index(item) for item in "pq"}

    def share_found(known: object, heldout: object) -> float:
        wanted = heldout.tolil()  # type: ignore[attr-defined]
        for item in range(wanted.shape[1]):
            if item not in p:
                wanted[:, item] = 0
        wanted = wanted.tocsr()
        wanted.eliminate_zeros()
        scorer = ItemKnn().fit(known)  # type: ignore[arg-type]
        return float(precision_at_k(scorer, wanted, known=known, k=1).mean())  # type: ignore[arg-type]

    drawn = split(whole, n=2, share=0.2, one_holdout=True, seed=1)
    timed_ = split_by_time(whole, Cuts(START + 45 * DAY, None)).parts
    assert share_found(drawn.train, drawn.validation) > 0.6
    assert share_found(timed_.train, timed_.validation) < 0.2


def test_new_users_are_known_by_their_first_likes() -> None:
    whole = read(timed()[0])
    found = split_by_time(whole, CUTS, user_min=3, item_min=3, n=3)
    time = found.parts.time
    assert time is not None
    assert found.newcomers.users == 12  # two in each of six groups
    new = np.flatnonzero(np.diff(time.from_new_users.indptr))
    assert {user[-3:] for user in whole.users.take(new)} == {"u38", "u39"}
    assert set(np.diff(time.of_new_users.indptr)[new]) == {3}
    assert whole.timestamp is not None
    when = {
        (user, item): int(at)
        for user, item, at in zip(whole.user, whole.item, whole.timestamp, strict=True)
    }
    for user in new:
        known = [when[user, item] for item in time.of_new_users[user].indices]
        wanted = [when[user, item] for item in time.from_new_users[user].indices]
        assert max(known) <= min(wanted)


def test_new_items_are_counted_and_no_list_has_them() -> None:
    whole = read(timed()[0])
    found = split_by_time(whole, CUTS, user_min=3, item_min=3)
    assert found.newcomers.items == 6
    fold = final_fold(found.parts)
    assert fold.items is not None
    assert fold.users is not None
    assert not {item for item in whole.items.take(fold.items) if item.endswith("i14")}
    assert fold.known.shape == fold.heldout.shape == (len(fold.users), len(fold.items))
    time = found.parts.time
    assert time is not None
    assert found.newcomers.item_likes == time.new_items.nnz
    assert {i[-3:] for i in whole.items.take(np.unique(time.new_items.indices))} == {"i14"}


def test_users_with_too_few_likes_in_the_test_are_counted_and_left_out() -> None:
    whole = read(timed()[0])
    every, many = (
        split_by_time(whole, CUTS, user_min=3, item_min=3, fewest=fewest) for fewest in (1, 3)
    )
    counts = np.diff(many.parts.test.indptr)
    assert set(counts[counts > 0]) <= set(range(3, 20))
    assert many.parts.test.nnz < every.parts.test.nnz
    lost = (np.diff(every.parts.test.indptr) > 0).sum() - (counts > 0).sum()
    gone = every.newcomers.users - many.newcomers.users
    assert many.newcomers.users_left_out - every.newcomers.users_left_out == lost + gone
    assert (every.parts.refit_train() != many.parts.refit_train()).nnz == 0


def test_one_holdout_is_the_last_part() -> None:
    whole = read(timed()[0])
    found = split_by_time(whole, Cuts(TEST, None), user_min=3, item_min=3)
    both = split_by_time(whole, CUTS, user_min=3, item_min=3)
    known, heldout = found.parts.final()
    assert found.parts.test.nnz == 0
    assert (known != both.parts.refit_train()).nnz == 0
    assert (heldout != both.parts.test).nnz == 0


@pytest.mark.parametrize("cuts", [CUTS, Cuts(TEST, None)])
def test_ages_are_of_the_folds_own_likes_counted_from_its_latest(
    cuts: Cuts, tmp_path: Path
) -> None:
    frame = timed()[0]
    whole = read(frame)
    found = split_by_time(whole, cuts, user_min=3, item_min=3).parts
    persistence.save_split(tmp_path, found)
    parts = persistence.load_split(tmp_path)
    when = {(row.uid, row.mid): row.t for row in frame.itertuples()}
    folds = search_fold(parts), final_fold(parts)
    for fold, cut in zip(folds, (cuts.validation, cuts.test or cuts.validation), strict=True):
        assert fold.times is not None
        assert fold.users is not None
        assert fold.items is not None
        assert fold.known.shape < (len(whole.users), len(whole.items))
        rows, columns = fold.known.nonzero()
        users, items = whole.users.take(fold.users[rows]), whole.items.take(fold.items[columns])
        times = np.array([when[pair] for pair in zip(users, items, strict=True)])
        assert times.max() < cut
        expected = (times.max() - times) / DAY
        np.testing.assert_allclose(fold.times.ages(fold.known), expected, atol=1e-6)


def test_numbers_without_a_unit_have_no_ages(tmp_path: Path) -> None:
    frame = timed()[0]
    whole = read(frame.assign(t=(frame.t - START) // DAY))
    parts = split_by_time(whole, find_cuts(whole.timestamp, "10%", "10%", "UTC")).parts
    persistence.save_split(tmp_path, parts)
    parts = persistence.load_split(tmp_path)
    assert (search_fold(parts).times, final_fold(parts).times) == (None, None)


def test_a_holdout_may_end_before_the_end() -> None:
    whole = read(timed()[0])
    end = TEST + 3 * DAY
    assert whole.timestamp is not None
    short = split_by_time(whole, Cuts(CUTS.validation, TEST, end), user_min=3, item_min=3)
    whole_week = split_by_time(whole, CUTS, user_min=3, item_min=3)
    latest = {
        (user, item): int(at)
        for user, item, at in zip(whole.user, whole.item, whole.timestamp, strict=True)
    }
    inside = set(zip(*whole_week.parts.test.nonzero(), strict=True))
    assert set(zip(*short.parts.test.nonzero(), strict=True)) == {
        pair for pair in inside if latest[pair] < end
    }


@pytest.mark.parametrize(
    ("validation", "test", "expected"),
    [
        # The last seven days, and the seven before.
        ("7d", "7d", (START + 45 * DAY + 1, START + 52 * DAY + 1)),
        ("2w", "12h", (START + int(44.5 * DAY) + 1, START + int(58.5 * DAY) + 1)),
        ("0.25", "25%", (START + 30 * DAY, START + 45 * DAY)),
        ("2023-12-14", "2024-01-01", (1_702_512_000, 1_704_067_200)),
    ],
)
def test_cuts(validation: str, test: str, expected: tuple[int, int]) -> None:
    time = START + DAY * np.arange(60, dtype=np.int64)
    found = find_cuts(time, validation, test, "UTC")
    assert (found.validation, found.test) == expected


def test_likes_of_one_time_are_on_one_side() -> None:
    time = np.repeat(np.array([1, 2, 3], np.int64), 10)
    assert find_cuts(time, "5%", "5%", "UTC") == Cuts(2, 3)


def test_numbers_without_a_unit_are_cut_by_shares_alone() -> None:
    time = np.arange(100, dtype=np.int64)
    assert find_cuts(time, "0.1", "0.2", "UTC") == Cuts(70, 80)
    with pytest.raises(InputError, match=r"write split\.validation and split\.test as shares"):
        find_cuts(time, "0.1", "7d", "UTC")


def test_an_empty_part_is_said() -> None:
    time = START + DAY * np.arange(60, dtype=np.int64)
    with pytest.raises(InputError, match="nothing is in test: the interactions go from 2023-11-14"):
        find_cuts(time, "0.1", "2030-01-01", "UTC")
    with pytest.raises(InputError, match="nothing is before the test"):
        find_cuts(time, "0.1", "2000-01-01", "UTC")
    with pytest.raises(InputError, match="nothing is in train"):
        find_cuts(time, "2000-01-01", "7d", "UTC")


def test_moments_are_shown_as_dates_where_they_have_a_unit() -> None:
    assert shown(1_704_067_200) == "2024-01-01"
    assert shown(START) == "2023-11-14 22:13"
    assert shown(17) == "17"
