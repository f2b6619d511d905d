"""The registered model, asked over HTTP through MLflow's own scoring server."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import mlflow
import pandas as pd
import pytest

from recsys import serving
from recsys.errors import NotFoundError, RegistryError
from recsys.recommender import Recommender
from recsys.registry import Registry
from recsys.tracking import Tracker
from tests.recsys.test_bundle import bundle


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("registry")
    uri = f"sqlite:///{folder}/mlflow.db"
    tracker = Tracker.connect(uri, "fruit")
    run_id = tracker.open_study("k", "fruit", {})
    number = serving.register(uri, run_id, "fruit", bundle(folder / "bundle"), {"a": "b"})
    Registry(uri, "fruit").promote(number, by="ann", why="the first")
    return uri


def test_the_champion_is_found_by_alias(registry: str) -> None:
    found = serving.champion_version(registry, "fruit")
    assert found is not None
    assert (found[0], found[1]["a"]) == ("1", "b")
    assert serving.champion_version(registry, "vegetables") is None
    folder = serving.download("models:/fruit@champion", registry)
    assert Recommender.load(folder).recommend("ann", 1)[0].id == "b"


def test_the_environment_is_left_as_it_was(registry: str) -> None:
    before = {k: v for k, v in os.environ.items() if k.startswith("MLFLOW")}
    serving.champion_version(registry, "fruit")
    assert before == {k: v for k, v in os.environ.items() if k.startswith("MLFLOW")}


def test_what_is_not_there_is_said(registry: str, tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no model models:/fruit@nobody"):
        serving.download("models:/fruit@nobody", registry)
    with pytest.raises(RegistryError, match="no model registry at"):
        serving.download("models:/fruit@champion", f"sqlite:///{tmp_path}/none.db")


def test_nothing_in_the_model_is_pickled(registry: str) -> None:
    folder = serving.download("models:/fruit@champion", registry).parents[1]
    names = [path.suffix for path in folder.rglob("*") if path.is_file()]
    assert names
    assert not {".pkl", ".pickle", ".joblib", ".cloudpickle"} & set(names)


def test_the_pyfunc_answers_tables(registry: str) -> None:
    with serving._registry(registry):
        model = mlflow.pyfunc.load_model("models:/fruit@champion")
    questions = pd.DataFrame({"query": ["recommend", "similar"], "id": ["ann", "a"], "n": [2, 1]})
    answers = model.predict(questions)
    assert answers[["row", "id"]].to_numpy().tolist() == [[0, "b"], [0, "d"], [1, "b"]]


@pytest.fixture(scope="module")
def server(registry: str) -> Iterator[str]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
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
        deadline = time.monotonic() + 90
        while time.monotonic() < deadline:
            try:
                httpx.get(f"{address}/ping", timeout=2).raise_for_status()
                break
            except httpx.HTTPError:
                time.sleep(0.3)
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
    assert answer.json()["predictions"] == [{"row": 0, "id": "b", "name": "b", "score": 1.75}]


@pytest.mark.parametrize(
    "question",
    [
        {"query": "recommend", "id": "nobody", "n": 1},
        {"query": "recommend", "id": "ann", "n": 0},
        {"query": "recommend", "id": "ann", "n": 10**6},
        {"query": "divine", "id": "ann", "n": 1},
        {"id": "ann"},
    ],
)
def test_a_wrong_question_is_the_askers_fault(server: str, question: dict[str, object]) -> None:
    assert ask(server, question).status_code == 400
