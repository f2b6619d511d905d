"""Times that are numbers: one unit in a column, and a spreadsheet's days where that is said."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys.base.errors import InputError
from recsys.data.columns import ValueFormat
from recsys.data.interactions import (
    InteractionColumns,
    Interactions,
    InteractionTable,
    read_interaction_table,
)
from recsys.data.signals import InteractionRules

SECONDS = np.arange(1_672_536_796, 1_672_536_796 + 300)


def read(times: object, rules: InteractionRules = InteractionRules()) -> InteractionTable:
    frame = pd.DataFrame({"user": [f"u{k % 30}" for k in range(300)], "item": range(300)})
    columns = InteractionColumns(name=None, timestamp="t")
    return read_interaction_table(frame.assign(t=times), columns, rules=rules)


def timestamps(interactions: Interactions) -> list[int]:
    assert interactions.timestamp is not None
    return sorted(interactions.timestamp.tolist())


@pytest.mark.parametrize("factor", [1, 10**3, 10**6, 10**9])
def test_one_unit_stays_as_it_is(factor: int) -> None:
    assert timestamps(read(SECONDS * factor).interactions) == (SECONDS * factor).tolist()


def test_seconds_from_before_1973_are_seconds() -> None:
    times = np.arange(300) * 10**7
    assert timestamps(read(times).interactions) == times.tolist()


@pytest.mark.parametrize("factor", [10**3, 10**9])
def test_two_units_in_a_column_are_a_stop(factor: int) -> None:
    """An export that changed from seconds to another unit in the middle."""
    times = np.where(np.arange(300) < 180, SECONDS, SECONDS * factor)
    for written in (times, times.astype(str)):
        with pytest.raises(InputError, match=r"180 numbers such as 16725\d+, seconds .* 120 such"):
            read(written)


def test_a_stray_number_of_another_unit_is_unreadable() -> None:
    times = np.where(np.arange(300) < 297, SECONDS, 253_402_300_799_000)  # the last of 9999
    found = read(times)
    assert timestamps(found.interactions) == SECONDS[:297].tolist()
    assert found.rejected == {"unreadable timestamp": 3}


def test_days_of_a_spreadsheet_are_read_where_it_is_said(tmp_path: Path) -> None:
    """As whole numbers the times of a day would all be equal."""
    written = SECONDS[0] + 60 * np.arange(300)  # of New Year's Day 2023
    days = written / 86_400 + 25_569
    with pytest.raises(InputError, match=r'data\.timestamp_format = "spreadsheet"'):
        read(days)
    said = InteractionRules(ValueFormat(dates="spreadsheet"))
    assert timestamps(read(days, said).interactions) == written.tolist()
    pd.DataFrame({"user": "u", "item": range(300), "t": days}).to_csv(tmp_path / "a.csv")
    columns = InteractionColumns(name=None, timestamp="t")
    found = read_interaction_table(str(tmp_path / "a.csv"), columns, rules=said)
    assert timestamps(found.interactions) == written.tolist()
    berlin = InteractionRules(ValueFormat(dates="spreadsheet", timezone="Europe/Berlin"))
    assert timestamps(read(days, berlin).interactions) == (written - 3600).tolist()


def test_fractions_of_an_unknown_unit_are_a_stop_and_whole_numbers_are_not() -> None:
    with pytest.raises(InputError, match=r"fractions, such as 0\.0033"):
        read(np.arange(300) / 300)
    assert timestamps(read(np.arange(300)).interactions) == list(range(300))
    assert timestamps(read(SECONDS + 0.25).interactions) == SECONDS.tolist()
