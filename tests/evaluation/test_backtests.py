"""Figures over several folds: users stay together, and the choice is each fold's winner."""

from __future__ import annotations

import numpy as np
import pytest

from recsys.evaluation.backtests import CHOICE, FoldScores, clustered_interval, over_all_folds
from recsys.ranking.metrics import bootstrap_interval


def test_a_user_in_every_fold_makes_no_interval_narrower() -> None:
    values = np.random.default_rng(1).random(200)
    users = np.arange(200)
    once = clustered_interval(values, users, seed=3)
    six = clustered_interval(np.tile(values, 6), np.tile(users, 6), seed=3)
    assert (six.mean, six.low, six.high) == pytest.approx((once.mean, once.low, once.high))
    plain = bootstrap_interval(values, seed=3)
    assert (once.low, once.high) == pytest.approx((plain.low, plain.high), abs=0.01)
    as_if_independent = bootstrap_interval(np.tile(values, 6), seed=3)
    assert six.high - six.low > 2 * (as_if_independent.high - as_if_independent.low)  # type: ignore[operator]


def test_users_with_more_folds_weigh_more() -> None:
    found = clustered_interval(np.array([1.0, 1.0, 1.0, 0.0]), np.array([5, 5, 5, 9]), seed=1)
    assert found.mean == 0.75
    # Two users: both the one, both the other, or one of each.
    assert (found.low, found.high) == (0.0, 1.0)


def test_the_choice_is_the_winner_of_each_fold() -> None:
    users = np.array([1, 4])
    folds = [
        FoldScores(users, {"blend": np.array([0.4, 0.2]), "ease": np.array([0.2, 0.2])}, "blend"),
        FoldScores(
            users,
            {"blend": np.array([0.9, 0.9]), "lightfm": np.array([0.0, 0.4]),
             "ease": np.array([0.6, 0.4])},
            "lightfm",
        ),
    ]  # fmt: skip
    found = over_all_folds(folds, seed=1, samples=50)
    assert (found["users"], found["user_folds"]) == (2, 4)
    assert found["models"][CHOICE]["mean"] == pytest.approx((0.4 + 0.2 + 0.0 + 0.4) / 4)
    assert found["models"]["blend"]["mean"] == pytest.approx((0.4 + 0.2 + 0.9 + 0.9) / 4)
    assert found["ahead"]["ease"]["mean"] == pytest.approx((0.2 + 0.0 - 0.6 + 0.0) / 4)
    assert found["folds_behind"] == {"blend": 1, "ease": 1}
    assert "lightfm" not in found["models"]  # not in every fold
