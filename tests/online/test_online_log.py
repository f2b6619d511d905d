"""The online log and what is made of it: durable, bounded, idempotent, and counted by hand."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pyarrow.parquet as pq
import pytest

from recsys.base.config import Online
from recsys.base.errors import NotFoundError, StorageError
from recsys.online.arms import Comparison
from recsys.online.comparing import Decision, OnlineVerdict, compare_online, find_comparison
from recsys.online.describing import describe
from recsys.online.exporting import export_log
from recsys.online.online_log import DAY, GivenAnswer, OnlineLog, PostedOutcome, open_log
from tests.fixtures.servers import postgres, postgres_folder

SPLIT = Comparison("fruit", "split", "4", "5")
OPTIONS = Online(mode="split", least_users=20)
POSTGRES = pytest.mark.skipif(postgres_folder() is None, reason="PostgreSQL is not installed")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=POSTGRES)])
def log(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[OnlineLog]:
    if request.param == "sqlite":
        yield open_log(tmp_path / "log" / "online.sqlite")
        return
    with postgres(("online",)) as server:
        yield open_log(f"postgresql://{server}/online")


def answer(
    number: int, user: str | None = "ann", arm: str = "champion", **more: Any
) -> GivenAnswer:
    side: Any = arm
    return GivenAnswer(
        f"r{number}", user, {"champion": "4"}.get(arm, "5"), "recommend",
        [("a", side), ("b", side)], more.pop("comparison", SPLIT), arm, **more,
    )  # fmt: skip


def outcome(number: int, item: str, what: Any = "clicked") -> PostedOutcome:
    return PostedOutcome(f"r{number}", item, what)


def test_outcomes_count_once_and_only_for_what_was_shown(log: OnlineLog) -> None:
    assert log.comparisons() == []
    log.give([answer(1), answer(2, "bob", "challenger"), answer(3, None, comparison=None)])
    posted = [outcome(1, "a", "seen"), outcome(1, "a"), outcome(2, "b", "liked")]
    assert log.post(posted) == (3, 0)
    assert log.post([*posted, outcome(1, "z"), outcome(9, "a"), outcome(3, "a")]) == (1, 2)
    tallies, says_seen = log.tallies(SPLIT)
    assert says_seen
    ann, bob = tallies
    assert (ann.user, ann.shown, ann.seen, ann.clicked, ann.liked) == (
        "ann", (2, 0), (1, 0), (1, 0), (0, 0),
    )  # fmt: skip
    assert (bob.user, bob.shown, bob.seen, bob.liked) == ("bob", (0, 2), (0, 1), (0, 1))
    [(found, _)] = log.comparisons("fruit")
    assert found == SPLIT
    assert log.comparisons("veg") == []
    # Of whom something is forgotten, nothing is left.
    assert log.forget("ann") == 1
    assert [tally.user for tally in log.tallies(SPLIT)[0]] == ["bob"]
    assert log.forget("ann") == 0


def test_old_answers_go_and_so_do_the_oldest_of_too_many(tmp_path: Path) -> None:
    now = 1e9
    log = replace(open_log(tmp_path / "log.sqlite", keep_days=10), clock=lambda: now)
    log.give([answer(1)])
    log.post([outcome(1, "a")])
    now += 11 * DAY
    log.give([answer(2)])
    assert [row[0] for row in log.database.read("SELECT id FROM answers")] == ["r2"]
    assert log.database.read("SELECT * FROM outcomes") == []
    small = replace(log, most_bytes=200_000)
    long = [(f"an item with a long name {number}", None) for number in range(100)]
    for number in range(3, 203):
        now += 1
        small.give([replace(answer(number), items=long)])
    assert small.prune() > 0
    left = [int(row[0][1:]) for row in log.database.read("SELECT id FROM answers ORDER BY time")]
    assert left
    assert left == list(range(left[0], 203))
    assert log.database.size() <= 200_000


def test_users_are_hashes_by_choice_and_forgotten_to_the_byte(tmp_path: Path) -> None:
    path = tmp_path / "log.sqlite"
    log = open_log(path, hashed=True)
    log.give([answer(1, "annabelle"), answer(2, "bob")])
    files = list(tmp_path.iterdir())
    assert not any(b"annabelle" in file.read_bytes() for file in files)
    assert log.forget("annabelle") == 1
    plain = open_log(path)
    plain.give([answer(3, "annabelle")])
    assert any(b"annabelle" in file.read_bytes() for file in tmp_path.iterdir())
    assert plain.forget("annabelle") == 1
    assert not any(b"annabelle" in file.read_bytes() for file in tmp_path.iterdir())
    assert len(plain.tallies(SPLIT)[0]) == 1


def test_what_is_acknowledged_is_on_disk(tmp_path: Path) -> None:
    """The journal of an outcome is synced, and that of the answers before it with it."""
    log = open_log(tmp_path / "log.sqlite")
    log.give([answer(1)])
    log.post([outcome(1, "a")])
    with sqlite3.connect(tmp_path / "log.sqlite") as other:
        assert other.execute("PRAGMA journal_mode").fetchone() == ("wal",)
        assert other.execute("SELECT count(*) FROM outcomes").fetchone() == (1,)
    with log.database.writing(durable=True) as transaction:
        assert transaction.read("PRAGMA synchronous") == [(2,)]
    with log.database.writing(durable=False) as transaction:
        assert transaction.read("PRAGMA synchronous") == [(1,)]


def test_a_file_that_is_no_log_is_said(tmp_path: Path) -> None:
    (tmp_path / "log.sqlite").write_text("no database at all, but long enough to be read as one")
    with pytest.raises(StorageError, match="cannot be used"):
        open_log(tmp_path / "log.sqlite").give([answer(1)])


def test_the_log_is_exported_as_parquet(log: OnlineLog, tmp_path: Path) -> None:
    log.give([answer(1), answer(2, "bob", "challenger")])
    log.post([outcome(2, "b", "liked")])
    log.shadow("r1", "5", 0.25, ["b"], "")
    assert export_log(log, tmp_path / "x") == {"answers": 2, "outcomes": 1, "shadows": 1}
    [first, second] = pq.read_table(tmp_path / "x" / "answers.parquet").to_pylist()
    assert (first["user"], second["version"]) == ("ann", "5")
    assert second["items"] == [
        {"item": "a", "side": "challenger"}, {"item": "b", "side": "challenger"},
    ]  # fmt: skip
    [liked] = pq.read_table(tmp_path / "x" / "outcomes.parquet").to_pylist()
    assert (liked["recommendation"], liked["item"], liked["rank"]) == ("r2", "b", 2)
    assert export_log(open_log(tmp_path / "none.sqlite"), tmp_path / "y")["answers"] == 0


def filled(tmp_path: Path, clicks: tuple[int, int], users: int = 600) -> OnlineLog:
    """Every user is shown two items; of ten users of an arm so many click on the first."""
    moment = iter(range(10_000_000))
    log = replace(open_log(tmp_path / "log.sqlite"), clock=lambda: 1e9 + 60 * next(moment))
    arms = ("champion", "challenger")
    given = [
        answer(n, f"u{n}", arms[n % 2], segment="old" if n % 4 < 2 else "new") for n in range(users)
    ]
    for start in range(0, users, 100):
        log.give(given[start : start + 100])
    log.post([outcome(n, "a") for n in range(users) if n // 2 % 10 < clicks[n % 2]])
    return log


def verdict_of(tmp_path: Path, *clicks: int, **options: Any) -> OnlineVerdict:
    log = filled(tmp_path, (clicks[0], clicks[1]))
    return compare_online(log, find_comparison(log, "fruit"), OPTIONS.model_copy(update=options))


def test_a_challenger_with_many_more_clicks_has_won(tmp_path: Path) -> None:
    found = verdict_of(tmp_path, 2, 8)
    assert found.won
    assert found.settled
    own, other = found.arms
    assert (own.users, own.answers, own.shown, own.clicked) == (300, 300, 600, 60)
    assert (other.users, other.clicked) == (300, 240)
    assert not found.says_seen
    assert other.clicked_rate.value == pytest.approx(0.4)
    assert found.change is not None
    assert found.change.relative == pytest.approx(3.0)
    assert found.ratio_p == 1.0
    assert {(one.kind, one.name, one.users) for one in found.segments} == {
        ("user", "new", 300), ("user", "old", 300),
    }  # fmt: skip
    text = describe(found)
    assert "version 5 against version 4: won, 600 users" in text
    assert "+300.0%" in text
    assert found.as_dict()["decision"] == "won"


def test_one_with_fewer_has_lost_and_equal_ones_are_undecided(tmp_path: Path) -> None:
    assert verdict_of(tmp_path / "a", 8, 2).decision is Decision.LOST
    equal = verdict_of(tmp_path / "b", 3, 3)
    assert equal.decision is Decision.UNDECIDED
    assert not equal.settled
    days = {one.change: one.days for one in equal.forecasts}
    assert days[0.1] < days[0.05] < days[0.01]
    assert verdict_of(tmp_path / "c", 2, 8, least_users=301).decision is Decision.TOO_FEW


def test_a_split_that_is_not_as_it_was_set_decides_nothing(tmp_path: Path) -> None:
    skewed = replace(SPLIT, share=0.3)
    log = open_log(tmp_path / "log.sqlite")
    arms = ("champion", "challenger")
    log.give([answer(n, f"u{n}", arms[n % 2], comparison=skewed) for n in range(600)])
    log.post([outcome(n, "a") for n in range(1, 600, 2)])
    found = compare_online(log, skewed, OPTIONS)
    assert found.decision is Decision.MISMATCH
    assert not found.won


def test_interleaved_lists_count_for_both(tmp_path: Path) -> None:
    both = replace(SPLIT, mode="interleave")
    log = open_log(tmp_path / "log.sqlite")
    log.give(
        [
            GivenAnswer(
                f"r{n}", f"u{n}", "4+5", "recommend",
                [("a", "champion"), ("b", "challenger"), ("c", None)], both, "both",
            )
            for n in range(300)
        ]
    )  # fmt: skip
    log.post([outcome(n, "b") for n in range(0, 300, 2)])
    log.post([outcome(n, "a") for n in range(0, 300, 10)])
    log.post([outcome(n, "c") for n in range(300)])
    found = compare_online(log, both, OPTIONS)
    assert found.decision is Decision.WON
    assert [(arm.users, arm.shown, arm.clicked) for arm in found.arms] == [
        (300, 300, 30), (300, 300, 150),
    ]  # fmt: skip
    assert found.ratio_p is None


def test_a_shadow_is_described_and_decides_nothing(tmp_path: Path) -> None:
    shadow = replace(SPLIT, mode="shadow")
    log = open_log(tmp_path / "log.sqlite")
    log.give([answer(n, f"u{n}", comparison=shadow) for n in range(3)])
    log.shadow("r0", "5", 0.2, ["a", "b"], "")
    log.shadow("r1", "5", 0.4, ["b", "c"], "")
    log.shadow("r2", "5", 0.1, [], "no user 'u2'")
    found = compare_online(log, shadow, OPTIONS)
    assert found.decision is Decision.SHADOW
    assert found.shadow is not None
    assert (found.shadow.answers, found.shadow.faults) == (3, 1)
    assert (found.shadow.overlap, found.shadow.same_first) == (0.75, 0.5)
    assert "3 answers with a shadow" in describe(found)


def test_without_a_comparison_it_is_said_what_to_do(tmp_path: Path) -> None:
    log = open_log(tmp_path / "log.sqlite")
    with pytest.raises(NotFoundError, match=r"no comparison of fruit.*online\.mode"):
        find_comparison(log, "fruit")
    log.give([answer(1)])
    assert find_comparison(log, "fruit", "4") == SPLIT
    with pytest.raises(NotFoundError, match="version 6 against version any"):
        find_comparison(log, "fruit", challenger="6")
