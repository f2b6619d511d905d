"""The server as its clients meet it: answers, bounds, and nothing but 4xx for what is wrong."""

from __future__ import annotations

import json
import os
import random
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.base.errors import ConfigError, NotFoundError
from recsys.cli.servers import registered_name
from recsys.serving import http, pyfunc, server
from recsys.serving.champion import Champion
from recsys.serving.limits import Limits
from recsys.serving.questions import NAMES, QUERIES
from recsys.tracking.registry import Registry
from recsys.tracking.runs import StudyDescription, Tracker
from tests.fixtures.bundles import write_bundle
from tests.fixtures.paths import ROOT
from tests.fixtures.tracking_database import tracking_database

BODY, SECONDS = 20_000, 1.5


@dataclass
class Served:
    address: str
    registry: Registry
    process: subprocess.Popen[str]

    @property
    def place(self) -> tuple[str, int]:
        host, port = self.address.removeprefix("http://").split(":")
        return host, int(port)

    def ask(self, *questions: dict[str, Any]) -> httpx.Response:
        return httpx.post(f"{self.address}/questions", json={"questions": questions}, timeout=90)

    def memory(self) -> int:
        """Kilobytes that the process holds."""
        status = Path(f"/proc/{self.process.pid}/status").read_text(encoding="utf-8")
        return int(next(line for line in status.splitlines() if "VmRSS" in line).split()[1])


def serve(uri: str, *options: str, log: Any = subprocess.PIPE) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "recsys.cli", "serve", "--model", "fruit", *options]
    variables = os.environ | {"MLFLOW_TRACKING_URI": uri}
    return subprocess.Popen(
        command, env=variables, stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT
    )


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    folder = tmp_path_factory.mktemp("server")
    uri = tracking_database(folder)
    tracker = Tracker.connect(uri, "fruit")
    run_id = tracker.open_study(StudyDescription("k", "fruit", {}))
    made = write_bundle(folder / "bundle", features=True)
    registry = Registry(uri, "fruit")
    registry.promote(pyfunc.register(uri, run_id, "fruit", made, {}), by="ann", why="first")
    options = ("--port", "0", "--body", str(BODY), "--seconds", str(SECONDS))
    log = folder / "log.txt"
    with log.open("w") as stream:
        process = serve(uri, *options, log=stream)
    assert process.stdout is not None
    said = process.stdout.readline()
    assert said.startswith("fruit version 1 answers at http://127.0.0.1:")
    try:
        yield Served(said.split()[-1], registry, process)
        # Whatever was sent, nothing went wrong inside.
        assert "Traceback" not in log.read_text(encoding="utf-8")
    finally:
        process.terminate()
        assert process.wait(30) == -15


def test_answers_come_in_order_with_what_has_to_be_said(served: Served) -> None:
    answer = served.ask(
        {"query": "recommend", "id": "ann", "n": 1},
        {"query": "recommend", "liked": ["zzz"], "n": 1},
        {"query": "similar", "id": "a", "n": 1, "type": None},
    ).json()
    assert (answer["model"], answer["version"]) == ("fruit", "1")
    first, second, third = answer["answers"]
    row = {"id": "b", "name": "b", "score": 1.75, "reason": "like Apple"}
    assert first == {"rows": [row], "notes": []}
    assert second["notes"][0] == "1 unknown item ignored: zzz"
    assert [row["id"] for row in third["rows"]] == ["b"]
    assert served.ask().json()["answers"] == []


def test_users_asked_for_together_are_answered_as_alone(served: Served) -> None:
    asked = [{"query": "recommend", "id": user, "n": 2} for user in ("ann", "bob") * 150]
    together = served.ask(*asked).json()["answers"]
    alone = [served.ask(question).json()["answers"][0] for question in asked[:2]]
    assert together == alone * 150


def test_health_and_version(served: Served) -> None:
    assert httpx.get(f"{served.address}/health").json() == {"status": "ok"}
    about = httpx.get(f"{served.address}/version").json()
    assert (about["model"], about["version"], len(about["bundle"])) == ("fruit", "1", 32)
    assert "server" not in httpx.get(f"{served.address}/health").headers


def test_openapi_describes_questions_and_answers(served: Served) -> None:
    described = http.openapi()
    assert set(described["paths"]) == {
        "/v1/questions", "/v1/likes", "/v1/hidden", "/v1/users/{user}/likes", "/v1/health",
        "/v1/version", "/v1/outcomes", "/v1/ready",
    }  # fmt: skip
    asked = described["paths"]["/v1/questions"]["post"]
    [body] = asked["requestBody"]["content"].values()
    items = body["schema"]["properties"]["questions"]["items"]
    assert {one["properties"]["query"]["const"] for one in items["oneOf"]} == set(QUERIES)
    assert set(asked["responses"]) >= {"200", "4XX", "503"}
    rows = described["components"]["schemas"]["AnswerRow"]["properties"]
    answer = served.ask({"query": "recommend", "id": "ann"}).json()["answers"][0]
    # Ranks and versions are there while versions are compared.
    assert set(rows) == {*answer["rows"][0], "rank", "version"}


JSON = "application/json"
LONG = ["a"] * 1001
WRONG: dict[str, tuple[dict[str, Any], int]] = {
    "an unknown user": ({"query": "recommend", "id": "nobody"}, 404),
    "an unknown tag": ({"query": "tag", "tags": ["grean"]}, 404),
    "no such query": ({"query": "divine", "id": "ann"}, 400),
    "a query that is a list": ({"query": ["tag"], "id": "ann"}, 400),
    "no query": ({"id": "ann"}, 400),
    "an unknown name": ({"query": "recommend", "user": "ann"}, 400),
    "no rows": ({"query": "recommend", "id": "ann", "n": 0}, 400),
    "too many rows": ({"query": "recommend", "id": "ann", "n": 1001}, 400),
    "half a row": ({"query": "recommend", "id": "ann", "n": 1.5}, 400),
    "rows in words": ({"query": "recommend", "id": "ann", "n": "ten"}, 400),
    "true rows": ({"query": "recommend", "id": "ann", "n": True}, 400),
    "an id that is a list": ({"query": "recommend", "id": ["ann"]}, 400),
    "an id that is a fraction": ({"query": "recommend", "id": 1.5}, 400),
    "a long id": ({"query": "recommend", "id": "a" * 1001}, 400),
    "half of a surrogate pair": ({"query": "recommend", "id": "\ud800"}, 400),
    "a long list": ({"query": "recommend", "liked": LONG}, 400),
    "a text for a list": ({"query": "similar", "tags": "green"}, 400),
    "an object for a list": ({"query": "similar", "tags": {"green": 1}}, 400),
    "lists in lists": ({"query": "similar", "tags": [["green"]]}, 400),
    "a flag in words": ({"query": "recommend", "id": "ann", "include_seen": "false"}, 400),
    "weights in words": ({"query": "tag", "tags": ["red"], "weights": ["x"]}, 400),
    "huge weights": ({"query": "tag", "tags": ["red"], "weights": [1e300]}, 400),
    "weights without tags": ({"query": "tag", "weights": [1.0]}, 400),
    "tags that cancel out": ({"query": "tag", "tags": ["red"], "weights": [0.0]}, 400),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_question_is_named(case: str, served: Served) -> None:
    question, status = WRONG[case]
    body = json.dumps({"questions": [{"query": "recommend", "id": "ann"}, question]})
    kind = {"Content-Type": JSON}
    answer = httpx.post(f"{served.address}/questions", content=body, headers=kind, timeout=90)
    assert answer.status_code == status, answer.text
    assert answer.json()["question"] == 1
    assert set(answer.json()["error"]) == {"found", "expected", "action"}


BODIES: dict[str, tuple[bytes, str, int]] = {
    "nothing": (b"", JSON, 400),
    "no JSON": (b"{", JSON, 400),
    "no UTF-8": (b'{"questions": ["\xff"]}', JSON, 400),
    "a list": (b"[]", JSON, 400),
    "no questions": (b"{}", JSON, 400),
    "questions that are none": (b'{"questions": 5}', JSON, 400),
    "a question that is none": (b'{"questions": [5]}', JSON, 400),
    "more than questions": (b'{"questions": [], "debug": true}', JSON, 400),
    "NaN": (b'{"questions": [{"query": "recommend", "id": NaN}]}', JSON, 400),
    "nested": (b'{"questions": ' + b"[" * 9000 + b"]" * 9000 + b"}", JSON, 400),
    "a number of ten thousand digits": (b'{"questions": ' + b"9" * 10_000 + b"}", JSON, 400),
    "too many questions": (b'{"questions": [' + b"{}," * 1000 + b"{}]}", JSON, 400),
    "too many bytes": (b" " * (BODY + 1), JSON, 413),
    "another type": (b'{"questions": []}', "text/plain", 415),
    "a form": (b"questions=1", "application/x-www-form-urlencoded", 415),
}


@pytest.mark.parametrize("case", BODIES)
def test_a_malformed_body_is_the_senders_fault(case: str, served: Served) -> None:
    body, kind, status = BODIES[case]
    url = f"{served.address}/questions"
    answer = httpx.post(url, content=body, headers={"Content-Type": kind}, timeout=90)
    assert answer.status_code == status, answer.text
    assert set(answer.json()["error"]) == {"found", "expected", "action"}


def test_all_rows_together_are_bounded(served: Served) -> None:
    answer = served.ask(*[{"query": "tag", "tags": ["red"], "n": 1000}] * 51)
    assert answer.status_code == 400
    assert answer.json()["error"]["found"] == "51,000 rows asked for"


def test_a_body_without_a_length_is_counted_as_it_comes(served: Served) -> None:
    sent = 0

    def chunks() -> Iterator[bytes]:
        nonlocal sent
        for _ in range(10_000):
            sent += 10_000
            yield b" " * 10_000

    try:
        url = f"{served.address}/questions"
        kind = {"Content-Type": JSON}
        assert httpx.post(url, content=chunks(), headers=kind, timeout=90).status_code == 413
    except (httpx.WriteError, httpx.ReadError):
        pass  # it has hung up already, which is as well
    assert sent < 10_000 * 10_000


def test_other_addresses_and_methods(served: Served) -> None:
    for method, path, status in (
        ("GET", "/", 404), ("GET", "/v2/questions", 404), ("GET", "/redoc", 404),
        ("GET", "/questions", 405), ("DELETE", "/version", 405), ("GET", "/../etc/passwd", 404),
    ):  # fmt: skip
        answer = httpx.request(method, served.address + path)
        assert answer.status_code == status
        assert "POST /questions" in answer.json()["error"]["expected"]


def raw(served: Served, sent: bytes, wait: float = 10, whole: bool = True) -> bytes:
    """What comes back for bytes as they are, until the connection is closed, or its beginning."""
    with socket.create_connection(served.place, timeout=wait) as connection:
        connection.sendall(sent)
        found = b""
        while part := connection.recv(65536):
            found += part
            if not whole:
                break
        return found


HEAD = f"POST /questions HTTP/1.1\r\nHost: x\r\nContent-Type: {JSON}\r\n".encode()


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (HEAD, b""),
        (b"", b""),
        (HEAD + b"Content-Length: 100\r\n\r\n{", b" 408 "),
        (HEAD + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n", b" 408 "),
    ],
    ids=["half a head", "nothing", "half a body", "half a chunked body"],
)
def test_who_sends_slowly_is_not_waited_for(sent: bytes, status: bytes, served: Served) -> None:
    start = time.monotonic()
    answer = raw(served, sent, wait=30)
    assert status in answer.split(b"\r\n")[0]
    assert time.monotonic() - start > SECONDS * 0.9
    assert served.ask({"query": "recommend", "id": "ann"}).status_code == 200


@pytest.mark.parametrize(
    "sent",
    [
        b"\0" * 100 + b"\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        HEAD + b"Content-Length: -5\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n12345",
        HEAD + b"Content-Length: " + b"9" * 5000 + b"\r\n\r\n",
        HEAD + b"X: " + b"a" * 70_000 + b"\r\n\r\n",
        HEAD + b"Transfer-Encoding: chunked\r\n\r\nzz\r\n",
    ],
    ids=["NULs", "version", "negative", "two lengths", "endless length", "long head", "chunk"],
)
def test_what_is_no_http_is_answered_with_400_or_cut(sent: bytes, served: Served) -> None:
    status = raw(served, sent, whole=False).split(b"\r\n")[0].split(b" ")[1:2]
    assert status in ([], [b"400"], [b"413"], [b"404"])
    assert served.ask({"query": "recommend", "id": "ann"}).status_code == 200


texts = st.one_of(st.sampled_from(["ann", "bob", "a", "b", "red", "tag_red", ""]), st.text())
scalars = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False, allow_infinity=False), texts
)
values = st.recursive(
    scalars, lambda v: st.lists(v, max_size=4) | st.dictionaries(texts, v, max_size=3), max_leaves=6
)
plausible = st.fixed_dictionaries(
    {"query": st.sampled_from(sorted(QUERIES))},
    optional={
        "id": texts, "item": texts, "type": texts, "n": st.integers(-1, 1001),
        "liked": st.lists(texts, max_size=3), "liked_by": st.lists(texts, max_size=3),
        "tags": st.lists(texts, max_size=3), "weights": st.lists(st.floats(-10, 10), max_size=3),
        "must": st.lists(texts, max_size=2), "must_not": st.lists(texts, max_size=2),
        "exclude": st.lists(texts, max_size=2), "include_seen": st.booleans(),
    },
)  # fmt: skip
wild = st.dictionaries(st.one_of(st.sampled_from(sorted(NAMES)), texts), values, max_size=5)


@settings(max_examples=150)
@given(st.lists(st.one_of(plausible, wild), min_size=1, max_size=3))
def test_fuzzed_questions_are_answered_or_refused(
    served: Served, questions: list[dict[str, Any]]
) -> None:
    answer = served.ask(*questions)
    assert answer.status_code in (200, 400, 404), (questions, answer.text)
    if answer.status_code == 200:
        assert len(answer.json()["answers"]) == len(questions)
    else:
        assert set(answer.json()["error"]) == {"found", "expected", "action"}


def test_fuzzed_bytes_are_refused_or_cut(served: Served) -> None:
    drawn = random.Random(7)
    body = json.dumps({"questions": [{"query": "recommend", "id": "ann"}]}).encode()
    whole = HEAD + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % len(body) + body

    def mutated(seed: int) -> bytes:
        letters = bytearray(whole)
        drawn.seed(seed)
        for _ in range(drawn.randint(1, 4)):
            place = drawn.randrange(len(letters))
            match drawn.randrange(3):
                case 0:
                    letters[place] = drawn.randrange(256)
                case 1:
                    del letters[place : place + drawn.randint(1, 9)]
                case 2:
                    letters[place:place] = drawn.randbytes(drawn.randint(1, 9))
        return bytes(letters)

    sent = [mutated(seed) for seed in range(100)]
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda one: raw(served, one, wait=60), sent))
    statuses = {answer.split(b" ")[1] if answer else b"cut" for answer in answers}
    assert statuses <= {b"200", b"400", b"404", b"405", b"408", b"413", b"415", b"cut"}
    assert {b"200", b"400"} <= statuses


def test_many_at_once_are_all_answered_in_bounded_memory(served: Served) -> None:
    question = {"query": "recommend", "id": "ann", "n": 2}

    def client(_: int) -> set[int]:
        with httpx.Client() as session:
            url, asked = f"{served.address}/questions", {"questions": [question] * 20}
            return {session.post(url, json=asked, timeout=60).status_code for _ in range(10)}

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(client, range(16)))
        before = served.memory()
        assert set().union(*pool.map(client, range(16))) == {200}
    assert served.memory() < before + 50_000


def test_what_cannot_be_served_is_one_clear_error(served: Served) -> None:
    uri = served.registry.uri
    with pytest.raises(NotFoundError, match="vegetables has no champion"):
        server.serve(Champion("vegetables", uri), "vegetables", "127.0.0.1", 0, Limits(), print)
    for host, port in (("192.0.2.1", 0), served.place):
        with pytest.raises(ConfigError, match=f"no place at {host} port {port}"):
            server.serve(Champion("fruit", uri), "fruit", host, port, Limits(), print)
    for name in ("../fruit", "models:/fruit/1", "/fruit", "..", "a'b"):
        with pytest.raises(ConfigError, match="the name of a registered model"):
            registered_name(name)
    assert registered_name("fruit") == "fruit"


def test_it_follows_the_champion_without_a_pause(served: Served, tmp_path: Path) -> None:
    champion = Champion("fruit", served.registry.uri, every=0.0)
    assert champion.current_version()[0] == "1"
    run_id = served.registry.version("1").run_id
    other = write_bundle(tmp_path / "bundle", names=False)
    number = pyfunc.register(served.registry.uri, run_id, "fruit", other, {})
    served.registry.promote(number, by="ann", why="a better one")
    version, recommender = champion.current_version()
    assert (version, recommender.name(0)) == (number, "a")
