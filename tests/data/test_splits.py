"""Holdouts: sizes, disjointness, seeds, time; nothing of them in train."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.base.errors import InputError
from recsys.data.interactions import InteractionColumns, Interactions, read_interactions
from recsys.data.splits import Split, not_ranked, split
from tests.fixtures.planted import planted

COLUMNS = InteractionColumns(name=None, timestamp="t")


def world(seed: int = 7) -> Interactions:
    return read_interactions(planted(seed=seed)[0])[0]


def held_users(parts: Split, part: str) -> set[int]:
    return set(np.flatnonzero(np.diff(getattr(parts, part).indptr)))


@settings(max_examples=25)
@given(st.integers(1, 5), st.floats(0.05, 0.6), st.integers(0, 10**6))
def test_parts_are_disjoint_and_sum_to_the_whole(n: int, share: float, seed: int) -> None:
    interactions = world()
    parts = split(interactions, n=n, share=share, seed=seed)
    whole = parts.train + parts.validation + parts.test
    assert (whole != interactions.matrix()).nnz == 0
    assert whole.max() == 1  # a pair in two parts would count twice
    validation, test = held_users(parts, "validation"), held_users(parts, "test")
    assert not validation & test
    counts = np.diff(interactions.matrix().indptr)
    eligible = int((counts >= 2 * n).sum())
    assert len(validation) == len(test) == min(int(share * len(counts)), eligible // 2)
    for part in (parts.validation, parts.test):
        lost = np.diff(part.indptr)
        assert set(lost[lost > 0]) == {n}
        assert counts[lost > 0].min() >= 2 * n
    assert (parts.refit_train() != parts.train + parts.validation).nnz == 0


def test_the_seed_decides_and_the_order_of_rows_does_not() -> None:
    frame = planted()[0]
    shuffled = frame.sample(frac=1, random_state=3)
    first, again = (split(read_interactions(f)[0], seed=5) for f in (frame, shuffled))
    assert (first.test != again.test).nnz == 0
    assert (first.validation != again.validation).nnz == 0
    assert (first.test != split(world(), seed=6).test).nnz > 0


def test_by_time_the_last_are_held_out() -> None:
    rows = [(f"u{u:02d}", f"i{(u + k) % 40:02d}", 1000 - k) for u in range(40) for k in range(6)]
    interactions = read_interactions(pd.DataFrame(rows, columns=["uid", "mid", "t"]), COLUMNS)[0]
    parts = split(interactions, n=2, share=0.4, by_time=True, seed=1)
    for part in (parts.validation, parts.test):
        for user in np.flatnonzero(np.diff(part.indptr)):
            # k = 0 and 1 carry the two largest timestamps.
            own = {interactions.items.id(i) for i in part[user].indices}
            assert own == {f"i{(user + k) % 40:02d}" for k in (0, 1)}


def test_one_holdout_leaves_the_test_empty() -> None:
    parts = split(world(), one_holdout=True, seed=1)
    assert parts.test.nnz == 0
    assert len(held_users(parts, "validation")) == int(0.2 * 240)


def test_cold_items_are_a_share_of_those_with_features() -> None:
    interactions = world()
    has = np.zeros(len(interactions.items), dtype=bool)
    has[::3] = True
    cold = split(interactions, with_features=has, cold_share=0.5, seed=2).cold_items
    assert len(cold) == int(0.5 * has.sum())
    assert has[cold].all()
    assert len(set(cold)) == len(cold)


def test_too_few_eligible_users_is_said() -> None:
    with pytest.raises(InputError, match="0 of 240 users have the 40 interactions"):
        split(world(), n=20)


def test_by_time_needs_a_timestamp() -> None:
    with pytest.raises(InputError, match=r"data\.timestamp_column"):
        split(world(), by_time=True)


def test_of_few_eligible_users_each_holdout_gets_half() -> None:
    # 25 of 100 users have four interactions; two holdouts of 20 % want 20 each and get 12.
    rows = [(f"u{u}", f"i{k}") for u in range(100) for k in range(4 if u < 25 else 3)]
    frame = pd.DataFrame(rows, columns=["uid", "mid"])
    interactions = read_interactions(frame, InteractionColumns(name=None))[0]
    parts = split(interactions, n=2, share=0.2, seed=4)
    assert len(held_users(parts, "validation")) == len(held_users(parts, "test")) == 12
    alone = split(interactions, n=2, share=0.2, one_holdout=True, seed=4)
    assert len(held_users(alone, "validation")) == 20


def test_weights_stay_with_their_pairs() -> None:
    frame = planted()[0]
    frame["w"] = np.arange(1, len(frame) + 1)
    interactions = read_interactions(frame, InteractionColumns(weight="w"))[0]
    parts = split(interactions, seed=3)
    whole = parts.train + parts.validation + parts.test
    assert (whole != interactions.matrix()).nnz == 0
    assert whole.sum() == sum(range(1, len(frame) + 1))


def test_by_time_ties_do_not_depend_on_the_order_of_rows() -> None:
    frame = planted()[0].assign(t=1)
    orders = (frame, frame.sample(frac=1, random_state=8))
    columns = InteractionColumns(timestamp="t")
    first, again = (split(read_interactions(f, columns)[0], by_time=True, seed=5) for f in orders)
    assert (first.test != again.test).nnz == 0


def test_users_and_their_interactions_are_drawn_evenly() -> None:
    held = np.zeros(240)
    pairs = np.zeros(len(world()))
    whole = world().matrix()
    for seed in range(60):
        part = split(world(), seed=seed).validation
        held += np.diff(part.indptr) > 0
        pairs += np.asarray(part[whole.nonzero()]).ravel()
    # 60 draws of one user in five: twelve each, standard deviation 3.1.
    assert held.mean() == 12
    assert held.min() > 0
    assert held.max() < 28
    # Half of a user's eleven or so interactions leave with it, whichever they are.
    assert (pairs > 0).mean() > 0.95


def test_lists_are_measured_without_what_is_hidden_but_for_what_is_to_be_found() -> None:
    known = sp.csr_matrix(np.array([[2, 0, 0, 0], [0, 1, 0, 0]], np.float32))
    heldout = sp.csr_matrix(np.array([[0, 0, 1, 0], [0, 0, 0, 1]], np.float32))
    hidden = sp.csr_matrix(np.array([[0, 1, 1, 0], [0, 0, 0, 0]], np.float32))
    found = not_ranked(known, heldout, hidden)
    assert found.toarray().tolist() == [[2, 1, 0, 0], [0, 1, 0, 0]]
    assert found.nnz == 3
    assert not_ranked(known, heldout, None) is known
