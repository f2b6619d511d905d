"""Warnings of what goes on failing: the first at once, the others counted."""

from __future__ import annotations

import logging

import pytest

from recsys.serving.seldom import SeldomWarnings


def test_a_warning_is_said_once_a_minute_with_how_many_were_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    now = 100.0
    warnings = SeldomWarnings(logging.getLogger("seldom"), clock=lambda: now)
    for now in (100.0, 100.1, 159.9, 160.0, 220.5):  # noqa: B007  the clock reads it
        warnings.say("answers are not recorded", ValueError("full"))
    assert [record.getMessage() for record in caplog.records] == [
        "answers are not recorded: full",
        "answers are not recorded, 2 more since the last warning: full",
        "answers are not recorded: full",
    ]
