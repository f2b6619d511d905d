"""The same question asked in Python, in the terminal, over HTTP, of pyfunc and of a batch."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pandas as pd
import pyarrow.parquet as pq
import pytest
from starlette.testclient import TestClient

from recsys.bundle import save_bundle
from recsys.data.answers_log import AnswersLog, today
from recsys.data.likes_log import Like, LikesLog
from recsys.pipeline import batch
from recsys.pipeline.outcomes import Source
from recsys.recommend.house_rules import WatchedRules, read_rules
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


RULES = """
[[exclude]]
tags = ["t1"]
users = ["country_l0"]

[[boost]]
tags = ["t2"]
by = 1.0

[[bury]]
items = ["g0-0"]

[hide_shown]
days = 7

[diversity]
weight = 0.3

[[at_most]]
n = 2
tag = "t2"

[[at_least]]
n = 1
kind = "new"

[[pin]]
item = "g0-9"
place = 2
"""


def test_house_rules_and_fresh_likes_are_the_same_on_every_way(
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    file, answers = tmp_path / "rules.toml", AnswersLog(tmp_path / "answers.sqlite")
    file.write_text(RULES)
    plain = Recommender.load(bundle)
    users = ["c0-03", "c1-05", "n1-04", "n2-05", "reader", "odd"]
    for user in users:
        answers.record([(user, [plain.recommend(user, 1)[0].id])], day=today() - 3)
    log = LikesLog(tmp_path / "likes.sqlite")
    asked = replace(plain, rules=read_rules(file), answers=answers)
    expected = {user: asked.recommend(user, N) for user in users}
    reasons = " ".join(row.reason for found in expected.values() for row in found)
    for word in ("pinned", "boosted by t2", "new", "for diversity"):
        assert word in reasons
    terminal = Terminal(bundle, monkeypatch, capsys)
    options = ["--rules", str(file), "--answers", str(tmp_path / "answers.sqlite")]
    served = TestClient(make_app(Fixed(replace(asked, rules=WatchedRules(file), fresh=log)), "few"))
    questions = [{"query": "recommend", "id": user, "n": N} for user in users]
    # Twice: what is shown now is hidden on the next day, not at once.
    for _ in range(2):
        over_http = served.post("/questions", json={"questions": questions}).json()["answers"]
    made = batch.recommend(
        tmp_path, Source("few", "1", "b"), N, bundle, rules=read_rules(file),
        answers=str(tmp_path / "answers.sqlite"),
    )  # fmt: skip
    lists = pq.read_table(made.file("users")).to_pandas()
    for user, answered in zip(users, over_http, strict=True):
        rows = expected[user].as_dicts()
        same(answered["rows"], rows)
        same(terminal.rows("recommend", user, "--n", str(N), *options), rows)
        batched = lists[lists["user"] == user]
        assert batched["item"].tolist() == [row["id"] for row in rows]
        assert batched["score"].tolist() == pytest.approx([row["score"] for row in rows], abs=1e-4)
        for placed, row in zip(batched["placed"], rows, strict=True):
            assert row["reason"].startswith(placed)
    # MLflow's model has no log of answers.
    model = ServedRecommender()
    context = SimpleNamespace(
        artifacts={"bundle": str(bundle)}, model_config={"rules": str(file), "only": ""}
    )
    model.load_context(context)  # type: ignore[arg-type]
    without_log = replace(asked, answers=None)
    table = model.predict(None, pd.DataFrame(questions))
    for number, user in enumerate(users):
        rows = without_log.recommend(user, N).as_dicts()
        same(table[table["row"] == number].to_dict("records"), rows)
    # With likes that came in since, in the answers of all who read the log.
    log.add([Like("c0-03", "g2-1"), Like("eve", "g1-1"), Like("eve", "g1-2")])
    fresh = replace(asked, fresh=log)
    said = log.snapshot()
    assert said is not None
    made = batch.recommend(
        tmp_path, Source("few", "1", "b"), N, bundle, fresh=said.digest, said=said,
        rules=read_rules(file), answers=str(tmp_path / "answers.sqlite"),
    )  # fmt: skip
    lists = pq.read_table(made.file("users")).to_pandas()
    for user in ("c0-03", "eve", "n1-04"):
        rows = fresh.recommend(user, N).as_dicts()
        question = {"query": "recommend", "id": user, "n": N}
        answered = served.post("/questions", json={"questions": [question]}).json()["answers"][0]
        same(answered["rows"], rows)
        assert lists[lists["user"] == user]["item"].tolist() == [row["id"] for row in rows]


def test_rules_are_checked_against_a_model(
    bundle: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    terminal = Terminal(bundle, monkeypatch, capsys)
    (tmp_path / "rules.toml").write_text(RULES)
    code, shown, _ = terminal("rules", "check", str(tmp_path / "rules.toml"), "--user", "c1-05")
    assert code == 0
    assert "excludes 1, hide_shown 1, boosts 1" in shown
    assert "pinned" in shown
    assert "not on the list any more: " in shown
    (tmp_path / "rules.toml").write_text('[[boost]]\ntags = ["t22"]\n')
    code, shown, said = terminal("rules", "check", str(tmp_path / "rules.toml"))
    assert code != 0
    assert "unknown: no feature 't22'" in shown
    assert "1 of the names" in said


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
