"""Published protocols: what is held out, what it is ranked among, and figures by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from recsys.evaluation.published import (
    LeaveOneOut,
    leave_one_out,
    sampled_metrics,
    strong_generalisation,
)
from recsys.ranking.scorer import ScoreTable
from tests.benchmarks.bench_published import movielens_likes


def likes(n_users: int = 40, n_items: int = 30) -> sp.csr_matrix:
    generator = np.random.default_rng(3)
    dense = generator.random((n_users, n_items)) < generator.random((n_users, 1)) * 0.5
    dense[0], dense[1], dense[1, 4] = False, False, True  # none, and a single one
    return sp.csr_matrix(dense.astype(np.float32))


def test_one_like_of_each_user_is_held_out_and_none_of_theirs_is_drawn() -> None:
    whole = likes()
    split = leave_one_out(whole, sampled=10, seed=1)
    counts = np.diff(whole.indptr)
    assert split.users.tolist() == np.flatnonzero(counts >= 2).tolist()
    assert split.train.nnz == whole.nnz - len(split.users)
    for user, held, drawn in zip(split.users, split.held, split.sampled, strict=True):
        own = whole[user].indices
        assert held in own
        assert sorted([*split.train[user].indices, held]) == sorted(own)
        assert len(set(drawn)) == 10
        assert not set(drawn) & set(own)
    assert split.train[1].indices.tolist() == [4]
    again = leave_one_out(whole, sampled=10, seed=1)
    np.testing.assert_array_equal(again.sampled, split.sampled)
    assert leave_one_out(whole, sampled=10, seed=2).held.tolist() != split.held.tolist()
    with pytest.raises(ValueError, match="wanted 30"):
        leave_one_out(whole, sampled=30)


def test_sampled_metrics_by_hand() -> None:
    scores = np.float32([[9, 1, 2, 3], [5, 5, 0, 1], [1, 2, 3, 4]])
    split = LeaveOneOut(
        sp.csr_matrix((3, 4)), np.arange(3), np.array([0, 0, 0]), np.array([[1, 2], [1, 2], [2, 3]])
    )
    # Ranked first; second, as an equal score counts against it; third, out of two.
    found = sampled_metrics(ScoreTable(scores), split, k=2)
    assert found["hit_rate_at_2"].tolist() == [1, 1, 0]
    assert found["ndcg_at_2"] == pytest.approx([1, 1 / np.log2(3), 0])


def test_users_are_held_out_as_a_whole() -> None:
    whole = likes()
    split = strong_generalisation(whole, heldout=8, seed=1)
    eligible = int((np.diff(whole.indptr) >= 5).sum())
    assert split.train.shape == (eligible - 8, len(split.items))
    assert split.shown.shape == split.hidden.shape == (8, len(split.items))
    assert (np.bincount(split.train.indices, minlength=len(split.items)) > 0).all()
    assert split.shown.multiply(split.hidden).nnz == 0
    for shown, hidden in zip(split.shown, split.hidden, strict=True):
        count = shown.nnz + hidden.nnz
        assert hidden.nnz == max(1, int(0.2 * count))
    rows = {tuple(row) for row in whole[:, split.items].toarray()}
    both = (split.shown + split.hidden).toarray()
    assert all(tuple(row) in rows for row in both)
    with pytest.raises(ValueError, match="wanted more than 40"):
        strong_generalisation(whole, heldout=40)


@pytest.mark.parametrize("header", ["userId,movieId,rating,timestamp\n", ""])
def test_ratings_of_movielens_are_likes_from_four_on(header: str, tmp_path: Path) -> None:
    path = tmp_path / "ratings.csv"
    path.write_text(header + "7,10,4.0,1\n7,30,3.5,2\n9,30,5.0,3\n9,10,4.5,4\n9,20,0.5,5\n")
    found = movielens_likes(path)
    np.testing.assert_array_equal(found.toarray(), [[1, 0], [1, 1]])
