"""The client: typed answers, errors as exceptions, and what may be sent again is sent again."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import httpx
import pytest
from starlette.testclient import TestClient

from recsys.base.errors import ConfigError, InputError, NotFoundError, UnavailableError
from recsys.bundle import load_bundle
from recsys.data.likes_log import Like, LikesLog
from recsys.recommend.recommender import Recommender
from recsys.serving import client as module
from recsys.serving import http
from recsys.serving.champion import Champion
from recsys.serving.client import Client
from recsys.serving.questions import NAMES
from tests.fixtures.bundles import write_bundle
from tests.fixtures.paths import ROOT


class Fixed(Champion):
    """A champion that no registry has to tell of."""

    def __init__(self, bundle: Path, log: LikesLog) -> None:
        super().__init__("fruit", "sqlite:///nowhere", fresh=log)
        self.recommender = Recommender(load_bundle(bundle), fresh=log)

    def current_version(self) -> tuple[str, Recommender]:
        return "1", self.recommender


@pytest.fixture(scope="module")
def champion(tmp_path_factory: pytest.TempPathFactory) -> Fixed:
    folder = tmp_path_factory.mktemp("client")
    return Fixed(write_bundle(folder / "bundle", features=True), LikesLog(folder / "likes.sqlite"))


@pytest.fixture(scope="module")
def sender(champion: Fixed) -> TestClient:
    return TestClient(http.make_app(champion, "fruit"))


@pytest.fixture
def client(sender: TestClient) -> Client:
    return Client("http://testserver", http=sender)


def test_answers_are_those_of_the_recommender(client: Client, champion: Fixed) -> None:
    here = champion.recommender
    assert client.recommend("ann", 2) == here.recommend("ann", 2)
    assert client.recommend("ann", 2, liked=["b"]) == here.recommend("ann", 2, liked=["b"])
    assert client.recommend_many(["ann", "bob"], 3) == here.recommend_many(["ann", "bob"], 3)
    assert client.recommend_for(["a"], 2, tags=["red"]) == here.recommend_for(
        ["a"], 2, tags=["red"]
    )
    assert client.rank("ann", ["b", "c"]) == here.rank("ann", ["b", "c"])
    assert client.similar_items("a", 2) == here.similar_items("a", 2)
    assert client.similar_items(features=["red"]) == here.similar_items(features=["red"])
    assert client.items_for_tag({"red": 1.0, "green": -0.5}) == here.items_for_tag(
        {"red": 1.0, "green": -0.5}
    )
    assert client.items_for_tag(["red"]) == here.items_for_tag(["red"])
    assert client.suggest_tags("b", 2, kind="tag") == here.suggest_tags("b", 2, kind="tag")
    assert client.similar_tags("red", exclude=["green"]) == here.similar_tags(
        "red", exclude=["green"]
    )
    assert client.audience("b") == here.audience("b")
    assert client.explain("ann", "b").rows[0].reason.startswith("part: ")
    assert client.recommend("ann", only=[]).rows == ()
    assert client.ask([{"query": "recommend", "id": "ann"}])[:2] == ("fruit", "1")


def test_likes_are_sent_once_and_read_back(client: Client) -> None:
    like = Like("eve / ünïcode?", "a", time=12.5, weight=2.0)
    written = client.add_likes([like, Like("eve / ünïcode?", "b", id="1")])
    assert (written.received, written.added) == (2, 2)
    assert client.add_likes([Like("eve / ünïcode?", "b", id="1")]).added == 0
    client.remove_like("eve / ünïcode?", "b")
    client.hide("eve / ünïcode?", "c")
    stored = client.stored_likes("eve / ünïcode?")
    assert [(said.item, said.state) for said in stored.log] == [
        ("a", "liked"), ("b", "removed"), ("c", "hidden"),
    ]  # fmt: skip
    assert (stored.log[0].time, stored.log[0].weight) == (12.5, 2.0)


def test_what_is_wrong_is_an_exception_with_what_the_server_says(client: Client) -> None:
    with pytest.raises(NotFoundError, match="no user 'nobody'"):
        client.recommend("nobody")
    with pytest.raises(NotFoundError, match="nobody"):
        client.stored_likes("nobody")
    with pytest.raises(InputError, match="n = 1001; expected a whole number"):
        client.recommend("ann", 1001)
    with pytest.raises(InputError, match="question 1: query 'divine'"):
        client.ask([{"query": "recommend", "id": "ann"}, {"query": "divine"}])
    assert client.health().status == "ok"
    assert client.version().model == "fruit"


Respond = Callable[[int], httpx.Response]


def sending(respond: Respond, **options: Any) -> tuple[Client, list[httpx.Request]]:
    """A client of a server that responds so to its first, second, … request."""
    requests: list[httpx.Request] = []

    def handle(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return respond(len(requests) - 1)

    sender = httpx.Client(transport=httpx.MockTransport(handle))
    return Client("http://there/", http=sender, **options), requests


BUSY = {
    "code": "unavailable", "error": {"found": "too much", "expected": "less", "action": "wait"},
}  # fmt: skip
WRITTEN = {"received": 1, "added": 1}


def test_a_request_that_did_not_get_through_is_sent_again(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(module.time, "sleep", pauses.append)

    def respond(attempt: int) -> httpx.Response:
        if attempt == 0:
            raise httpx.ConnectError("refused")
        if attempt == 1:
            return httpx.Response(503, json=BUSY, headers={"Retry-After": "2"})
        return httpx.Response(200, json=WRITTEN)

    client, requests = sending(respond)
    assert client.add_likes([Like("ann", "b")]).added == 1
    bodies = [json.loads(request.content)["likes"] for request in requests]
    assert bodies[0] == bodies[1] == bodies[2]
    assert len(bodies[0][0]["id"]) == 32  # by which the server knows that it is the same like
    assert pauses[0] < 1
    assert 2 <= pauses[1] <= 3
    client, requests = sending(lambda _: httpx.Response(503, json=BUSY), retries=1)
    with pytest.raises(UnavailableError, match="too much; expected less"):
        client.recommend("ann")
    assert len(requests) == 2


def test_what_is_wrong_is_not_sent_again_and_other_servers_are_named() -> None:
    wrong = BUSY | {"code": "wrong"}
    client, requests = sending(lambda _: httpx.Response(400, json=wrong))
    with pytest.raises(InputError):
        client.recommend("ann")
    assert len(requests) == 1
    for other in (
        httpx.Response(200, text="<html>"), httpx.Response(404, text="nothing here"),
        httpx.Response(200, json={"status": "fine"}),
    ):  # fmt: skip
        with pytest.raises(ConfigError, match="the address of a server of answers"):
            sending(lambda _, other=other: other)[0].health()
    with pytest.raises(ConfigError, match="there"):
        Client("there:8000").health()
    with pytest.raises(UnavailableError, match="502"):
        sending(lambda _: httpx.Response(502, text="bad gateway"), retries=0)[0].health()

    def never(_: int) -> httpx.Response:
        raise httpx.ReadTimeout("")

    with pytest.raises(UnavailableError, match="ReadTimeout"):
        sending(never, retries=0)[0].health()


def test_the_clients_methods_agree_with_the_openapi_description(champion: Fixed) -> None:
    described = http.openapi()
    operations = {
        one["operationId"] for path in described["paths"].values() for one in path.values()
    }
    assert operations == {
        "ask", "add_likes", "remove_like", "hide", "stored_likes", "add_outcomes", "health",
        "ready", "version",
    }  # fmt: skip
    assert all(callable(getattr(Client, name)) for name in operations)
    asked = described["paths"]["/v1/questions"]["post"]["requestBody"]["content"]
    schema = asked["application/json"]["schema"]["properties"]["questions"]["items"]["oneOf"]
    known = {one["properties"]["query"]["const"]: set(one["properties"]) for one in schema}
    sent: dict[str, set[str]] = {name: set() for name in known}
    requests: list[httpx.Request] = []
    empty = {"model": "m", "version": "1", "answers": [{"rows": [], "notes": []}]}

    def handle(request: httpx.Request) -> httpx.Response:
        requests.append(request)
        return httpx.Response(200, json=empty)

    client = Client(http=httpx.Client(transport=httpx.MockTransport(handle)))
    x = ["x"]
    every: dict[str, Any] = {
        "must": x, "must_not": x, "exclude": x, "only": x, "lists": x, "include_seen": True,
        "include_untrained": True,
    }  # fmt: skip
    client.recommend("x", liked=x, tags=x, **every)
    client.recommend_for(x, tags=x, features=x, **every)
    client.rank("x", x, liked=x, tags=x)
    client.similar_items("x", features=x, liked_by=x, **every)
    client.items_for_tag({"x": 1.0}, **every)
    client.suggest_tags("x", features=x, liked_by=x, kind="x", exclude=x)
    client.similar_tags("x", kind="x", exclude=x)
    client.audience("x", features=x, liked_by=x, **every)
    client.explain("x", "y")
    for request in requests:
        [question] = json.loads(request.content)["questions"]
        assert set(question) <= known[question["query"]]
        sent[question["query"]] |= set(question)
    assert all(sent.values())
    assert set().union(*sent.values()) == NAMES


def test_the_client_needs_none_of_the_servers_packages() -> None:
    heavy = (
        "fastapi", "starlette", "uvicorn", "mlflow", "prefect", "numpy", "pandas", "pyarrow",
        "scipy", "lightfm",
    )  # fmt: skip
    program = f"""
import sys
import recsys
recsys.Client()
print([name for name in {heavy} if name in sys.modules])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr


def test_the_documentation_page_works_without_a_network(sender: TestClient) -> None:
    page = sender.get("/docs")
    assert page.status_code == 200
    assert "http://" not in page.text.replace("http://testserver", "")
    assert "https://" not in page.text
    for name in ("swagger-ui-bundle.js", "swagger-ui.css", "favicon.png"):
        assert f"docs-assets/{name}" in page.text
        assert sender.get(f"/docs-assets/{name}").status_code == 200
    assert sender.get("/openapi.json").json() == http.openapi()


def test_addresses_without_a_version_answer_as_before(sender: TestClient) -> None:
    asked = {"questions": [{"query": "recommend", "id": "ann"}]}
    with_version = sender.post("/v1/questions", json=asked)
    assert with_version.status_code == 200
    assert sender.post("/questions", json=asked).content == with_version.content
    assert sender.get("/health").json() == sender.get("/v1/health").json()
    refused = sender.post("/v1/questions", json={"questions": [{"query": "recommend", "id": "x"}]})
    assert refused.status_code == 404
    assert refused.json()["code"] == "not_found"
    assert sender.get("/v1/nowhere").json()["code"] == "no_such_address"
