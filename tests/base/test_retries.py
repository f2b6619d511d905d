"""Outages: how long and how often a server that is away is asked."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.base.retries import LONGEST_PAUSE, pauses, retry


@given(st.floats(0, 5000))
def test_pauses_grow_and_add_up_to_the_patience(patience: float) -> None:
    found = list(pauses(patience))
    assert sum(found) == pytest.approx(patience)
    assert found[:-1] == sorted(found[:-1])
    assert max(found, default=0) <= LONGEST_PAUSE


def test_endless_patience_asks_on() -> None:
    found = list(itertools.islice(pauses(float("inf")), 9))
    assert found == [0.25, 0.5, 1, 2, 4, 8, 10, 10, 10]


def test_an_outage_that_passes_is_not_seen_and_another_fault_is_at_once() -> None:
    left = [ConnectionError("away"), ConnectionError("away")]
    asked = []

    def call() -> str:
        asked.append(1)
        if left:
            raise left.pop()
        return "here"

    assert retry(call, lambda fault: isinstance(fault, ConnectionError), 9, "it") == "here"
    assert len(asked) == 3
    left.append(ConnectionError("away"))
    with pytest.raises(ConnectionError):
        retry(call, lambda fault: False, 9, "it")
    left += [ConnectionError("away")] * 9
    with pytest.raises(ConnectionError):
        retry(call, lambda fault: True, 0, "it")
    assert len(asked) == 5
