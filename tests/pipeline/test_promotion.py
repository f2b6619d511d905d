"""Promotion: what becomes of a version, decided from plain values."""

from __future__ import annotations

from recsys.evaluation.gate import Condition
from recsys.pipeline.outcomes import Judged, Reason
from recsys.pipeline.promotion import Decision, Ending, decide
from recsys.tracking.versions import Version

PASSED = Judged(True, (), None, None)
WORSE = Reason(Condition.CHAMPION, "no worse than the champion: ahead by -0.1, wanted more")
MISSING = Reason(Condition.DATA, "data all there: users -50.0%, wanted at most 20% fewer")


def held(*reasons: Reason, champion: str | None = "1") -> Judged:
    return Judged(False, reasons, champion, 0.5)


def test_the_first_that_passes_is_promoted() -> None:
    assert decide(PASSED, Version("1"), None) == Decision(Ending.PROMOTED)


def test_a_challenger_that_failed_is_held_and_says_why() -> None:
    assert decide(held(WORSE), Version("2"), Version("1")) == Decision(Ending.HELD, (WORSE.text,))


def test_missing_data_have_an_ending_of_their_own_whatever_else_failed() -> None:
    found = decide(held(WORSE, MISSING), Version("2"), Version("1"))
    assert found == Decision(Ending.SHRUNKEN, (WORSE.text, MISSING.text))


def test_an_ending_follows_the_condition_and_not_its_words() -> None:
    alike = Reason(Condition.VARIETY, MISSING.text)
    assert decide(held(alike), Version("2"), Version("1")).ending is Ending.HELD


def test_a_champion_that_changed_meanwhile_is_a_reason() -> None:
    found = decide(held(champion="1"), Version("3"), Version("2"))
    assert found.ending is Ending.HELD
    assert found.reasons == ("judged against version 1, but version 2 is champion now",)


def test_what_was_rolled_back_is_held() -> None:
    fallen = Version("2", tags={"rolled_back": "now", "rolled_back_why": "angry users"})
    found = decide(held(champion="1"), fallen, Version("1"))
    assert found == Decision(Ending.HELD, ("rolled back by hand: angry users",))


def test_the_reigning_champion_stays_whatever_it_was_judged_against() -> None:
    assert decide(held(WORSE), Version("1"), Version("1")) == Decision(Ending.PROMOTED)
