"""Dates, ratings, events and repeats: one meaning for a column, whatever the order of its rows."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.base.errors import InputError
from recsys.data.columns import ValueFormat
from recsys.data.dates import parse_dates
from recsys.data.dialects import TextFormat
from recsys.data.interactions import (
    InteractionColumns,
    InteractionTable,
    read_interaction_table,
)
from recsys.data.outcomes import HeldOut
from recsys.data.repeats import Repeats
from recsys.data.signals import InteractionRules
from recsys.data.splits import split

DAYS = pd.date_range("2021-01-25", periods=40, freq="D")
STYLES = {
    "%d/%m/%Y": None,
    "%m/%d/%Y": None,
    "%d.%m.%Y": None,
    "%d-%m-%Y %H:%M": None,
    "%m/%d/%y": None,
    "%Y-%m-%d": None,
    "%Y/%m/%d": None,
    "%d %b %Y": None,
    "%b %d, %Y %I:%M %p": None,
    "%Y-%m-%dT%H:%M:%SZ": None,
    "%d|%m|%Y": "%d|%m|%Y",
}


@pytest.mark.parametrize("style", STYLES)
def test_the_order_of_day_and_month_is_that_of_all_dates(style: str) -> None:
    written = [day.strftime(style) for day in DAYS]
    found = parse_dates(written, STYLES[style], "UTC", "the column")
    assert (
        found.tolist() == (DAYS.astype("int64") // 10 ** (9 if DAYS.unit == "ns" else 6)).tolist()
    )


@pytest.mark.parametrize("mark", ["/", "-"])
def test_days_up_to_twelve_say_nothing_and_a_setting_does(mark: str) -> None:
    written = [f"0{day}{mark}06{mark}2021" for day in range(1, 9)]
    with pytest.raises(InputError, match=r"cannot be told apart.*data\.timestamp_format"):
        parse_dates(written, None, "UTC", "the column")
    by_day = parse_dates(written, "dmy", "UTC", "the column")
    by_month = parse_dates(written, "mdy", "UTC", "the column")
    assert np.diff(by_day).tolist() == [86_400.0] * 7
    assert np.diff(by_month).min() > 20 * 86_400
    # Who writes points writes the day first.
    assert (parse_dates(["01.06.2021"], None, "UTC", "the column") == by_day[:1]).all()


MIXED = {
    "both orders": ["25/01/2021", "01/25/2021"],
    "both kinds": ["2021-01-25", "25/01/2021"],
}


@pytest.mark.parametrize("case", MIXED)
def test_two_formats_in_one_column_are_a_stop(case: str) -> None:
    with pytest.raises(InputError, match=r"data\.timestamp_format"):
        parse_dates(MIXED[case], None, "UTC", "the column")


def test_what_is_no_date_does_not_decide() -> None:
    found = parse_dates(["25/01/2021", "99/99/2021", "soon", "", None], None, "UTC", "the column")
    assert np.isfinite(found).tolist() == [True, False, False, False, False]


def test_dates_without_a_zone_are_of_the_one_that_is_set() -> None:
    written = ["2024-07-01 12:00", "2024-01-01 12:00", "2024-07-01T12:00Z"]
    summer, winter, zoned = parse_dates(written, None, "Europe/Berlin", "the column")
    assert (zoned - summer, parse_dates(written, None, "UTC", "")[1] - winter) == (7200, 3600)


def read(
    frame: pd.DataFrame, columns: InteractionColumns, rules: InteractionRules = InteractionRules()
) -> InteractionTable:
    found = read_interaction_table(frame, columns, TextFormat(), rules)
    assert found.rows == len(found.interactions) + sum(found.left_out().values())
    return found


def repeated(seed: int) -> pd.DataFrame:
    frame = pd.DataFrame(
        {
            "user": ["u"] * 3 + ["v"] * 2,
            "item": ["a", "a", "a", "a", "b"],
            "quantity": [0.1, 0.7, 0.2, 5, 6],
            "time": [30, 10, 20, 5, 6],
        }
    )
    return frame.sample(frac=1, random_state=seed)


REPEATS: dict[Repeats, list[float]] = {
    "sum": [1.0, 5, 6],
    "max": [0.7, 5, 6],
    "last": [0.1, 5, 6],
    "count": [3, 1, 1],
}


@pytest.mark.parametrize("repeats", REPEATS)
@pytest.mark.parametrize("seed", range(3))
def test_repeated_pairs_are_one_whatever_their_order(repeats: Repeats, seed: int) -> None:
    columns = InteractionColumns(weight="quantity", timestamp="time")
    found = read(repeated(seed), columns, InteractionRules(repeats=repeats))
    assert found.repeated == 2
    assert found.interactions.weight is not None
    assert found.interactions.timestamp is not None
    assert found.interactions.weight.tolist() == np.float32(REPEATS[repeats]).tolist()
    assert found.interactions.timestamp.tolist() == [30, 5, 6]


def test_counting_needs_no_weight_and_the_last_needs_a_time() -> None:
    counted = read(repeated(0), InteractionColumns(), InteractionRules(repeats="count"))
    assert counted.interactions.weight is not None
    assert counted.interactions.weight.tolist() == [3, 1, 1]
    with pytest.raises(InputError, match=r"data\.timestamp_column"):
        read(repeated(0), InteractionColumns(weight="quantity"), InteractionRules(repeats="last"))


@settings(max_examples=20, deadline=None)
@given(
    st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.floats(0.01, 100)), min_size=1),
    st.randoms(use_true_random=False),
)
def test_sums_do_not_depend_on_the_order_of_rows(rows, random) -> None:  # type: ignore[no-untyped-def]
    columns = InteractionColumns(weight="w")
    one = read(pd.DataFrame(rows, columns=["user", "item", "w"]), columns)
    random.shuffle(rows)
    other = read(pd.DataFrame(rows, columns=["user", "item", "w"]), columns)
    assert (one.interactions.weight == other.interactions.weight).all()


def rated(column: str = "stars") -> pd.DataFrame:
    rows = [(f"u{n % 10}", f"i{n % 7}", 1 + n % 5) for n in range(70)]
    return pd.DataFrame(rows, columns=["user", "item", column])


@pytest.mark.parametrize("column", ["stars", "Book-Rating", "userRating", "score"])
def test_a_column_of_ratings_is_asked_about(column: str) -> None:
    with pytest.raises(InputError, match=r"from 1 to 5.*data\.liked_from = 4 \(28 of 70 rows"):
        read(rated(column), InteractionColumns())
    liked = read(rated(column), InteractionColumns(), InteractionRules(liked_from=4))
    assert liked.set_aside == {"rating below 4": 42}
    assert liked.interactions.weight is None
    assert read(rated(column), InteractionColumns(rating="")).set_aside == {}
    # Who names it as a weight has said what it is.
    assert read(rated(column), InteractionColumns(weight=column)).set_aside == {}


def test_what_is_no_scale_is_no_rating() -> None:
    frame = rated("score").assign(score=range(70))
    assert read(frame, InteractionColumns()).set_aside == {}
    assert read(rated("score").assign(score=5), InteractionColumns()).set_aside == {}


def test_a_rating_that_cannot_be_read_is_left_out() -> None:
    frame = rated().astype({"stars": object})
    frame.loc[0, "stars"] = "?"
    found = read(frame, InteractionColumns(), InteractionRules(liked_from=4))
    assert found.rejected == {"no rating": 1}
    with pytest.raises(InputError, match=r"rating.*data\.rating_column"):
        read(
            frame.rename(columns={"stars": "x"}),
            InteractionColumns(),
            InteractionRules(liked_from=4),
        )


def test_kinds_of_event_have_weights() -> None:
    kinds = ["view", "cart", "purchase", "remove"]
    frame = pd.DataFrame({"user": "u", "item": ["a", "a", "b", "c"], "event": kinds})
    note = read(frame, InteractionColumns()).notes
    assert "'view' 1" in note[0]
    assert "data.event_weights" in note[0]
    weights = {"view": 1.0, "cart": 3.0, "purchase": 10.0, "remove": 0.0}
    found = read(frame, InteractionColumns(), InteractionRules(event_weights=weights))
    assert found.interactions.weight is not None
    assert found.interactions.weight.tolist() == [4, 10]
    assert found.set_aside == {"event remove": 1}
    del weights["remove"]
    with pytest.raises(InputError, match="of the kind 'remove'"):
        read(frame, InteractionColumns(), InteractionRules(event_weights=weights))


def test_ties_in_time_are_broken_by_the_seed() -> None:
    rows = [
        (f"u{user:02}", f"i{item:02}", "2021-05-05") for user in range(40) for item in range(12)
    ]
    frame = pd.DataFrame(rows, columns=["user", "item", "day"])
    table = read(frame, InteractionColumns(timestamp="day")).interactions
    first, again, other = (split(table, n=5, by_time=True, seed=seed) for seed in (1, 1, 2))
    assert (first.test != again.test).nnz == 0
    assert first.tied == 16
    # Not the items with the lowest ids, nor the same of everybody.
    assert len(set(first.test.indices)) == 12
    assert (first.test != other.test).nnz > 0
    later = table.timestamp
    assert later is not None
    apart = read(frame.assign(day=np.arange(len(frame))), InteractionColumns(timestamp="day"))
    assert split(apart.interactions, n=5, by_time=True, seed=1).tied == 0
    assert split(apart.interactions, n=5, seed=1).tied is None


def test_it_is_said_of_how_many_users_chance_decided() -> None:
    (note,) = HeldOut(400, 40, 8, 40, 8, 0, tied=16).told()
    assert note.startswith("of 16 of the 16 held-out users, chance decided")
    assert HeldOut(400, 40, 8, 40, 8, 0, tied=0).told() == ()
    assert HeldOut(400, 40, 8, 40, 8, 0).told() == ()


def test_a_format_that_is_set_counts_for_all_dates(tmp_path: Path) -> None:
    frame = pd.DataFrame({"user": ["u", "v"], "item": "a", "t": ["01/02/2021", "3/4/2021"]})
    rules = InteractionRules(ValueFormat(dates="%d/%m/%Y"))
    found = read(frame, InteractionColumns(timestamp="t"), rules).interactions
    assert found.timestamp is not None
    assert pd.to_datetime(found.timestamp, unit="s").month.tolist() == [2, 4]
