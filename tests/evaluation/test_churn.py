"""Churn: two small models whose lists are known, their users and items matched by name."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pyarrow as pa
import pytest

from recsys.bundle import Bundle, Seen
from recsys.data.idmap import IdMap
from recsys.evaluation.churn import markdown, measure_churn, summary
from recsys.ranking.factors import Factors
from recsys.ranking.neighbours import Neighbours


def model(scores: dict[str, dict[str, float]], likes: dict[str, str], trained: int) -> Bundle:
    """A bundle that scores exactly so: an item's vector holds its score for each user."""
    users, items = sorted(scores), list(next(iter(scores.values())))
    columns = np.array([[scores[user][item] for user in users] for item in items], np.float32)
    seen = [sorted(items.index(item) for item in likes.get(user, "")) for user in users]
    return Bundle(
        Factors(
            np.eye(len(users), dtype=np.float32),
            columns,
            np.zeros(len(users), np.float32),
            np.zeros(len(items), np.float32),
        ),
        IdMap(pa.array(users), "user"),
        IdMap(pa.array(items), "item"),
        pa.array([item.upper() for item in items]),
        Seen(np.cumsum([0, *map(len, seen)]), np.array([i for row in seen for i in row], np.int32)),
        {},
        trained=trained,
    )


BEFORE = model(
    {
        "ann": {"a": 4, "b": 3, "c": 2, "d": 1},
        "bob": {"a": 1, "b": 2, "c": 3, "d": 4},
        "old": {"a": 1, "b": 1, "c": 1, "d": 1},
    },
    {"ann": "d", "bob": "a"},
    trained=4,
)
# The items in another order, c gone, e new; f is known by its features alone.
AFTER = model(
    {
        "ann": {"e": 1, "d": 0, "b": 3, "a": 4, "f": 9},
        "bob": {"e": 4, "d": 3, "b": 1, "a": 2, "f": 9},
        "new": {"e": 1, "d": 1, "b": 1, "a": 1, "f": 9},
    },
    {"ann": "d", "bob": "ab", "new": "ae"},
    trained=4,
)


def test_lists_are_compared_by_names() -> None:
    found = measure_churn(BEFORE, AFTER, n=2)
    # ann saw a, b and sees a, b. bob saw d, c and sees e, d: one in common of three.
    assert found.users == 2
    assert found.overlap == pytest.approx((1 + 1 / 3) / 2)
    assert found.coverage == (4 / 4, 4 / 4)
    assert (found.new_users, found.gone_users) == (1, 1)
    assert (found.new_items, found.gone_items) == (1, 1)
    # Likes today: e 1, d 1, b 1, a 2. Percentiles: a 7/8, the others 3/8, and c 0.
    assert found.popularity == pytest.approx(((7 + 3 + 3 + 0) / 8 / 4, (7 + 3 + 3 + 3) / 8 / 4))


def test_the_most_changed_come_first_with_what_came_and_went() -> None:
    first, second = measure_churn(BEFORE, AFTER, n=2).most_changed
    assert (first.user, first.went, first.came) == ("bob", ("C",), ("E",))
    assert first.overlap == pytest.approx(1 / 3)
    assert (second.user, second.went, second.came) == ("ann", (), ())
    assert len(measure_churn(BEFORE, AFTER, n=2, most=1).most_changed) == 1


def test_the_same_model_changes_nothing() -> None:
    found = measure_churn(AFTER, AFTER, n=3)
    assert found.overlap == 1
    assert found.coverage[0] == found.coverage[1]
    assert found.popularity[0] == found.popularity[1]
    assert (found.new_users, found.gone_users, found.new_items, found.gone_items) == (0, 0, 0, 0)


def test_lists_are_those_with_neighbours() -> None:
    """A like of d brings c to ann, who would see a and b without."""
    neighbours = Neighbours(
        np.array([0, 0, 0, 0, 1]), np.array([2], np.int32), np.array([9], np.float32)
    )
    blended = replace(BEFORE, neighbours=neighbours)
    found = measure_churn(BEFORE, blended, n=2)
    first = found.most_changed[0]
    assert (first.user, first.went, first.came) == ("ann", ("B",), ("C",))
    assert found.overlap == pytest.approx((1 / 3 + 1 + 1) / 3)
    assert measure_churn(blended, blended, n=2).overlap == 1


def test_users_may_be_sampled_and_have_nobody_in_common() -> None:
    assert measure_churn(AFTER, AFTER, users=2).users == 2
    strangers = model({"eve": {"a": 1}}, {}, trained=1)
    found = measure_churn(BEFORE, strangers)
    assert (found.users, found.overlap) == (0, None)
    assert summary(found.as_dict()).startswith("No user in common; 1 users new, 3 users gone")


def test_a_report_is_json_and_text() -> None:
    report = measure_churn(BEFORE, AFTER, n=2).as_dict()
    again = json.loads(json.dumps(report))
    assert summary(again) == (
        "Top 2 of 2 users overlap by 0.67; coverage 1.000 to 1.000, popularity percentile "
        "0.406 to 0.500; 1 users new, 1 users gone, 1 items new, 1 items gone."
    )
    text = markdown(again, "7")
    assert "## Against version 7" in text
    assert "| bob | 0.33 | C | E |" in text
