"""Two versions compared by a server: who gets which, what is recorded, and what never fails."""

from __future__ import annotations

import json
import logging
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from recsys.base.config import Online
from recsys.base.errors import NotFoundError, RecsysError
from recsys.bundle import load_bundle
from recsys.data.likes_log import Like, LikesLog
from recsys.online.arms import Comparison, gets_challenger
from recsys.online.comparing import compare_online
from recsys.online.online_log import OnlineLog, PostedOutcome, configured_log
from recsys.recommend.recommender import Recommender
from recsys.serving import http
from recsys.serving.champion import Champion
from recsys.serving.client import Client
from recsys.serving.observing import Observing
from recsys.serving.recommended import Recommended
from recsys.serving.request_log import log_requests
from tests.fixtures.bundles import write_bundle
from tests.fixtures.waiting import wait_until


class Two(Champion):
    """Version 4, and version 5 beside it, without a registry."""

    def __init__(self, folder: Path) -> None:
        likes = LikesLog(folder / "likes.sqlite")
        super().__init__("fruit", "sqlite:///nowhere", fresh=likes)
        self.numbers = {"champion": "4", "challenger": "5"}
        self.models = {
            "champion": Recommender(load_bundle(folder / "4"), fresh=likes),
            "challenger": Recommender(load_bundle(folder / "5"), fresh=likes),
        }
        self.which, self.missing = "champion", False

    def beside(self, named: str) -> Champion:
        other = Two.__new__(Two)
        other.__dict__ |= self.__dict__ | {"which": named, "first": self}
        return other

    def current_version(self) -> tuple[str, Recommender]:
        if self.which == "challenger" and self.__dict__["first"].missing:
            raise NotFoundError("fruit has no challenger", "one", "train")
        return self.numbers[self.which], self.models[self.which]


@pytest.fixture(scope="module")
def bundles(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("two")
    write_bundle(folder / "4", features=True)
    write_bundle(folder / "5", features=True, neighbours=True)
    return folder


class Server:
    """A server of two versions, its log, and a client."""

    def __init__(self, folder: Path, bundles: Path, **options: Any) -> None:
        self.options = Online(log=str(folder / "online.sqlite"), **options)
        for name in "45":
            if not (folder / name).exists():
                (folder / name).symlink_to(bundles / name)
        self.two = Two(folder)
        app = http.make_app(self.two, "fruit", observing=Observing(self.options))
        self.http = TestClient(app)
        self.client = Client("http://testserver", http=self.http)
        self.log: OnlineLog = configured_log(self.options, "fruit")

    def items(self, which: str, user: str) -> list[str]:
        return [row.id for row in self.two.models[which].recommend(user, 3)]

    def count(self, line: str) -> float:
        """A metric, by its line without the value."""
        for one in self.http.get("/metrics").text.splitlines():
            if one.startswith(line + " "):
                return float(one.rsplit(" ", 1)[1])
        return 0.0


@pytest.fixture
def serve(tmp_path: Path, bundles: Path) -> Callable[..., Server]:
    return lambda **options: Server(tmp_path, bundles, **options)


def recommended(answer: object) -> Recommended:
    assert isinstance(answer, Recommended)
    return answer


def test_nothing_is_recorded_until_it_is_turned_on(serve: Callable[..., Server]) -> None:
    server = serve()
    found = server.http.post(
        "/v1/questions", json={"questions": [{"query": "recommend", "id": "ann"}]}
    ).json()
    [answer] = found["answers"]
    assert set(answer) == {"rows", "notes"}
    assert set(answer["rows"][0]) == {"id", "name", "score", "reason"}
    assert not Path(str(server.options.log)).exists()
    with pytest.raises(NotFoundError, match="compares nothing"):
        server.client.add_outcomes([])


def test_users_are_split_and_stay_where_they_are(serve: Callable[..., Server]) -> None:
    server = serve(mode="split")
    fans = [f"fan {number}" for number in range(40)]
    server.client.add_likes([Like(fan, "b") for fan in fans])
    users = ["ann", "bob", *fans]
    first = [recommended(one) for one in server.client.recommend_many(users, 3)]
    again = [recommended(server.client.recommend(user, 3)) for user in users[:6]]
    assert [one.version for one in again] == [one.version for one in first[:6]]
    assert len({one.recommendation for one in (*first, *again)}) == len(first) + 6
    split = Comparison("fruit", "split", "4", "5")
    for user, answer in zip(users, first, strict=True):
        which = "challenger" if gets_challenger(split, user) else "champion"
        assert answer.version == server.two.numbers[which]
        assert [row.id for row in answer] == server.items(which, user)
    assert {one.version for one in first} == {"4", "5"}
    arms = Counter(row[0] for row in server.log.database.read("SELECT arm FROM answers"))
    assert sum(arms.values()) == len(first) + 6
    assert server.count('recsys_online_answers_total{arm="challenger"}') == arms["challenger"]


def test_what_became_of_it_is_posted_once(serve: Callable[..., Server]) -> None:
    server = serve(mode="split", share=1.0)
    answer = recommended(server.client.recommend("ann", 2))
    assert answer.recommendation
    posted = [PostedOutcome(answer.recommendation, row.id, "seen") for row in answer]
    clicked = PostedOutcome(answer.recommendation, answer[0].id, "clicked")
    assert server.client.add_outcomes([*posted, clicked]).added == 3
    again = server.client.add_outcomes([clicked, PostedOutcome("nothing", "a", "liked")])
    assert (again.received, again.added, again.unknown) == (2, 0, 1)
    alone = server.http.post("/v1/outcomes", json={**vars(clicked), "outcome": "liked"})
    assert alone.json() == {"received": 1, "added": 1, "unknown": 0}
    [(comparison, _)] = server.log.comparisons("fruit")
    found = compare_online(server.log, comparison, server.options)
    assert (found.arms[1].seen, found.arms[1].clicked, found.arms[1].liked) == (2, 1, 1)
    assert found.says_seen
    assert server.count('recsys_outcomes_total{outcome="clicked"}') == 2
    assert server.count("recsys_outcomes_unknown_total") == 1


@pytest.mark.parametrize(
    "body",
    [
        {"outcomes": [{"recommendation": "r", "item": "a", "outcome": "bought"}]},
        {"recommendation": "r", "item": "a"},
        {"outcomes": "all"},
        {"outcomes": [{"recommendation": "r", "item": "a", "outcome": "seen", "user": "ann"}]},
        [],
        {"outcomes": [{"recommendation": "r", "item": "a", "outcome": "seen"}] * 1001},
    ],
)
def test_a_wrong_outcome_writes_nothing(body: Any, serve: Callable[..., Server]) -> None:
    server = serve(mode="split")
    found = server.http.post("/v1/outcomes", json=body)
    assert found.status_code == 400
    assert found.json()["code"] == "wrong"
    broken = server.http.post(
        "/v1/outcomes", content=b"{", headers={"content-type": "application/json"}
    )
    assert broken.status_code == 400


def test_interleaved_rows_say_whose_they_are(serve: Callable[..., Server]) -> None:
    server = serve(mode="interleave")
    answer = recommended(server.client.recommend("ann", 3))
    assert answer.version is None
    assert (
        sorted(row.id for row in answer)
        == sorted({*server.items("champion", "ann"), *server.items("challenger", "ann")})[
            : len(answer)
        ]
    )
    assert {version for version in answer.versions if version} <= {"4", "5"}
    # The same list the whole day.
    assert recommended(server.client.recommend("ann", 3)).rows == answer.rows
    [[items]] = server.log.database.read("SELECT items FROM answers LIMIT 1")
    assert [item for item, _ in json.loads(items)] == [row.id for row in answer]


def test_a_shadow_is_recorded_and_not_shown(serve: Callable[..., Server]) -> None:
    server = serve(mode="shadow")
    answer = recommended(server.client.recommend("ann", 3))
    assert answer.version == "4"
    assert [row.id for row in answer] == server.items("champion", "ann")
    rows: list[Any] = []

    def recorded() -> bool:
        rows[:] = server.log.database.read("SELECT recommendation, items, fault FROM shadows")
        return bool(rows)

    wait_until(recorded)
    assert rows == [(answer.recommendation, json.dumps(server.items("challenger", "ann")), "")]


def test_other_questions_and_people_without_an_id_are_the_champions(
    serve: Callable[..., Server],
) -> None:
    server = serve(mode="split", share=1.0)
    [new, similar, ranked] = server.client.ask(
        [
            {"query": "recommend", "liked": ["b"], "n": 2},
            {"query": "similar", "id": "a", "n": 2},
            {"query": "rank", "id": "ann", "items": ["b", "c"]},
        ]
    ).answers
    assert recommended(new).version == "4"
    assert not isinstance(similar, Recommended)
    assert recommended(ranked).version == "5"
    rows = server.log.database.read("SELECT person, query, comparison FROM answers ORDER BY query")
    assert [row[:2] for row in rows] == [("ann", "rank"), (None, "recommend")]
    assert rows[1][2] is None
    with pytest.raises(NotFoundError, match="no user 'zed'"):
        server.client.recommend("zed")
    assert server.count('recsys_unknown_ids_total{kind="user"}') == 1


def test_where_the_challenger_cannot_answer_the_champion_does(
    serve: Callable[..., Server],
) -> None:
    server = serve(mode="split", share=1.0)
    challenger = server.two.models["challenger"]

    def refuses(*_: object, **__: object) -> None:
        raise RecsysError("a user that this version does not know")

    object.__setattr__(challenger, "recommend", refuses)
    answer = recommended(server.client.recommend("ann", 2))
    assert answer.version == "4"
    assert server.log.database.read("SELECT arm, version, instead, of_challenger FROM answers") == [
        ("challenger", "4", 1, 2)
    ]


def test_without_a_challenger_or_a_log_answers_go_on(
    serve: Callable[..., Server], tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    server = serve(mode="split", share=1.0)
    server.two.missing = True
    answer = recommended(server.client.recommend("ann", 2))
    assert answer.version == "4"
    assert answer.recommendation
    assert "no comparison: fruit has no challenger" in caplog.text
    assert server.http.get("/v1/ready").json() == {"status": "ready", "version": "4"}
    broken = tmp_path / "broken"
    broken.mkdir()
    (broken / "4").symlink_to(tmp_path / "4")
    (broken / "5").symlink_to(tmp_path / "5")
    (broken / "online.sqlite").write_text("this is no database " * 20)
    other = Server(broken, tmp_path, mode="split", share=1.0)
    answer = recommended(other.client.recommend("ann", 2))
    assert (answer.version, answer.recommendation) == ("5", None)
    assert other.count('recsys_online_answers_total{arm="unrecorded"}') == 1
    ready = other.http.get("/v1/ready")
    assert (ready.status_code, ready.json()["code"]) == (503, "unavailable")
    assert other.http.get("/v1/health").status_code == 200


def test_equal_versions_are_no_comparison(serve: Callable[..., Server]) -> None:
    server = serve(mode="split", share=1.0)
    server.two.numbers["challenger"] = "4"
    assert recommended(server.client.recommend("ann", 2)).version == "4"
    assert server.log.comparisons() == []


def test_metrics_count_what_happened(serve: Callable[..., Server]) -> None:
    server = serve()
    server.client.recommend("ann", 2)
    server.client.recommend("ann", 2, only=[])
    server.client.recommend_for(n=2)
    server.client.recommend_for(["x", "y"], n=2)
    server.http.get("/nowhere")
    server.http.post("/v1/questions", json={"questions": [{"query": "sing"}]})
    counted = {
        'recsys_questions_total{query="recommend"}': 4,
        'recsys_answer_seconds_count{query="recommend"}': 4,
        'recsys_empty_answers_total{query="recommend"}': 1,
        'recsys_popularity_answers_total{query="recommend"}': 2,
        'recsys_unknown_ids_total{kind="item"}': 2,
        'recsys_requests_total{path="/questions",status="200"}': 4,
        'recsys_requests_total{path="/questions",status="400"}': 1,
        'recsys_requests_total{path="other",status="404"}': 1,
        'recsys_errors_total{code="no_such_address"}': 1,
        'recsys_errors_total{code="wrong"}': 1,
        'recsys_workers{version="4"}': 1,
    }
    assert {line: server.count(line) for line in counted} == counted
    server.client.add_likes([Like("eve", "a", time=1.0)])
    assert server.count('recsys_log_lag_seconds{log="likes"}') > 1e9


def test_a_request_keeps_its_id_and_is_logged_without_people(
    serve: Callable[..., Server],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    server = serve()
    monkeypatch.setattr(logging.getLogger(), "handlers", [])
    try:
        log_requests("json")
        found = server.http.get(
            "/v1/health?user=ann", headers={"X-Request-ID": "from-a-proxy", "X-Other": "1"}
        )
        assert found.headers["x-request-id"] == "from-a-proxy"
        made = server.http.get("/health", headers={"X-Request-ID": "two words"})
        assert len(made.headers["x-request-id"]) == 32
        log_requests("lines")
        server.http.get("/health", headers={"X-Request-ID": "third"})
    finally:
        logging.getLogger("recsys.requests").setLevel(logging.NOTSET)
    first, second, third = capsys.readouterr().err.splitlines()
    said = json.loads(first)
    assert (said["request"], said["method"], said["path"], said["status"]) == (
        "from-a-proxy", "GET", "/v1/health", 200,
    )  # fmt: skip
    assert json.loads(second)["request"] == made.headers["x-request-id"]
    assert " INFO recsys.requests [third] GET /health 200 in " in third
    assert "ann" not in first
