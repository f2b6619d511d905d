"""The k-core against the article's loop, written out naively, and on a case worked by hand."""

from __future__ import annotations

import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.base.errors import InputError
from recsys.data.interactions import InteractionColumns, Interactions, read_interactions
from recsys.data.kcore import Pass, density, kcore

PAIRS = st.lists(st.tuples(st.integers(0, 12), st.integers(0, 12)), min_size=1, max_size=120)


def read(pairs: list[tuple[object, object]]) -> Interactions:
    frame = pd.DataFrame(pairs, columns=["uid", "mid"])
    return read_interactions(frame, InteractionColumns(name=None))[0]


def naive(pairs: set[tuple[int, int]], user_min: int, item_min: int) -> set[tuple[str, str]]:
    frame = pd.DataFrame(sorted(pairs), columns=["uid", "mid"])
    while True:
        before = len(frame)
        frame = frame[frame.groupby("uid").mid.transform("size") >= user_min]
        frame = frame[frame.groupby("mid").uid.transform("size") >= item_min]
        if len(frame) == before:
            return {(str(u), str(i)) for u, i in frame.itertuples(index=False)}


def named(interactions: Interactions) -> set[tuple[str, str]]:
    users, items = interactions.users, interactions.items
    pairs = zip(interactions.user, interactions.item, strict=True)
    return {(users.id(u), items.id(i)) for u, i in pairs}


@settings(max_examples=150)
@given(PAIRS, st.integers(1, 4), st.integers(1, 4))
def test_it_is_what_the_naive_loop_leaves(
    pairs: list[tuple[int, int]], user_min: int, item_min: int
) -> None:
    expected = naive(set(pairs), user_min, item_min)
    if not expected:
        with pytest.raises(InputError, match=r"lower threshold\.user_min"):
            kcore(read(pairs), user_min, item_min)
        return
    core = kcore(read(pairs), user_min, item_min)
    assert named(core.interactions) == expected
    assert core.ledger[-1].interactions_removed == 0
    assert core.interactions.matrix().nnz == len(expected)


def test_the_ledger_accounts_for_every_pass() -> None:
    # Item c has one like; without it user 3 has one, and without user 3 nobody else falls.
    pairs: list[tuple[object, object]] = [
        (1, "a"), (1, "b"), (2, "a"), (2, "b"), (3, "a"), (3, "c"),
    ]  # fmt: skip
    core = kcore(read(pairs), 2, 2)
    assert core.ledger == (
        Pass(1, 1, 2, users=2, items=2, interactions=4),
        Pass(0, 0, 0, users=2, items=2, interactions=4),
    )
    assert core.users.tolist() == [0, 1]
    assert core.items.tolist() == [0, 1]


def test_density_is_the_articles() -> None:
    assert round(density(15_274, 25_655, 547_477), 3) == 0.140


def test_weights_and_timestamps_stay_with_their_pairs() -> None:
    rows = [(1, "a", 11), (1, "b", 12), (1, "c", 13), (2, "a", 21), (2, "b", 22)]
    frame = pd.DataFrame(rows, columns=["uid", "mid", "t"]).assign(w=lambda f: f.t / 2)
    columns = InteractionColumns(name=None, weight="w", timestamp="t")
    core = kcore(read_interactions(frame, columns)[0], 2, 2).interactions
    assert core.timestamp is not None
    assert core.timestamp.tolist() == [11, 12, 21, 22]
    assert core.matrix().toarray().tolist() == [[5.5, 6.0], [10.5, 11.0]]


def test_minimums_of_one_remove_nothing() -> None:
    interactions = read([(1, "a"), (2, "b")])
    core = kcore(interactions, 1, 1)
    assert core.ledger == (Pass(0, 0, 0, users=2, items=2, interactions=2),)
    assert named(core.interactions) == named(interactions)


def test_the_error_names_what_the_minimums_could_be() -> None:
    with pytest.raises(InputError, match=r"busiest user has 2, the most liked item 3\)"):
        kcore(read([(1, "a"), (1, "b"), (2, "a"), (3, "a")]), 3, 4)
