"""Baselines: what is recommended of each is what a search tries first."""

from __future__ import annotations

import pytest

from recsys.tuning.baselines import SPACES, recommended, tune_baseline
from tests.fixtures.searches import problem


@pytest.mark.parametrize("name", SPACES)
def test_a_search_of_one_trial_finds_what_is_recommended(name: str) -> None:
    asked = problem()
    found, precision = tune_baseline(name, asked.train, asked.validation, trials=1, seed=1)
    assert found == recommended(name)
    assert asked.precision(found.fit(asked.train, seed=1)) == precision
