"""Configurations: flat names split and checked, those of earlier releases understood."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.sparse as sp

from recsys.base.errors import ConfigError
from recsys.models.configuration import (
    HybridParameters,
    LightFMParameters,
    parse_configuration,
    with_current_names,
)
from recsys.models.lightfm import Training


def test_names_are_split_between_lightfm_and_features() -> None:
    found = parse_configuration({"no_components": 8, "strategy": "mapped", "content_blending": 2.0})
    assert found == (
        LightFMParameters(no_components=8),
        HybridParameters("mapped", content_blending=2.0),
    )


def test_names_of_earlier_releases_are_understood() -> None:
    old = {"strategy": "mapped", "leaning": 1.0, "pooling": 0.25, "strength": 2.0}
    expected = HybridParameters(
        "mapped", content_blending=1.0, user_blending=0.25, cold_blending=2.0
    )
    assert parse_configuration(old) == (LightFMParameters(), expected)
    new = with_current_names(old)
    assert list(new) == ["strategy", "content_blending", "user_blending", "cold_blending"]
    assert with_current_names(new) == new


def test_unknown_names_and_values_are_refused_in_one_line() -> None:
    with pytest.raises(ConfigError, match="magic"):
        parse_configuration({"strategy": "magic"})
    with pytest.raises(ConfigError, match="colour"):
        parse_configuration({"colour": 1})


def test_a_power_of_zero_trains_as_without_weights_and_one_as_with_them() -> None:
    generator = np.random.default_rng(4)
    plain = sp.csr_matrix((generator.random((20, 15)) < 0.3).astype(np.float32))
    weighted = plain.copy()
    weighted.data = generator.uniform(0.5, 3, plain.nnz).astype(np.float32)
    squared = weighted.copy()
    squared.data **= 2

    def trained(matrix: sp.csr_matrix, power: float) -> bytes:
        training = Training(matrix, LightFMParameters(no_components=4, weight_power=power), seed=1)
        training.advance(2)
        return training.factors().item_factors.tobytes()

    assert trained(weighted, 0) == trained(plain, 1)
    assert trained(weighted, 2) == trained(squared, 1)
    assert trained(weighted, 1) not in (trained(plain, 1), trained(squared, 1))
