"""The recommender: its answers worked out by hand."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from recsys.errors import NotFoundError
from recsys.recommender import Recommender
from tests.recsys.test_bundle import bundle


@pytest.fixture
def recommender(tmp_path: Path) -> Recommender:
    return Recommender.load(bundle(tmp_path / "bundle"))


def test_scores_are_inner_products_and_biases_without_what_was_seen(
    recommender: Recommender,
) -> None:
    # ann: a 2.5 (seen), b 1 + 0.25 + 0.5, c 0.5, d 1.5
    rows = recommender.recommend("ann", 10)
    assert [(row.id, row.score) for row in rows] == [("b", 1.75), ("d", 1.5), ("c", 0.5)]
    everything = recommender.recommend("ann", 2, include_seen=True)
    assert [row.id for row in everything] == ["a", "b"]


def test_an_item_without_a_name_goes_by_its_id(recommender: Recommender, tmp_path: Path) -> None:
    assert [row.name for row in recommender.recommend("ann", 2)] == ["b", "Date"]
    nameless = Recommender.load(bundle(tmp_path / "nameless", names=False))
    assert nameless.recommend("ann", 1)[0].name == "b"


def test_similar_is_the_cosine_of_vectors_biases_left_out(recommender: Recommender) -> None:
    rows = recommender.similar("a", 10)
    assert [row.id for row in rows] == ["b", "c", "d"]
    assert rows[0].score == pytest.approx(1 / np.sqrt(1.01))
    assert rows[1].score == rows[2].score == 0


def test_liked_and_popular(recommender: Recommender) -> None:
    assert [row.id for row in recommender.liked("bob")] == ["c", "b"]
    assert [(row.id, row.score) for row in recommender.popular(2)] == [("a", 1), ("b", 1)]


def test_unknown_ids_are_answered_with_the_closest(recommender: Recommender) -> None:
    with pytest.raises(NotFoundError, match=r"no user 'anne'.*did you mean ann"):
        recommender.recommend("anne")
    with pytest.raises(NotFoundError, match="no item 'zzzz'"):
        recommender.similar("zzzz")
