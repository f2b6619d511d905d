"""The registered model, asked over HTTP through MLflow's own scoring server."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import mlflow
import pandas as pd
import pytest

from recsys.base.errors import NotFoundError, RegistryError
from recsys.recommend.recommender import Recommender
from recsys.serving import pyfunc
from recsys.serving.model_code import needed_modules
from recsys.tracking.bundles import locate_bundle
from recsys.tracking.client import using_registry
from recsys.tracking.registry import Registry
from recsys.tracking.runs import StudyDescription, Tracker
from tests.fixtures.bundles import write_bundle
from tests.fixtures.paths import ROOT
from tests.fixtures.ports import free_port, wait_until_healthy
from tests.fixtures.tracking_database import tracking_database


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("registry")
    uri = tracking_database(folder)
    tracker = Tracker.connect(uri, "fruit")
    run_id = tracker.open_study(StudyDescription("k", "fruit", {}))
    number = pyfunc.register(
        uri, run_id, "fruit", write_bundle(folder / "bundle", features=True), {"a": "b"}
    )
    Registry(uri, "fruit").promote(number, by="ann", why="the first")
    return uri


def test_the_champion_is_found_by_alias(registry: str) -> None:
    found = Registry(registry, "fruit").at("champion")
    assert found is not None
    assert (found.number, found.tags["a"]) == ("1", "b")
    assert Registry(registry, "vegetables").at("champion") is None
    folder = locate_bundle("models:/fruit@champion", registry)
    assert Recommender.load(folder).recommend("ann", 1)[0].id == "b"


def test_the_environment_is_left_as_it_was(registry: str) -> None:
    before = {k: v for k, v in os.environ.items() if k.startswith("MLFLOW")}
    Registry(registry, "fruit").at("champion")
    locate_bundle("models:/fruit@champion", registry)
    with using_registry(registry):
        pass
    assert before == {k: v for k, v in os.environ.items() if k.startswith("MLFLOW")}


def test_what_is_not_there_is_said(registry: str, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no model models:/fruit@nobody"):
        locate_bundle("models:/fruit@nobody", registry)
    with pytest.raises(RegistryError, match="no model registry at"):
        locate_bundle("models:/fruit@champion", f"sqlite:///{tmp_path}/none.db")


def test_the_model_imports_nothing_that_its_requirements_do_not_bring() -> None:
    program = f"""
import sys, {", ".join(pyfunc.REQUIRED)}, mlflow.models, mlflow.pyfunc.model
before = {{name.split(".")[0] for name in sys.modules}}
import recsys.serving.pyfunc
found = {{name.split(".")[0] for name in sys.modules}} - before
print(sorted(found - sys.stdlib_module_names - {{"recsys"}}))
print(*(name for name in sys.modules if name.split(".")[0] == "recsys"))
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    others, own = done.stdout.splitlines()
    assert others == "[]", done.stderr
    assert set(own.split()) <= needed_modules("recsys.serving.pyfunc")


def test_the_model_has_the_modules_that_it_imports_and_no_others(registry: str) -> None:
    code = locate_bundle("models:/fruit@champion", registry).parents[1] / "code"
    files = {path.relative_to(code).as_posix() for path in code.rglob("*") if path.is_file()}
    assert len(files) == len(needed_modules("recsys.serving.pyfunc"))
    assert {"recsys/__init__.py", "recsys/bundle.py", "recsys/base/errors.py"} <= files
    # Imported where it is used, inside of a function.
    assert "recsys/recommend/index.py" in files
    assert {file.split("/")[1] for file in files if file.count("/") > 1} == {
        "base", "data", "models", "ranking", "recommend", "serving", "store", "tracking",
    }  # fmt: skip


def test_the_requirements_of_the_model_are_named(registry: str) -> None:
    folder = locate_bundle("models:/fruit@champion", registry).parents[1]
    lines = (folder / "requirements.txt").read_text(encoding="utf-8").splitlines()
    assert {line.split("==")[0] for line in lines} == set(pyfunc.REQUIRED)


def test_nothing_in_the_model_is_pickled(registry: str) -> None:
    folder = locate_bundle("models:/fruit@champion", registry).parents[1]
    names = [path.suffix for path in folder.rglob("*") if path.is_file()]
    assert names
    assert not {".pkl", ".pickle", ".joblib", ".cloudpickle"} & set(names)


def test_the_pyfunc_answers_tables(registry: str) -> None:
    with using_registry(registry):
        model = mlflow.pyfunc.load_model("models:/fruit@champion")
    questions = pd.DataFrame({"query": ["recommend", "similar"], "id": ["ann", "a"], "n": [2, 1]})
    answers = model.predict(questions)
    assert answers[["row", "id"]].to_numpy().tolist() == [[0, "b"], [0, "d"], [1, "b"]]


@pytest.fixture(scope="module")
def server(registry: str) -> Iterator[str]:
    port = str(free_port())
    command = [
        sys.executable, "-m", "mlflow", "models", "serve", "-m", "models:/fruit@champion",
        "--env-manager", "local", "--host", "127.0.0.1", "--port", port,
    ]  # fmt: skip
    variables = os.environ | {
        "MLFLOW_TRACKING_URI": registry,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
    }
    process = subprocess.Popen(command, env=variables, start_new_session=True)
    address = f"http://127.0.0.1:{port}"
    try:
        wait_until_healthy(f"{address}/ping", process)
        yield address
    finally:
        os.killpg(process.pid, 15)
        process.wait(30)


def ask(server: str, *questions: dict[str, object]) -> httpx.Response:
    return httpx.post(
        f"{server}/invocations", json={"dataframe_records": list(questions)}, timeout=30
    )


def test_it_answers_over_http(server: str) -> None:
    answer = ask(server, {"query": "recommend", "id": "ann", "n": 1})
    row = {"row": 0, "id": "b", "name": "b", "score": 1.75, "reason": "like Apple", "notes": ""}
    assert answer.json()["predictions"] == [row]


# Every kind of question, and the best of each answer; see test_recommender for the numbers.
ASKED = [
    ({"query": "recommend", "id": "ann", "include_seen": True}, "a", 2.5),
    ({"query": "recommend", "id": "ann", "must_not": ["red"]}, "d", 1.5),
    ({"query": "recommend", "id": "ann", "include_untrained": True, "exclude": ["b", "d"]}, "e", 1),
    ({"query": "recommend", "liked": ["a"]}, "b", 2.25),
    ({"query": "recommend", "features": ["country_de"]}, "c", 3.5),
    ({"query": "similar", "id": "c"}, "e", 1),
    ({"query": "similar", "tags": ["green"]}, "c", 1),
    ({"query": "similar", "liked_by": ["ann"], "must": ["red"]}, "a", 1),
    ({"query": "tag", "tags": ["red"]}, "a", 1),
    ({"query": "tag", "tags": ["red", "green"], "weights": [3.0, 4.0]}, "c", 0.8),
    ({"query": "suggest-tags", "id": "b", "type": "tag"}, "tag_sweet", 1.1),
    ({"query": "similar-tags", "id": "red"}, "tag_sweet", 0.707),
    ({"query": "audience", "id": "c"}, "ann", 0.5),
    ({"query": "audience", "tags": ["green"]}, "bob", 4),
    ({"query": "explain", "id": "ann", "item": "a"}, "ann", 0.5),
]  # fmt: skip


def test_every_kind_of_question_is_answered_over_http(server: str) -> None:
    for question, best, score in ASKED:
        answer = ask(server, question)
        assert answer.status_code == 200, (question, answer.text)
        first = answer.json()["predictions"][0]
        assert (first["id"], first["score"]) == (best, pytest.approx(score, abs=1e-3)), question


def test_a_table_of_mixed_questions_has_nulls(server: str) -> None:
    names = {name for question, _, _ in ASKED for name in question}
    whole = [{name: question.get(name) for name in names} for question, _, _ in ASKED]
    answers = ask(server, *whole).json()["predictions"]
    best = {answer["row"]: answer["id"] for answer in reversed(answers)}
    assert best == {row: id_ for row, (_, id_, _) in enumerate(ASKED)}


def test_what_has_to_be_said_comes_with_the_answer(server: str) -> None:
    answers = ask(server, {"query": "recommend", "liked": ["zzz"], "n": 1}).json()["predictions"]
    assert "unknown item ignored: zzz" in answers[0]["notes"]
    # Numbers are ids, in lists as well.
    numbers = ask(server, {"query": "recommend", "liked": [1042, "a"], "n": 1}).json()
    assert "unknown item ignored: 1042" in numbers["predictions"][0]["notes"]
    assert "by popularity" in answers[0]["notes"]


def test_users_asked_for_together_are_answered_as_alone(server: str) -> None:
    both = ask(server, *({"query": "recommend", "id": user, "n": 2} for user in ("ann", "bob")))
    alone = [
        {**answer, "row": row}
        for row, user in enumerate(("ann", "bob"))
        for answer in ask(server, {"query": "recommend", "id": user, "n": 2}).json()["predictions"]
    ]
    assert both.json()["predictions"] == alone
    wrong = ask(server, *({"query": "recommend", "id": user, "n": 2} for user in ("ann", "eve")))
    assert wrong.status_code == 400
    assert "row 1" in wrong.text


@pytest.mark.parametrize(
    "question",
    [
        {"query": "recommend", "id": "nobody", "n": 1},
        {"query": "recommend", "id": "ann", "n": 0},
        {"query": "recommend", "id": "ann", "n": 10**6},
        {"query": "divine", "id": "ann", "n": 1},
        {"query": "similar", "tags": "green"},
        {"query": "similar", "tags": ["grean"]},
        {"query": "tag"},
        {"query": "explain", "id": "ann"},
        {"query": "rank", "id": "ann"},
        {"id": "ann"},
        {"query": "recommend", "liked": ["a"] * 1001},
        {"query": "recommend", "id": "a" * 1001},
        {"query": "recommend", "id": 5},
        {"query": "recommend", "id": "ann", "n": "ten"},
        {"query": "tag", "tags": ["red"], "weights": [1e300]},
    ],
)
def test_a_wrong_question_is_the_askers_fault(server: str, question: dict[str, object]) -> None:
    assert ask(server, question).status_code == 400


def test_a_table_is_bounded(server: str) -> None:
    many = ask(server, *[{"query": "recommend", "id": "ann"}] * 1001)
    assert many.status_code == 400
    assert "1,001 questions" in many.text
    rows = ask(server, *[{"query": "tag", "tags": ["red"], "n": 1000}] * 51)
    assert rows.status_code == 400
    assert "51,000 rows" in rows.text


def test_mutated_requests_never_break_the_scoring_server(server: str) -> None:
    drawn = random.Random(5)
    whole = json.dumps({"dataframe_records": [question for question, _, _ in ASKED[:3]]}).encode()
    for _ in range(80):
        body = bytearray(whole)
        for _ in range(drawn.randint(1, 4)):
            place = drawn.randrange(len(body))
            body[place : place + drawn.randint(0, 9)] = drawn.randbytes(drawn.randint(0, 3))
        kind = {"Content-Type": "application/json"}
        answer = httpx.post(f"{server}/invocations", content=bytes(body), headers=kind, timeout=90)
        assert answer.status_code in (200, 400, 415, 422), (bytes(body), answer.text)
