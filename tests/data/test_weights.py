"""Weights: play counts are damped, other weights are left as they are, and it is said."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.data.interactions import (
    InteractionColumns,
    InteractionTable,
    read_interaction_table,
)
from recsys.data.signals import InteractionRules
from recsys.data.weights import Damping, damped, halved_with_age

PLAYS = [1, 2, 3, 50, 400, 53_411]
STARS = [1, 2, 3, 4, 5, 5]


def read(weights: list[float], damping: Damping) -> InteractionTable:
    frame = pd.DataFrame(
        {"user": list("aabbcc"), "item": ["x", "y", "x", "y", "x", "z"], "n": weights}
    )
    return read_interaction_table(
        frame, InteractionColumns(weight="n"), rules=InteractionRules(damping=damping)
    )


@pytest.mark.parametrize("damping", ["auto", "log1p"])
def test_play_counts_are_damped_in_their_order(damping: Damping) -> None:
    found = read(list(PLAYS), damping).interactions.weight
    assert found is not None
    assert found.tolist() == sorted(found)
    assert found.min() >= 0.25
    assert found.max() <= 4


def test_what_is_damped_by_itself_is_said() -> None:
    (note,) = read(list(PLAYS), "auto").notes
    assert "1 to 53411" in note
    assert 'data.weights = "as_given"' in note
    assert read(list(PLAYS), "log1p").notes == ()


@pytest.mark.parametrize(
    ("values", "kind", "sums", "left_out"),
    [
        ([1.5, 2.5], pa.float64(), [2.5, 4.5], {"duplicate": 2}),
        (["1,5", "2,5"], pa.string(), [2.5, 4.5], {"duplicate": 2}),
        (["much", "2.5"], pa.string(), [1, 4.5],
         {"duplicate": 1, "weight not a positive number": 1}),
        ([True, False], pa.bool_(), [1, 2], {"weight not a positive number": 2}),
    ],
)  # fmt: skip
def test_a_weight_that_changes_its_type_between_files_is_read_or_counted(
    values: list[Any], kind: pa.DataType, sums: list[float], left_out: dict[str, int],
    tmp_path: Path,
) -> None:  # fmt: skip
    for name, weights in (("a", pa.array([1, 2])), ("b", pa.array(values, kind))):
        table = pa.table({"user": ["u", "v"], "item": ["x", "y"], "n": weights})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    found = read_interaction_table(tmp_path, InteractionColumns(weight="n"))
    assert found.interactions.weight is not None
    assert found.interactions.weight.tolist() == sums
    assert found.left_out() == left_out


@pytest.mark.parametrize(("weights", "damping"), [(STARS, "auto"), (PLAYS, "as_given")])
def test_other_weights_stay_as_they_are(weights: list[float], damping: Damping) -> None:
    found = read(weights, damping)
    assert found.interactions.weight is not None
    assert found.interactions.weight.tolist() == weights
    assert found.notes == ()


def test_none_counts_all_alike() -> None:
    assert read(list(PLAYS), "none").interactions.weight is None


def test_repeated_plays_are_added_up_before_they_are_damped() -> None:
    frame = pd.DataFrame({"user": ["a"] * 300 + ["b"], "item": ["x"] * 301, "n": [1.0] * 301})
    rules = InteractionRules(damping="auto")
    found = read_interaction_table(frame, InteractionColumns(weight="n"), rules=rules)
    assert "span 1 to 300" in found.notes[0]


def test_a_hundredfold_is_not_wide_yet() -> None:
    weight = np.array([1, 100], np.float32)
    assert damped(weight, "auto", "likes")[0] is weight


def test_weights_are_halved_with_age_and_never_zero() -> None:
    age = np.array([0.0, 30, 60, 3e9, -5])
    assert halved_with_age(None, age, 30).tolist() == pytest.approx([1, 0.5, 0.25, 1e-3, 1])
    weight = np.full(5, 2, np.float32)
    assert halved_with_age(weight, age, 30).tolist() == pytest.approx([2, 1, 0.5, 2e-3, 2])
