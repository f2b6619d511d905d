"""Promotion: what becomes of a version, decided from plain values, moved on a real registry."""

from __future__ import annotations

from pathlib import Path

import pytest
from mlflow import MlflowClient

from recsys.base.config import Batch, Config, Online, Tracking
from recsys.evaluation.gate import Condition
from recsys.online.arms import Comparison, Side
from recsys.online.online_log import GivenAnswer, PostedOutcome, configured_log
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
    found = decide(held(champion=None), Version("3"), Version("2"))
    assert found.reasons == ("judged without a champion, but version 2 is champion now",)
    found = decide(held(champion="1"), Version("3"), None)
    assert found.reasons == ("judged against version 1, but none is champion now",)


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


# Online.


def shown(folder: Path, champion: str, challenger: str, clicks: tuple[int, int]) -> Online:
    """A log in which so many of 100 users of each version clicked."""
    options = Online(
        mode="split", log=str(folder / f"online-{clicks[0]}.sqlite"), least_users=20, effect=0.5
    )
    log = configured_log(options, "shop")
    compared = Comparison("shop", "split", champion, challenger)
    sides: tuple[Side, Side] = ("champion", "challenger")
    for number, side in enumerate(sides):
        users = range(100)
        log.give(
            [
                GivenAnswer(
                    f"{side}{n}", f"{side}{n}", "", "recommend", [("a", side)], compared, side
                )
                for n in users
            ]
        )
        log.post([PostedOutcome(f"{side}{n}", "a", "clicked") for n in users[: clicks[number]]])
    return options


def test_a_version_becomes_champion_once_it_has_won_online(
    tracked: Tracked, tmp_path: Path
) -> None:
    events: list[Announcement] = []
    judged = Judged(True, (), "1", 0.5)
    nothing = Online(mode="split", log=str(tmp_path / "nothing.sqlite"))

    def night(version: str, online: Online, judged: Judged = judged) -> str:
        found = promote(tracked, tmp_path, version, judged, Batch(), events.append, online)
        return "; ".join(found.decision.reasons) or str(found.decision.ending)

    registry = tracked.registry()
    # The first champion has nobody to win against.
    assert night("1", nothing, PASSED) == "promoted"
    assert "has to win online against version 1 first" in night("2", nothing)
    assert night("2", nothing) == "has not won online yet: no answers yet"
    equal = shown(tmp_path, "1", "2", (50, 50))
    assert "version 2 against version 1: undecided, 200 users" in night("2", equal)
    # A version of the night after waits, and does not take the other's place.
    client = MlflowClient(tracked.tracking.uri)
    run_id = registry.version("1").run_id
    third = client.create_model_version("shop", registry.version("2").location, run_id)
    assert str(third.version) == "3"
    registry.challenge("3")
    assert night("3", nothing) == "version 2 is compared online first: no answers yet"
    assert registry.aliases()["challenger"] == "2"
    assert [(event.event, event.version) for event in events[1:]] == [("held", "2"), ("held", "3")]
    # It wins while another one is judged, and is promoted and announced in its own name.
    won = shown(tmp_path, "1", "2", (20, 90))
    said = night("3", won)
    assert "version 2 has won online and is champion now" in said
    assert registry.aliases() == {"champion": "2", "challenger": "3", "previous": "1"}
    assert (events[-1].event, events[-1].version) == ("promoted", "2")
    assert events[-1].payload["online"]["decision"] == "won"
    assert registry.version("2").tags["online"] == "won"
    # The next one goes on trial, loses, and stays held; nothing is left on trial.
    against = Judged(True, (), "2", 0.5)
    assert "against version 2 first" in night("3", nothing, against)
    lost = shown(tmp_path, "2", "3", (91, 20))
    assert night("3", lost, against).startswith("lost online: version 3 against version 2: lost")
    assert night("3", nothing, against).startswith("lost online")
    assert registry.aliases()["champion"] == "2"


def test_what_won_online_on_its_own_night_says_so(tracked: Tracked, tmp_path: Path) -> None:
    events: list[Announcement] = []
    judged = Judged(True, (), "1", 0.5)
    given = (Batch(), events.append)
    won = shown(tmp_path, "1", "2", (20, 90))
    promote(tracked, tmp_path, "1", PASSED, *given, won)
    promote(tracked, tmp_path, "2", judged, *given, won)
    found = promote(tracked, tmp_path, "2", judged, *given, won)
    assert found.decision == Decision(Ending.PROMOTED)
    assert [event.event for event in events] == ["promoted", "held", "promoted"]
    assert events[-1].payload["online"]["challenger"] == "2"
    assert "won, 200 users" in tracked.registry().version("2").tags["promoted_why"]
    # The same night again changes nothing.
    assert promote(tracked, tmp_path, "2", judged, *given, won).reused
    assert len(events) == 3
