"""Hidden tags are suggested again; small cases are worked out by hand."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

from recsys.data.idmap import IdMap
from recsys.evaluation.tag_suggestion import _among_first, _co_occurrence, measure_suggestions
from recsys.models.content import tf_idf
from recsys.models.mapping import Mapping
from recsys.models.side import SideInformation, Vocabulary


def information(rows: np.ndarray, types: list[str]) -> SideInformation:
    matrix = sp.csr_matrix(rows.astype(np.float32))
    count = matrix.shape[1]
    names = [f"{kind}_{i:02d}" for i, kind in enumerate(types)]
    words = Vocabulary(
        IdMap(pa.array(names), "feature"),
        pa.array(types),
        pa.array([str(i) for i in range(count)]),
        np.diff(matrix.tocsc().indptr).astype(np.int32),
    )
    mapping = Mapping(np.zeros((count, 2), np.float32), np.zeros(count, np.float32), 0.0)
    profiles = tf_idf(matrix, np.ones(count, np.float32))
    return SideInformation(words, profiles, mapping, np.ones(len(rows), np.float32), 1.0)


def test_how_often_features_go_together_without_the_item_itself():
    rows = np.array([[1, 1, 0], [1, 1, 1], [1, 0, 1], [0, 1, 0]])
    together = sp.csr_matrix(rows.T @ rows)
    # Item 1 with feature 2 hidden: of the two other items with 0 one has 2; of those with 1 none.
    found = _co_occurrence(together, rows.sum(axis=0), np.array([0, 1]), np.array([0, 1, 2]))
    assert found[2] == pytest.approx(1 / 2)


def test_equal_scores_count_against_what_is_hidden():
    wrong = np.zeros(12, bool)
    scores = np.arange(12, 0, -1).astype(float)
    assert _among_first(scores, 9, np.array([], int), wrong)
    assert not _among_first(scores, 10, np.array([], int), wrong)
    # One of those before it is an item's own, another of the wrong type.
    wrong[1] = True
    assert _among_first(scores, 11, np.array([0]), wrong)
    assert not _among_first(np.ones(12), 3, np.array([], int), np.zeros(12, bool))


def test_tags_of_a_group_are_found_again_and_popularity_is_not_enough():
    # Twelve groups of four tags; items have all four, and a category in common.
    rng = np.random.default_rng(0)
    rows = np.zeros((120, 49))
    for item in range(120):
        group = item % 12
        rows[item, 4 * group : 4 * group + 4] = 1
    rows[:, 48] = 1
    types = ["tag"] * 48 + ["category"]
    vectors = np.eye(12)[np.arange(120) % 12] + 0.1 * rng.standard_normal((120, 12))
    found = measure_suggestions(information(rows, types), vectors.astype(np.float32), 1)
    assert found is not None
    assert found["items"] == 120
    assert found["type"] == "tag"
    assert found["neighbours"] == found["co_occurrence"] == 1.0
    assert found["popularity"] < 0.5


def test_there_must_be_something_to_hide_and_something_left():
    rows = np.eye(5)
    assert (
        measure_suggestions(information(rows, ["tag"] * 5), np.ones((5, 2), np.float32), 1) is None
    )
