"""Promotion: what becomes of a version, decided from plain values, moved on a real registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys.base.config import Batch, Config, Tracking
from recsys.evaluation.gate import Condition
from recsys.pipeline.outcomes import Judged, Reason
from recsys.pipeline.promotion import Announcement, Decision, Ending, announcement, decide, promote
from recsys.pipeline.tracked import Tracked
from recsys.serving import pyfunc
from recsys.tracking.runs import StudyDescription
from recsys.tracking.versions import Version
from tests.fixtures.bundles import write_bundle
from tests.fixtures.tracking_database import tracking_database

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


def test_of_other_data_nothing_is_missing() -> None:
    other = Reason(Condition.SAME, "the same data: 0% are known")
    assert decide(held(MISSING, other), Version("2"), Version("1")).ending is Ending.HELD


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


# What is announced.


def test_an_announcement_carries_what_a_batch_run_has_to_be_given() -> None:
    event = announcement("shop", "3", "held", ["worse"], "sqlite:///mlflow.db", Batch(n=7))
    assert event.name == "recsys.champion.held"
    assert event.resource == {
        "prefect.resource.id": "recsys.model.shop", "prefect.resource.name": "shop",
    }  # fmt: skip
    assert {name: event.payload[name] for name in ("model", "version", "reasons")} == {
        "model": "shop", "version": "3", "reasons": ["worse"],
    }  # fmt: skip
    config = Config.model_validate(event.payload["config"])
    assert (config.model, config.tracking.uri, config.batch.n) == ("shop", "sqlite:///mlflow.db", 7)


def test_an_address_with_a_password_is_not_announced() -> None:
    uri = "postgresql://liked:hunter2@host/mlflow"
    event = announcement("shop", "3", "promoted", [], uri, Batch())
    assert event.payload["config"]["tracking"] == {"model": "shop"}
    assert "hunter2" not in str(event)


# On a real registry.


@pytest.fixture
def tracked(tmp_path: Path) -> Tracked:
    """A registry with two versions of a model."""
    uri = tracking_database(tmp_path)
    found = Tracked(Tracking(uri=uri), "shop", "shop")
    run_id = found.tracker().open_study(StudyDescription("k", "shop", {}))
    for number in ("1", "2"):
        (tmp_path / number).mkdir()
        folder = write_bundle(tmp_path / number / "bundle")
        assert pyfunc.register(uri, run_id, "shop", folder, {}) == number
    return found


def test_a_version_is_moved_once_and_announced_once(tracked: Tracked, tmp_path: Path) -> None:
    events: list[Announcement] = []
    given = (tmp_path, "1", PASSED, Batch(), events.append)
    first = promote(tracked, *given)
    assert (first.decision.ending, first.reused) == (Ending.PROMOTED, False)
    assert first.counts() == {"version": "1", "champion": True, "held": ""}
    assert promote(tracked, *given).reused
    assert [event.event for event in events] == ["promoted"]
    tags = tracked.registry().version("1").tags
    assert tags["promoted_why"] == "passed the gate against popularity"


def test_a_move_whose_announcement_failed_is_announced_by_the_next_run(
    tracked: Tracked, tmp_path: Path
) -> None:
    def broken(_: Announcement) -> None:
        raise OSError("nobody answers")

    with pytest.raises(OSError, match="nobody answers"):
        promote(tracked, tmp_path, "1", PASSED, Batch(), broken)
    events: list[Announcement] = []
    assert promote(tracked, tmp_path, "1", PASSED, Batch(), events.append).reused
    assert [event.event for event in events] == ["promoted"]


def test_a_held_version_leaves_the_champion_where_it_is(tracked: Tracked, tmp_path: Path) -> None:
    events: list[Announcement] = []
    promote(tracked, tmp_path, "1", PASSED, Batch(), events.append)
    found = promote(tracked, tmp_path, "2", held(WORSE), Batch(), events.append)
    assert found.counts() == {"version": "2", "champion": False, "held": WORSE.text}
    assert events[-1].reasons == (WORSE.text,)
    assert tracked.registry().aliases() == {"champion": "1"}
