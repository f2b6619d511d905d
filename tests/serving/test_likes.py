"""Fresh likes: on disk before they are acknowledged, in the next answer, shared, undone."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from recsys.base.errors import NotFoundError, StorageError
from recsys.bundle import load_bundle
from recsys.data.likes_log import FreshLikes, Like, LikesLog
from recsys.recommend.queries.filters import Filters
from recsys.recommend.recommender import Recommender
from recsys.serving.champion import Champion
from recsys.serving.http import make_app
from tests.fixtures.bundles import write_bundle
from tests.fixtures.paths import PYTHONPATH, ROOT


class Fixed(Champion):
    """A champion that no registry has to tell of."""

    def __init__(self, bundle: Path, log: LikesLog | None) -> None:
        super().__init__("fruit", "sqlite:///nowhere", fresh=log)
        self._answers = Recommender(load_bundle(bundle), fresh=log)

    def current_version(self) -> tuple[str, Recommender]:
        return "1", self._answers


@pytest.fixture
def log(tmp_path: Path) -> LikesLog:
    return LikesLog(tmp_path / "log" / "likes.sqlite")


@pytest.fixture
def client(tmp_path: Path, log: LikesLog) -> TestClient:
    return TestClient(make_app(Fixed(write_bundle(tmp_path / "bundle", features=True), log), "m"))


def items(client: TestClient, user: str, **more: Any) -> list[str]:
    question = {"query": "recommend", "id": user, **more}
    answered = client.post("/questions", json={"questions": [question]})
    assert answered.status_code == 200, answered.text
    return [row["id"] for row in answered.json()["answers"][0]["rows"]]


def test_the_log_keeps_the_last_word_about_an_item(log: LikesLog) -> None:
    assert log.entries() == []
    assert log.of("ann") == FreshLikes()
    assert not log.of("ann")
    assert log.add([Like("ann", "b", 5.0, 2.0, "1"), Like("ann", "c"), Like("bob", "b")]) == 3
    assert log.add([Like("ann", "b", 9.0, 3.0, "1"), Like("ann", "d", id="2")]) == 1
    first = log.entries("ann")[0]
    assert (first.item, first.time, first.weight) == ("b", 5.0, 2.0)
    log.remove("ann", "c")
    log.hide("ann", "d")
    assert log.of("ann") == FreshLikes(("b",), ("c",), ("d",))
    log.add([Like("ann", "c")])
    assert log.of("ann") == FreshLikes(("b", "c"), (), ("d",))
    assert [entry.user for entry in log.of_item("b")] == ["ann", "bob"]
    assert log.users() == ["ann", "bob"]


def test_a_file_that_is_no_log_is_said(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("something else that SQLite does not know at all" * 50)
    with pytest.raises(StorageError, match="cannot be used"):
        LikesLog(tmp_path / "log").add([Like("ann", "b")])


def test_a_like_is_in_the_next_answer_and_undone_again(client: TestClient) -> None:
    before = items(client, "ann")
    assert before == ["b", "d", "c"]
    assert client.post("/likes", json={"user": "ann", "item": "b"}).json() == {
        "received": 1, "added": 1,
    }  # fmt: skip
    assert items(client, "ann") == ["d", "c"] or items(client, "ann") == ["c", "d"]
    assert set(items(client, "ann", include_seen=True)) == {"a", "b", "c", "d"}
    gone = client.request("DELETE", "/likes", json={"user": "ann", "item": "b"})
    assert gone.status_code == 200
    assert items(client, "ann") == before
    # What the model was trained on can be undone, too.
    client.request("DELETE", "/likes", json={"user": "ann", "item": "a"})
    assert "a" in items(client, "ann")


def test_what_somebody_is_not_interested_in_is_never_shown(client: TestClient) -> None:
    assert client.post("/hidden", json={"user": "ann", "item": "b"}).status_code == 200
    assert items(client, "ann") == ["d", "c"]
    assert "b" not in items(client, "ann", include_seen=True, include_untrained=True)
    many = [{"query": "recommend", "id": user} for user in ["ann", "bob"] * 10]
    answers = client.post("/questions", json={"questions": many}).json()["answers"]
    assert [[row["id"] for row in answer["rows"]] for answer in answers[:1]] == [["d", "c"]]
    asked = {"questions": [{"query": "audience", "id": "b", "include_seen": True}]}
    rows = client.post("/questions", json=asked).json()["answers"][0]["rows"]
    assert [row["id"] for row in rows] == ["bob"]


def test_somebody_whom_the_model_does_not_know_is_answered_from_fresh_likes(
    client: TestClient, log: LikesLog
) -> None:
    asked = {"questions": [{"query": "recommend", "id": "eve"}]}
    assert client.post("/questions", json=asked).status_code == 404
    posts = {"likes": [{"user": "eve", "item": "a", "id": "x1", "time": 12.5, "weight": 2}] * 3}
    assert client.post("/likes", json=posts).json() == {"received": 3, "added": 1}
    assert items(client, "eve") == items_of_new(client, ["a"])
    assert items(client, "eve", n=1) == items_of_new(client, ["a"])[:1]
    stored = client.get("/users/eve/likes").json()
    said = [{"item": "a", "state": "liked", "time": 12.5, "weight": 2.0}]
    assert stored == {"user": "eve", "model": [], "log": said}
    assert client.get("/users/ann/likes").json() == {"user": "ann", "model": ["a"], "log": []}
    assert client.get("/users/nobody/likes").status_code == 404
    assert log.users() == ["eve"]


def items_of_new(client: TestClient, liked: list[str]) -> list[str]:
    question = {"query": "recommend", "liked": liked}
    answered = client.post("/questions", json={"questions": [question]}).json()
    return [row["id"] for row in answered["answers"][0]["rows"]]


@pytest.mark.parametrize(
    "body",
    [
        {"user": "ann"}, {"user": "ann", "item": "a", "weight": 0}, {"likes": {}}, [], 3,
        {"user": "ann", "item": "a", "liked": True}, {"user": "ann", "item": ["a"]},
        {"likes": [{"user": "ann", "item": "a"}] * 1001}, {"user": "ann", "item": "a", "time": "x"},
        {"user": "", "item": "a"}, {"user": "ann", "item": " "},
    ],
)  # fmt: skip
def test_a_wrong_post_writes_nothing(body: Any, client: TestClient, log: LikesLog) -> None:
    answered = client.post("/likes", json=body)
    assert answered.status_code == 400
    assert set(answered.json()["error"]) == {"found", "expected", "action"}
    assert log.entries() == []


def test_a_log_of_an_older_version_keeps_its_entries(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "likes.db")) as older:
        older.execute(
            "CREATE TABLE words (user TEXT NOT NULL, item TEXT NOT NULL, state TEXT NOT NULL, "
            "time REAL NOT NULL, weight REAL NOT NULL, PRIMARY KEY (user, item)) WITHOUT ROWID"
        )
        older.execute("CREATE INDEX by_item ON words (item)")
        older.execute("INSERT INTO words VALUES ('ann', 'b', 'liked', 5.0, 2.0)")
        older.commit()
    log = LikesLog(tmp_path / "likes.db")
    log.add([Like("ann", "c")])
    assert [(entry.item, entry.position) for entry in log.entries("ann")] == [("b", 1), ("c", 2)]
    assert [entry.weight for entry in log.of_item("b")] == [2.0]


def test_python_asks_with_the_same_log(tmp_path: Path, log: LikesLog) -> None:
    asked = Recommender(load_bundle(write_bundle(tmp_path / "bundle", features=True)), fresh=log)
    log.add([Like("ann", "b"), Like("bob", "a")])
    fresh = asked.recommend("ann", 9)
    plain = Recommender(asked.bundle).recommend("ann", 9, liked=["b"])
    assert fresh.rows == plain.rows
    assert asked.recommend_many(["ann"], 9)[0].rows == plain.rows
    assert {row.id for row in asked.liked("ann")} == {"a", "b"}
    assert [row.id for row in asked.audience("a", 9)] == []
    assert [row.id for row in asked.audience("a", 9, Filters(include_seen=True))] != []
    with pytest.raises(NotFoundError):
        asked.recommend("nobody")


SERVER = """
import sys
from contextlib import closing
from pathlib import Path
import uvicorn
from recsys.bundle import load_bundle
from recsys.data.likes_log import LikesLog
from recsys.recommend.recommender import Recommender
from recsys.serving.champion import Champion
from recsys.serving.http import make_app
from recsys.serving.listening import listen

class Fixed(Champion):
    def current_version(self):
        return "1", Recommender(load_bundle(Path(sys.argv[1])), fresh=self.fresh)

app = make_app(Fixed("fruit", "sqlite:///nowhere", fresh=LikesLog(sys.argv[2])), "fruit")
with listen("127.0.0.1", 0) as listener:
    print(listener.getsockname()[1], flush=True)
    config = uvicorn.Config(app, log_level="error", lifespan="off")
    uvicorn.Server(config).run(sockets=[listener])
"""


def test_a_server_killed_among_a_thousand_posts_loses_none_that_it_acknowledged(
    tmp_path: Path,
) -> None:
    bundle, path = write_bundle(tmp_path / "bundle"), tmp_path / "likes.sqlite"
    servers = [
        subprocess.Popen(
            [sys.executable, "-c", SERVER, str(bundle), str(path)],
            stdout=subprocess.PIPE, text=True, cwd=ROOT,
            env=os.environ | {"PYTHONPATH": PYTHONPATH},
        )
        for _ in range(2)
    ]  # fmt: skip
    acknowledged: list[str] = []
    sent: list[str] = []
    try:
        ports = [int(server.stdout.readline()) for server in servers if server.stdout]
        with httpx.Client(timeout=90) as client:
            for number in range(1000):
                if number == 400:
                    servers[0].send_signal(signal.SIGKILL)
                user = f"u{number:04d}"
                sent.append(user)
                try:
                    # Both servers write into the one log, in turn.
                    url = f"http://127.0.0.1:{ports[number % 2]}/likes"
                    answered = client.post(url, json={"user": user, "item": "a", "id": user})
                except httpx.HTTPError:
                    continue
                assert answered.status_code == 200, answered.text
                acknowledged.append(user)
            # What one wrote, the other one knows.
            url = f"http://127.0.0.1:{ports[1]}/users/u0000/likes"
            assert client.get(url).json()["log"][0]["item"] == "a"
    finally:
        for server in servers:
            server.kill()
            server.wait(30)
    stored = set(LikesLog(path).users())
    assert len(acknowledged) >= 600
    assert set(acknowledged) <= stored <= set(sent)
