"""A run's progress: the line of a search says what is best known of its winner."""

from __future__ import annotations

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from recsys.base.events import StageDone
from recsys.cli.progress import Progress

FOUND = {"loss": "warp", "no_components": 64, "user_alpha": 1e-4, "bias_gain": 16.0}


@pytest.mark.parametrize(
    ("neighbours", "said"),
    [
        ({}, ""),
        ({"neighbours": "none", "neighbours_weight": 1.0}, ""),
        ({"neighbours": "ease", "neighbours_weight": 2.0}, ", with ease, weight 2"),
        ({"half_life": "90d", "window": "none"}, ", half_life 90d"),
        (
            {
                "window": "2y",
                "neighbours": "ease",
                "neighbours_weight": 2.0,
                "neighbours_half_life": "1y",
            },
            ", window 2y, with ease, weight 2, half_life 1y",
        ),
    ],
)
def test_the_line_of_a_search(neighbours: dict[str, Any], said: str) -> None:
    text = StringIO()
    counts = {"trials": 3, "configuration": FOUND | neighbours}
    Progress(Console(file=text, width=200))(StageDone("tune", False, 1.2, counts))
    line = f"trials 3, loss warp, no_components 64{said} (1.2 s)"
    assert text.getvalue() == f"✓ tune      {line}\n"
