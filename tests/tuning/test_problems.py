"""The problem of a study: its objective, by hand."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from recsys.ranking.factors import Factors
from recsys.tuning.problems import Problem


@pytest.mark.parametrize(
    ("masked", "hidden", "precision"),
    [
        (True, None, 0.0),  # the first is item 1, which is not held out
        (True, [[0, 1, 0]], 1.0),  # and is not shown to that user
        (True, [[0, 1, 1]], 1.0),  # what is held out is to be found
        (False, [[0, 1, 0]], 0.0),  # the article leaves everything in the ranking
    ],
)
def test_lists_are_judged_as_people_get_them(
    masked: bool, hidden: list[list[int]] | None, precision: float
) -> None:
    def matrix(rows: list[list[int]]) -> sp.csr_matrix:
        return sp.csr_matrix(np.array(rows, np.float32))

    scores = np.array([[3.0], [2.0], [1.0]], np.float32)
    scorer = Factors(
        np.ones((1, 1), np.float32), scores, np.zeros(1, np.float32), np.zeros(3, np.float32)
    )
    problem = Problem(
        matrix([[1, 0, 0]]), matrix([[0, 0, 1]]), k=1, masked=masked,
        hidden=None if hidden is None else matrix(hidden),
    )  # fmt: skip
    assert problem.precision(scorer) == precision
