"""Fresh likes of the log: in the next training, archived after it, in batches; users forgotten."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pandas as pd
import pyarrow.parquet as pq
import pytest

from recsys.base.config import Config, Data, Threshold
from recsys.base.errors import InputError, NotFoundError
from recsys.bundle import Bundle, save_bundle
from recsys.cli.commands import command_line, run
from recsys.data import persistence
from recsys.data.likes_log import Like, LikesLog, LogPosition
from recsys.pipeline import batch, preparation
from recsys.pipeline.fresh_likes import archive_log, read_log
from recsys.pipeline.outcomes import Source
from recsys.pipeline.promotion import Decision, Ending
from recsys.recommend.recommender import Recommender
from tests.fixtures.few_likes import few_likes_bundle, write_few_likes
from tests.fixtures.paths import ROOT


@pytest.fixture
def log(tmp_path: Path) -> LikesLog:
    return LikesLog(tmp_path / "log" / "likes.sqlite")


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Data:
    return write_few_likes(tmp_path_factory.mktemp("fresh"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory, data: Data) -> Bundle:
    return few_likes_bundle(tmp_path_factory.mktemp("stages"), data)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory, bundle: Bundle) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    save_bundle(folder, bundle)
    return folder


def liked_pairs(folder: Path) -> set[tuple[str, str]]:
    items = persistence.load_ids(folder / "items.parquet", "item")
    found = persistence.load_interactions(folder, items)
    return set(zip(found.users.take(found.user), items.take(found.item), strict=True))


def test_the_log_is_one_more_source_of_the_next_training(
    tmp_path: Path, data: Data, log: LikesLog
) -> None:
    plain = preparation.ingest(tmp_path, data, preparation.sources_of(data))
    before = liked_pairs(Path(plain.path))
    mine = sorted(item for user, item in before if user == "c0-03")
    gone, hidden, both = mine[:3]
    log.add([Like("eve", "g1-2"), Like("eve", "brand-new"), Like("NULL", "g1-2")])
    log.add([Like("c0-03", both), Like("c0-03", "g2-0")])
    log.remove("c0-03", gone)
    log.hide("c0-03", hidden)
    log.forget("someone")
    said = read_log(log.path)
    assert said is not None
    made = preparation.ingest(tmp_path, data, preparation.sources_of(data, said), said)
    assert made.key != plain.key
    removed = {("c0-03", gone), ("c0-03", hidden), ("someone", "untagged")}
    added = {("eve", "g1-2"), ("eve", "brand-new"), ("c0-03", "g2-0")}
    assert liked_pairs(Path(made.path)) == (before - removed) | added
    outcome = made.outcome
    assert outcome.interactions == len(before)
    assert outcome.rejected["likes"] == {
        "no longer liked, by the likes log": 2, "of a forgotten user": 1,
    }  # fmt: skip
    assert outcome.rejected["likes_log"] == {
        "no id": 1, "no longer liked": 1, "not interested": 1, "duplicate": 1,
    }  # fmt: skip
    assert outcome.rows["likes_log"] == 7
    assert outcome.log == said.reached
    core = preparation.threshold(tmp_path, made, Threshold())
    assert core.outcome.log == said.reached
    everyone = persistence.load_everyone(Path(core.path)).users
    assert "eve" in everyone
    # What is not of interest is known to the next model, for whoever asks it without the log.
    catalogue = persistence.load_ids(core.file("catalogue.parquet"), "item")
    kept = persistence.load_everyone(Path(core.path))
    assert kept.hidden_indptr is not None
    assert kept.hidden_indices is not None
    place = kept.users.index("c0-03")
    found = kept.hidden_indices[kept.hidden_indptr[place] : kept.hidden_indptr[place + 1]]
    assert catalogue.take(found) == [hidden]
    # Nor by the features of users.
    assert "someone" not in everyone
    assert "reader" in everyone
    # The same content is the same source, also after it was archived.
    log.compact(said.reached)
    again = read_log(log.path)
    assert again is not None
    assert preparation.sources_of(data, again) == preparation.sources_of(data, said)


def test_times_and_weights_of_the_log_go_with_those_of_the_files(
    tmp_path: Path, log: LikesLog
) -> None:
    rows = {"user": ["a", "a", "b"], "item": ["x", "y", "x"], "w": [2.0, 3.0, 4.0]}
    rows["at"] = [1_700_000_000_000, 1_600_000_000_000, 1_600_000_000_000]
    pd.DataFrame(rows).to_csv(tmp_path / "likes.csv", index=False)
    data = Data(likes=str(tmp_path / "likes.csv"), weight_column="w", timestamp_column="at")
    log.add([Like("a", "x", 1_800_000_000.0, 9.0), Like("b", "z", 1_750_000_000.0, 0.5)])
    said = read_log(log.path)
    made = preparation.ingest(tmp_path / "i", data, preparation.sources_of(data, said), said)
    items = persistence.load_ids(made.file("items.parquet"), "item")
    found = persistence.load_interactions(Path(made.path), items)
    assert found.weight is not None
    assert found.timestamp is not None
    pairs = zip(found.users.take(found.user), items.take(found.item), strict=True)
    kept = dict(zip(pairs, zip(found.weight, found.timestamp, strict=True), strict=True))
    assert kept == {
        ("a", "x"): (2.0, 1_800_000_000_000),
        ("a", "y"): (3.0, 1_600_000_000_000),
        ("b", "x"): (4.0, 1_600_000_000_000),
        ("b", "z"): (0.5, 1_750_000_000_000),
    }


def test_only_a_promotion_archives_what_was_read(log: LikesLog) -> None:
    assert read_log(log.path) is None
    log.add([Like("ann", "b"), Like("ann", "c", id="post")])
    said = read_log(log.path)
    assert said is not None
    log.add([Like("ann", "d"), Like("bob", "b")])
    assert archive_log(log.path, said.reached, Decision(Ending.HELD)) == 0
    assert archive_log(log.path, None, Decision(Ending.PROMOTED)) == 0
    elsewhere = LogPosition("another log", 99)
    assert archive_log(log.path, elsewhere, Decision(Ending.PROMOTED)) == 0
    assert archive_log(log.path, said.reached, Decision(Ending.PROMOTED)) == 2
    # The new champion knows what was archived; one that is rolled back to does not.
    assert log.of("ann", said.reached).liked == ("d",)
    assert log.of("ann").liked == ("b", "c", "d")
    assert [entry.user for entry in log.of_item("b", said.reached)] == ["bob"]
    assert [entry.item for entry in log.entries("ann")] == ["b", "c", "d"]
    # A later entry takes the place of an archived one, and a post that was seen is one still.
    log.remove("ann", "b")
    assert log.of("ann", said.reached).removed == ("b",)
    assert log.add([Like("ann", "c", id="post")]) == 0
    log.hide("ann", "e")
    reached = LogPosition(said.log, 10_000)
    assert archive_log(log.path, reached, Decision(Ending.PROMOTED)) == 4
    # "Not interested" is in no model.
    assert log.of("ann", reached).hidden == ("e",)
    assert dict(log.by_user(reached)) == {"ann": log.of("ann", reached)}


KILLED = """
import os, signal, sys
from recsys.data.likes_log import LikesLog, LogPosition
log = LikesLog(sys.argv[1])
said = log.snapshot()
def kill(statement):
    if statement.startswith("DELETE FROM entries"):
        os.kill(os.getpid(), signal.SIGKILL)
log._connection.set_trace_callback(kill)
log.compact(said.reached)
"""


def test_a_compaction_that_is_killed_in_the_middle_loses_nothing(log: LikesLog) -> None:
    log.add([Like(f"u{number}", "a") for number in range(50)])
    before = log.entries()
    done = subprocess.run([sys.executable, "-c", KILLED, str(log.path)], cwd=ROOT, check=False)
    assert done.returncode == -signal.SIGKILL
    again = LikesLog(log.path)
    assert again.entries() == before
    said = again.snapshot()
    assert said is not None
    assert again.compact(said.reached) == 50
    assert again.entries() == before


def test_lists_and_audiences_follow_the_log(
    tmp_path: Path, folder: Path, bundle: Bundle, log: LikesLog
) -> None:
    new = ["g2-1", "g2-2", "g2-3", "g2-4"]
    log.add([Like("c0-03", item) for item in new] + [Like("eve", item) for item in new])
    log.hide("n1-04", "g1-1")
    log.forget("c1-01")
    said = read_log(log.path)
    assert said is not None
    made = batch.recommend(
        tmp_path, Source("few", "1", "b"), 5, folder, fresh=said.digest, said=said
    )
    lists = pq.read_table(made.file("users")).to_pandas()
    asked = Recommender(bundle, fresh=log)
    for user in ("c0-03", "eve", "n1-04", "c0-04", "reader", "odd"):
        rows = lists[lists["user"] == user]
        expected = asked.recommend(user, 5)
        assert rows["item"].tolist() == [row.id for row in expected]
        assert rows["score"].tolist() == pytest.approx([row.score for row in expected], abs=1e-4)
    assert "c1-01" not in set(lists["user"])
    outcome = made.outcome
    assert outcome.users == len(bundle.users)  # one more, one less
    assert outcome.users == sum(
        getattr(outcome, f"users_{basis}")
        for basis in ("trained", "by_likes", "by_features", "by_popularity")
    )
    audience = asked.audience("g2-0", 200)
    scores = {row.id: row.score for row in audience}
    assert "eve" in scores
    assert "c1-01" not in scores
    for user in ("eve", "c0-03", "c0-04", "n1-04"):
        assert scores[user] == pytest.approx(asked.rank(user, ["g2-0"])[0].score, abs=1e-4)
    assert next(row.reason for row in audience if row.id == "eve").startswith("likes g2-")
    assert "eve" not in {row.id for row in asked.audience("g2-1", 200)}
    assert asked.recommend_many(["eve", "c0-03"], 5)[0].rows == asked.recommend("eve", 5).rows


def test_who_is_forgotten_leaves_nothing_and_is_known_to_nobody(
    bundle: Bundle,
    log: LikesLog,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    user = "c0-03"
    log.add([Like(user, "g2-1", id=f"{user}/g2-1"), Like("other", "g2-1")])
    said = log.snapshot()
    assert said is not None
    log.compact(said.reached)
    log.add([Like(user, "g2-2")])
    monkeypatch.setattr(sys, "argv", ["recsys", "forget", user, "--likes", str(log.path)])
    with pytest.raises(SystemExit) as ended:
        run(command_line())
    assert not ended.value.code
    assert f"{user}: 2 entries deleted" in capsys.readouterr().out
    for file in log.path.parent.iterdir():
        assert user.encode() not in file.read_bytes()
    assert [entry.user for entry in log.entries()] == ["other"]
    with pytest.raises(InputError, match="who was forgotten"):
        log.add([Like("new", "g2-1"), Like(user, "g2-1")])
    with pytest.raises(InputError, match="who was forgotten"):
        log.hide(user, "g2-1")
    assert [entry.user for entry in log.entries()] == ["other"]
    asked = Recommender(bundle, fresh=log)
    for question in (
        lambda: asked.recommend(user), lambda: asked.recommend_many([user]),
        lambda: asked.rank(user, ["g2-1"]), lambda: asked.explain(user, "g2-1"),
        lambda: asked.require_user(user), lambda: asked.liked(user),
    ):  # fmt: skip
        with pytest.raises(NotFoundError, match=f"no user '{user}'"):
            question()


def test_the_log_lies_where_the_server_of_the_model_writes_it(tmp_path: Path) -> None:
    assert Config().likes_log == Path("data/likes/sample.sqlite")
    named = Config.model_validate({"storage": {"likes_log": str(tmp_path / "log")}})
    assert named.likes_log == tmp_path / "log"
    assert Config.model_validate({"storage": {"likes_log": ""}}).likes_log is None
