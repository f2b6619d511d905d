"""The command line: answers, JSON, exit codes, and one clear line for everything that is wrong."""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from flows.cli import main
from tests.fixtures.planted import write_planted
from tests.fixtures.ports import free_port
from tests.fixtures.tracking_database import tracking_database

SMALL = [
    "--trials", "2", "--set", "search.max_epochs=6", "--set", "evaluate.baseline_trials=0",
    "--set", "evaluate.bootstrap_samples=50", "--set", "search.item_to_item_trials=2",
]  # fmt: skip
ONE_FOLD = ["--set", "evaluate.half_width=0"]


@dataclass
class Terminal:
    """Runs `recsys` in this process, in a folder of its own."""

    folder: Path
    monkeypatch: pytest.MonkeyPatch
    capsys: pytest.CaptureFixture[str]

    def __call__(self, *arguments: str) -> tuple[int, str, str]:
        self.monkeypatch.setattr(sys, "argv", ["recsys", *arguments])
        with pytest.raises(SystemExit) as ended:
            main()
        captured = self.capsys.readouterr()
        code = ended.value.code
        return (code if isinstance(code, int) else 0), captured.out, captured.err

    def train(self, *arguments: str) -> tuple[int, str, str]:
        return self("train", *SMALL, *ONE_FOLD, *arguments)


@pytest.fixture
def recsys(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Terminal:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    write_planted(tmp_path / "in")
    return Terminal(tmp_path, monkeypatch, capsys)


def test_from_likes_to_answers(recsys: Terminal) -> None:
    given = ("train", *SMALL, "--likes", "in/likes.psv", "--features", "in/feats.psv")
    code, out, _ = recsys(*given)
    assert code == 0
    for said in ("✓ ingest", "✓ tune", "trial   1", "popularity", "registered likes version 1"):
        assert said in out
    # 48 users say too little: all but the 48 of the search are tested.
    assert "✓ repeat    folds 4, users 192" in out
    assert "precision at 5 over 4 folds, 192 users" in " ".join(out.split())
    assert (recsys.folder / "mlruns" / "mlflow.db").exists()

    code, out, err = recsys("similar", "g1i04", "--model", "likes", "--json", "-n", "3")
    assert code == 0, err
    rows = json.loads(out)
    assert (code, len(rows)) == (0, 3)
    assert {row["id"][:2] for row in rows} == {"g1"}
    assert rows[0]["name"] == f"item {rows[0]['id']}"

    code, out, _ = recsys("recommend", "g4u01", "--model", "models:/likes/1", "-n", "2")
    assert code == 0
    assert out.count("item g4") - out.count("like item g4") == 2

    code, out, err = recsys("recommend", "g4u99", "--model", "likes")
    assert (code, out) == (4, "")
    assert "did you mean g4u" in err

    code, _, err = recsys("similar", "g1i04", "--model", "nothing")
    assert code == 4
    assert "models:/nothing@champion" in err

    code, out, err = recsys(*given, "--json")
    assert code == 0
    assert json.loads(out)["version"] == "1"

    code, out, _ = recsys(*given, "--json-lines")
    events = [json.loads(line) for line in out.splitlines()]
    assert code == 0
    done = [e for e in events if e["event"] == "StageDone"]
    assert [e["stage"] for e in done if not e["reused"]] == ["report"]
    assert events[-1]["event"] == "Outcome"

    assert recsys(*given, "--quiet")[:2] == (0, "")


def test_datasets_are_listed(recsys: Terminal) -> None:
    code, out, _ = recsys("datasets", "--json")
    found = {entry["name"]: entry for entry in json.loads(out)}
    assert code == 0
    assert set(found) == {"sample", "sketchfab", "movielens-100k"}
    assert not found["sketchfab"]["cached"]


WRONG = {
    "missing file": (["--likes", "none.psv"], 3, "no file or folder none.psv"),
    "missing column": (["--likes", "in/likes.psv", "--user-column", "x"], 3, "a column x"),
    "wrong delimiter": (["--likes", "in/likes.psv", "--delimiter", ";"], 3, "as the user"),
    "long delimiter": (["--likes", "in/likes.psv", "--delimiter", "||||"], 2, "data.delimiter"),
    "not parquet": (["--likes", "in/not.parquet"], 3, "cannot be read as Parquet"),
    "empty": (["--likes", "in/empty.psv"], 3, "in/empty.psv is empty"),
    "all duplicates": (["--likes", "in/same.psv"], 3, "no interaction of 1 is left"),
    "strangers": (
        ["--likes", "in/likes.psv", "--features", "in/strangers.psv"],
        3,
        "none of the 1 items in in/strangers.psv",
    ),
    "threshold": (["--likes", "in/likes.psv", "--set", "threshold.item_min=500"], 3, "lower thre"),
    "too few users": (["--likes", "in/likes.psv", "--set", "split.n=50"], 3, "lower split.n"),
    "no timestamp": (["--likes", "in/likes.psv", "--set", "split.method=last"], 3, "no timestamp"),
    "no registry": (
        [
            "--likes",
            "in/likes.psv",
            "--set",
            "tracking.uri=http://127.0.0.1:9",
            "--set",
            "tracking.patience=0.1",
        ],
        5,
        "no tracking server answers at http://127.0.0.1:9",
    ),
    "two sources": (["--likes", "in/likes.psv", "--dataset", "sample"], 2, "beside --likes"),
    "unknown data set": (["--dataset", "sketchfap"], 4, "sketchfab"),
    "unknown setting": (["--set", "search.trails=3"], 2, "search.trails"),
    "no setting": (["--set", "search"], 2, "expected name=value"),
    "no config": (["--config", "none.toml"], 2, "none.toml cannot be read"),
    "nothing learned": (
        [
            "--likes",
            "in/likes.psv",
            "--set",
            "search.space.learning_rate=1e9",
            "--set",
            "search.space.alpha=0.0",
        ],
        3,
        "trials diverged",
    ),
}


def test_a_held_challenger_has_an_exit_code_of_its_own(recsys: Terminal) -> None:
    tracking_database(recsys.folder / "mlruns")
    first = ("--likes", "in/likes.psv", "--set", "tracking.model=shop")
    assert recsys.train(*first)[0] == 0
    write_planted(recsys.folder / "later", seed=8)
    # From singular vectors, or beside a closed form, even such a model would be good.
    values = "learning_rate=1e-4", "no_components=2", "initialisation=random"
    hopeless = [part for value in values for part in ("--set", f"search.space.{value}")]
    hopeless += ["--set", "search.item_to_item_trials=0"]
    second = ("--likes", "later/likes.psv", "--set", "tracking.model=shop", *hopeless)
    code, out, err = recsys.train(*second)
    assert code == 7
    assert "held: version 2 is not champion; " in err
    for said in ("✗ no worse than the champion", "against version 1: Top 10 of", "challenger"):
        assert said in " ".join(out.split())
    assert "recsys recommend" not in out
    code, out, _ = recsys.train(*second, "--json")
    assert (code, json.loads(out)["held"] != []) == (7, True)
    assert recsys.train(*second, "--quiet")[:2] == (7, "")

    # Where automations cannot be told, it is done all the same.
    with recsys.monkeypatch.context() as patch:
        patch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{free_port()}/api")
        code, out, err = recsys("promote", "2", "--why", "I know better", "--model", "shop")
    assert (code, out) == (0, "version 2 of shop is champion, version 1 previous\n")
    assert err.startswith("warning: nobody is told of it: no Prefect server answers")
    code, out, _ = recsys("rollback", "--why", "I did not", "--model", "shop", "--json")
    assert json.loads(out) == {"model": "shop", "champion": "1", "previous": "2"}
    code, _, err = recsys("rollback", "--why", "again", "--model", "shop")
    assert (code, "version 2 of shop was rolled back itself" in err) == (4, True)
    code, _, err = recsys("promote", "9", "--why", "x", "--model", "shop")
    assert (code, "no model models:/shop/9 in" in err) == (4, True)
    assert recsys("promote", "1", "--model", "shop")[0] == 2

    code, out, err = recsys("batch", "--model", "shop", "-n", "3")
    assert code == 0, err
    assert "240 users and 90 items of shop version 1 in data/output/batch/shop" in out
    assert (recsys.folder / "data/output/batch/shop/users/part-00000.parquet").exists()
    code, out, _ = recsys("batch", "--model", "shop", "-n", "3", "--json")
    assert json.loads(out)["items_rows"] == 270


def test_operating_where_nothing_was_trained(recsys: Terminal) -> None:
    for command in (("promote", "1", "--why", "x"), ("rollback", "--why", "x"), ("batch",)):
        code, _, err = recsys(*command)
        assert (code, "train first" in err) == (5, True)
    assert not (recsys.folder / "mlruns").exists()


@pytest.mark.parametrize("wrong", WRONG)
def test_what_is_wrong_is_one_clear_line(wrong: str, recsys: Terminal) -> None:
    folder = recsys.folder / "in"
    (folder / "not.parquet").write_text("no")
    (folder / "empty.psv").write_text("")
    (folder / "same.psv").write_text("modelname|mid|uid\n" + "a|b|c\n" * 30)
    (folder / "strangers.psv").write_text("mid|type|value\nnobody|tag|x\n")
    arguments, expected, said = WRONG[wrong]
    code, _, err = recsys.train(*arguments)
    assert code == expected
    (line,) = [line for line in err.splitlines() if line.startswith("error:")]
    assert said in line
    assert "Traceback" not in err
    # The folder of locks stays; what a stage had begun does not.
    scratch = [p.name for p in recsys.folder.glob("data/interim/.*") if p.is_dir()]
    assert set(scratch) <= {".runs"}


def test_a_learning_curve_is_shown_drawn_and_logged(recsys: Terminal) -> None:
    tracking_database(recsys.folder / "mlruns")
    (recsys.folder / "mine.toml").write_text('[data]\nlikes = "in/likes.psv"\n')
    given = ("curve", "no_components=8", "--config", "mine.toml", "--epochs", "6", "--every", "2")
    code, out, _ = recsys(*given, "--json")
    points = json.loads(out)
    assert code == 0
    assert [point["epoch"] for point in points] == [2, 4, 6]
    assert min(points[-1]["train"], points[-1]["validation"]) > 0.2
    assert (recsys.folder / "data/output/curve.png").read_bytes().startswith(b"\x89PNG")
    uri = f"sqlite:///{recsys.folder}/mlruns/mlflow.db"
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    (run,) = client.search_runs([client.get_experiment_by_name("likes").experiment_id])
    history = client.get_metric_history(run.info.run_id, "curve/precision_at_5")
    assert [(point.step, point.value) for point in history] == [
        (point["epoch"], point["validation"]) for point in points
    ]
    assert run.data.params == {"no_components": "8"}
    code, out, _ = recsys(*given)
    assert code == 0
    assert f"{points[0]['validation']:.5f}" in out
    code, _, err = recsys("curve", "learning_rate=1e9", "--config", "mine.toml")
    assert (code, "diverged" in err) == (2, True)


def test_asking_where_nothing_was_trained(recsys: Terminal) -> None:
    code, _, err = recsys("similar", "g1i04")
    assert code == 5
    assert "train first" in err
    assert not (recsys.folder / "mlruns").exists()
    code, _, err = recsys("similar", "g1i04", "--model", "./in")
    assert code == 3
    assert "no readable manifest.json" in err


def test_settings_are_a_configuration(recsys: Terminal) -> None:
    code, out, _ = recsys("settings")
    assert code == 0
    (recsys.folder / "all.toml").write_text(out)
    code, _, err = recsys("train", "--config", "all.toml", "--set", "data.likes=none.psv")
    assert (code, "none.psv" in err) == (3, True)
