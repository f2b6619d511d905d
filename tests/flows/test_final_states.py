"""The state of a run says what a person should know of its data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from flows.final_states import named_states
from recsys.pipeline.promotion import Decision, Ending


@dataclass
class Result:
    """A result of a run."""

    decision: Decision
    notes: list[str]


def ended(result: Result) -> Any:
    return named_states(lambda: result)()


def test_notes_of_the_data_are_in_the_message_of_the_state() -> None:
    note = "30 of the 60 rows of likes.csv were left out"
    promoted = ended(Result(Decision(Ending.PROMOTED, ()), [note]))
    assert (promoted.type.value, promoted.name) == ("COMPLETED", "Completed")
    assert promoted.message == note
    held = ended(Result(Decision(Ending.HELD, ("too few lists",)), [note]))
    assert (held.name, held.message) == ("Held", f"too few lists; {note}")
    silent = Result(Decision(Ending.PROMOTED, ()), [])
    assert ended(silent) is silent
