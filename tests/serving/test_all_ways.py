"""The same question asked in Python, in the terminal, over HTTP, of pyfunc and of a batch."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from recsys.bundle import save_bundle
from recsys.pipeline import batch
from recsys.pipeline.outcomes import Source
from recsys.recommend.queries.filters import Filters
from recsys.recommend.recommender import Recommender
from recsys.serving.champion import Champion
from recsys.serving.http import make_app
from recsys.serving.pyfunc import ServedRecommender
from tests.fixtures.few_likes import few_likes_bundle, write_few_likes
from tests.fixtures.terminal import Terminal

N = 5
QUESTIONS: dict[str, dict[str, Any]] = {
    "trained": {"id": "c0-03"},
    "few likes": {"id": "n1-04"},
    "features alone": {"id": "reader"},
    "popularity": {"id": "odd"},
    "trained and new likes": {"id": "c0-03", "liked": ["g2-1", "g2-2", "g2-3"]},
    "few likes and new ones": {"id": "n1-03", "liked": ["g2-1", "g2-2", "g2-3"]},
    "features and a tag": {"id": "reader", "tags": ["t2"]},
    "somebody new": {"liked": ["g2-1", "rare-0"]},
    "an allow-list": {"id": "n1-04", "only": ["g0-1", "g1-1", "g1-2", "g2-7", "g2-8", "g2-9"]},
}


class Fixed(Champion):
    """A champion that no registry has to tell of."""

    def __init__(self, recommender: Recommender) -> None:
        super().__init__("few", "sqlite:///nowhere")
        self._answers = recommender

    def current_version(self) -> tuple[str, Recommender]:
        return "1", self._answers


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ways")
    (folder / "bundle").mkdir()
    save_bundle(folder / "bundle", few_likes_bundle(folder, write_few_likes(folder / "data")))
    return folder / "bundle"


@pytest.fixture(scope="module")
def client(bundle: Path) -> TestClient:
    return TestClient(make_app(Fixed(Recommender.load(bundle)), "few"))


def in_python(recommender: Recommender, asked: dict[str, Any]) -> list[dict[str, Any]]:
    others = {name: value for name, value in asked.items() if name not in ("id", "only")}
    others["filters"] = Filters(only=asked.get("only"))
    if "id" in asked:
        return recommender.recommend(asked["id"], N, **others).as_dicts()
    return recommender.recommend_for(others.pop("liked"), N, **others).as_dicts()


def in_terminal(recsys: Terminal, asked: dict[str, Any]) -> list[dict[str, Any]]:
    arguments = [asked["id"]] if "id" in asked else []
    for name in ("liked", "tags", "only"):
        for value in asked.get(name, ()):
            arguments += [f"--{name.removesuffix('s')}", value]
    return recsys.rows("recommend", *arguments, "--n", str(N))


def same(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    assert [(row["id"], row["reason"]) for row in found] == [
        (row["id"], row["reason"]) for row in expected
    ]
    scores = [row["score"] for row in expected]
    assert [row["score"] for row in found] == pytest.approx(scores, abs=1e-5)


@pytest.mark.parametrize("name", QUESTIONS)
def test_every_way_gives_the_same_answer(
    name: str,
    bundle: Path,
    client: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    asked = QUESTIONS[name]
    recommender = Recommender.load(bundle)
    expected = in_python(recommender, asked)
    assert len(expected) == N
    same(in_terminal(Terminal(bundle, monkeypatch, capsys), asked), expected)
    question = {"query": "recommend", "n": N, **asked}
    answered = client.post("/questions", json={"questions": [question]}).json()["answers"][0]
    same(answered["rows"], expected)
    served = ServedRecommender()
    served.load_context(SimpleNamespace(artifacts={"bundle": str(bundle)}))  # type: ignore[arg-type]
    table = served.predict(None, pd.DataFrame([question]))
    same(table.to_dict("records"), expected)
    if "id" in asked:
        notes = recommender.recommend(asked["id"], N, liked=asked.get("liked", ())).notes
        if "tags" not in asked:
            assert tuple(answered["notes"]) == notes
    liked = {row.id for row in recommender.liked(asked["id"])} if "id" in asked else set()
    assert not {row["id"] for row in expected} & (liked | set(asked.get("liked", ())))


def test_items_are_ranked_alike(
    bundle: Path,
    client: TestClient,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    items = ["g0-1", "g1-1", "rare-0", "g2-7", "lone"]
    expected = Recommender.load(bundle).rank("n1-04", items, liked=["g2-3"]).as_dicts()
    terminal = Terminal(bundle, monkeypatch, capsys)
    same(terminal.rows("rank", "n1-04", *items, "--liked", "g2-3"), expected)
    question = {"query": "rank", "id": "n1-04", "items": items, "liked": ["g2-3"]}
    answered = client.post("/questions", json={"questions": [question]}).json()["answers"][0]
    same(answered["rows"], expected)
    served = ServedRecommender()
    served.load_context(SimpleNamespace(artifacts={"bundle": str(bundle)}))  # type: ignore[arg-type]
    same(served.predict(None, pd.DataFrame([question])).to_dict("records"), expected)


def test_new_likes_of_a_known_user_change_the_answer(bundle: Path) -> None:
    recommender = Recommender.load(bundle)
    new = ["g2-1", "g2-2", "g2-3", "g2-4"]
    for user in ("c0-03", "n1-03", "reader", "odd"):
        before = [row.id for row in recommender.recommend(user, N)]
        after = [row.id for row in recommender.recommend(user, N, liked=new)]
        assert after != before
        assert sum(item.startswith("g2") for item in after) > sum(
            item.startswith("g2") for item in before
        )
        assert not set(after) & set(new)
        old = [row.id for row in recommender.liked(user)]
        assert [row.id for row in recommender.recommend(user, N, liked=old)] == before


def test_a_batch_has_the_same_lists(bundle: Path, tmp_path: Path) -> None:
    made = batch.recommend(tmp_path, Source("few", "1", "b"), N, bundle)
    lists = pq.read_table(made.file("users")).to_pandas()
    recommender = Recommender.load(bundle)
    for asked in QUESTIONS.values():
        if list(asked) == ["id"]:
            rows = lists[lists["user"] == asked["id"]].sort_values("rank")
            expected = in_python(recommender, asked)
            assert rows["item"].tolist() == [row["id"] for row in expected]
            assert rows["score"].tolist() == pytest.approx(
                [row["score"] for row in expected], abs=1e-4
            )
