"""Signals: refunds take back purchases, dislikes are no likes, a window bounds the time."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydantic import ValidationError

from recsys.base.config import Data
from recsys.base.errors import InputError
from recsys.data.interactions import (
    InteractionColumns,
    InteractionTable,
    read_interaction_table,
)
from recsys.data.refunds import cancelled
from recsys.data.signals import InteractionRules, Pairs

DAY = 86_400
START = 1_700_000_000


def read(frame: pd.DataFrame, columns: InteractionColumns, **rules: Any) -> InteractionTable:
    found = read_interaction_table(frame, columns, rules=InteractionRules(**rules))
    left_out = sum(found.rejected.values()) + sum(found.set_aside.values()) + found.repeated
    assert len(found.interactions) + left_out == found.rows == len(frame)
    return found


def likes(found: InteractionTable) -> dict[str, float]:
    made = found.interactions
    weight = np.ones(len(made)) if made.weight is None else made.weight
    pairs = zip(made.user, made.item, weight, strict=True)
    return {made.users.id(u) + made.items.id(i): round(float(w), 4) for u, i, w in pairs}


def named(found: InteractionTable, pairs: Pairs | None) -> set[str]:
    assert pairs is not None
    users, items = found.interactions.users, found.interactions.items
    return {users.id(u) + items.id(i) for u, i in zip(*pairs, strict=True)}


def events(*rows: tuple[str, str, str, int]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["user", "item", "event", "time"])


SHOP = InteractionColumns(timestamp="time")
WEIGHTS = {"view": 1.0, "buy": 10.0, "refund": "cancels buy", "hide": "dislike"}


def test_a_refund_cancels_the_purchase_before_it_and_leaves_the_view() -> None:
    frame = events(
        ("a", "x", "view", 1), ("a", "x", "buy", 2), ("a", "x", "refund", 3),
        ("b", "x", "buy", 1), ("b", "x", "refund", 2), ("b", "x", "buy", 3),
        ("c", "x", "refund", 1), ("c", "x", "buy", 2),
        ("d", "x", "buy", 1), ("d", "x", "refund", 1), ("d", "y", "buy", 1),
    )  # fmt: skip
    found = read(frame, SHOP, event_weights=WEIGHTS)
    assert likes(found) == {"ax": 1, "bx": 10, "cx": 10, "dy": 10}
    assert found.set_aside == {"event refund": 4, "refunded": 3}


def test_what_was_disliked_last_is_no_like_and_never_recommended() -> None:
    frame = events(
        ("a", "x", "buy", 1), ("a", "x", "hide", 2),
        ("b", "x", "hide", 1), ("b", "x", "buy", 2),
        ("c", "y", "hide", 1), ("c", "x", "view", 1),
    )  # fmt: skip
    found = read(frame, SHOP, event_weights=WEIGHTS)
    assert likes(found) == {"bx": 10, "cx": 1}
    assert named(found, found.outside.disliked) == {"ax", "cy"}
    assert found.set_aside == {"event hide (dislike)": 3, "disliked since": 1}


def test_low_ratings_are_dislikes_and_those_between_are_nothing() -> None:
    frame = pd.DataFrame({"user": list("abcd"), "item": list("xxyy"), "rating": [5, 1, 3, 4]})
    found = read(frame, InteractionColumns(), liked_from=4, disliked_to=2)
    assert likes(found) == {"ax": 1, "dy": 1}
    assert named(found, found.outside.disliked) == {"bx"}
    assert found.set_aside == {"rating of at most 2 (dislike)": 1, "rating below 4": 1}


def test_negative_quantities_take_back_what_was_bought() -> None:
    frame = pd.DataFrame(
        [("a", "x", 5, 1), ("a", "x", -2, 2), ("b", "x", 3, 1), ("b", "x", -3, 2),
         ("c", "x", -4, 1), ("c", "x", 4, 2), ("d", "x", 1, 1)],
        columns=["user", "item", "n", "time"],
    )  # fmt: skip
    columns = InteractionColumns(weight="n", timestamp="time")
    found = read(frame, columns, negative_weights="refund")
    assert likes(found) == {"ax": 3, "cx": 4, "dx": 1}
    plain = read(frame, columns)
    assert plain.rejected == {"weight not a positive number": 3}
    votes = read(frame, columns, negative_weights="dislike")
    assert likes(votes) == {"cx": 4, "dx": 1}
    assert named(votes, votes.outside.disliked) == {"ax", "bx"}


@settings(max_examples=60, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 2), st.integers(0, 6), st.booleans()), max_size=30))
def test_refunds_are_matched_as_with_a_stack(rows: list[tuple[int, int, bool]]) -> None:
    key, time = (np.array([row[at] for row in rows], np.int64) for at in (0, 1))
    refund = np.array([row[2] for row in rows], bool)
    found = cancelled(key, time, ~refund, refund)
    left: dict[int, list[int]] = defaultdict(list)
    gone = []
    for row in sorted(range(len(rows)), key=lambda row: (time[row], refund[row], row)):
        if not refund[row]:
            left[key[row]].append(row)
        elif left[key[row]]:
            gone.append(left[key[row]].pop())
    # Of purchases at one moment any may be the one.
    assert sorted((key[r], time[r]) for r in gone) == sorted(
        (key[r], time[r]) for r in np.flatnonzero(found)
    )


def days(*rows: tuple[str, str, int]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=["user", "item", "day"])
    return frame.assign(time=START + frame.day * DAY)


WINDOW = days(("a", "x", 0), ("a", "y", 50), ("b", "x", 90), ("a", "x", 100), ("c", "old", 3))


@pytest.mark.parametrize("units", [1, 1_000, 1_000_000, 1_000_000_000])
def test_a_window_counts_back_from_the_latest_and_keeps_who_is_outside(units: int) -> None:
    frame = WINDOW.assign(time=WINDOW.time * units)
    found = read(frame, InteractionColumns(timestamp="time"), since="60d")
    assert likes(found) == {"ay": 1, "bx": 1, "ax": 1}
    assert found.interactions.users.ids.to_pylist() == ["a", "b", "c"]
    assert found.interactions.items.ids.to_pylist() == ["old", "x", "y"]
    # What was liked again inside is a like.
    assert named(found, found.outside.earlier) == {"cold"}
    assert found.set_aside == {"before the window (data.since = 60d)": 2}


def test_a_window_of_dates_ends_before_the_second() -> None:
    frame = WINDOW.assign(time=pd.to_datetime(WINDOW.time, unit="s"))
    first, last = (str(pd.Timestamp(START + n * DAY, unit="s").date()) for n in (49, 100))
    # The time of the column is found by its name.
    found = read(frame, InteractionColumns(), since=first, until=last)
    assert likes(found) == {"ay": 1, "bx": 1}
    assert found.set_aside == {
        f"before the window (data.since = {first})": 2,
        f"after the window (data.until = {last})": 1,
    }
    with pytest.raises(InputError, match="nothing is inside of the window since 2031"):
        read(frame, InteractionColumns(), since="2031-01-01")


def test_weights_are_halved_with_each_half_life() -> None:
    found = read(WINDOW, InteractionColumns(), half_life="10d", since="60d")
    assert likes(found) == {"ax": 1, "bx": 0.5, "ay": 0.0312}


def test_a_window_needs_times_that_are_times() -> None:
    with pytest.raises(InputError, match=r"data\.timestamp_column"):
        read(WINDOW[["user", "item"]], InteractionColumns(), since="60d")
    with pytest.raises(InputError, match="how long a day is"):
        read(WINDOW, InteractionColumns(timestamp="day"), since="60d")


@pytest.mark.parametrize(
    "wrong",
    [
        {"since": "last year"}, {"half_life": "2026-01-01"}, {"until": "0d"}, {"disliked_to": 2},
        {"disliked_to": 4, "liked_from": 4}, {"event_weights": {"view": "like"}},
        {"event_weights": {"refund": "cancels buy"}}, {"event_weights": {"view": -1}},
    ],
)  # fmt: skip
def test_settings_that_mean_nothing_are_refused(wrong: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        Data.model_validate({"likes": "likes.csv", **wrong})


def test_a_date_of_toml_is_a_date() -> None:
    import datetime

    data = Data.model_validate({"likes": "likes.csv", "since": datetime.date(2026, 1, 31)})
    assert data.since == "2026-01-31"
