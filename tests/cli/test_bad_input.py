"""What is wrong with a command is said at once: one line, an exit code, nothing else done."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import dataclass
from typing import Any

import pytest

from tests.fixtures.bundles import write_bundle
from tests.fixtures.paths import ROOT
from tests.fixtures.planted import write_planted

LIKES, FEATURES = "in/likes.psv", "in/feats.psv"

# Arguments, exit code, and what the line says.
WRONG: dict[str, tuple[list[str], int, str]] = {
    "missing file": (["train", "--likes", "none.psv"], 3, "no file or folder none.psv"),
    "missing features": (
        ["train", "--likes", LIKES, "--features", "none.psv"], 3, "no file or folder none.psv"
    ),
    "missing second features": (
        ["train", "--likes", LIKES, "--features", FEATURES, "--features", "none.psv"], 3,
        "no file or folder none.psv",
    ),
    "missing user features": (
        ["train", "--likes", LIKES, "--user-features", "none"], 3, "no file or folder none"
    ),
    "empty file": (["train", "--likes", "empty.psv"], 3, "empty.psv is empty"),
    "only a header": (["train", "--likes", "header.csv"], 3, "none is usable"),
    "undecided ratings": (["train", "--likes", "stars.csv"], 3, "liked_from"),
    "empty features": (
        ["train", "--likes", LIKES, "--features", "empty.psv"], 3, "empty.psv is empty"
    ),
    "not parquet": (["train", "--likes", "not.parquet"], 3, "cannot be read as Parquet"),
    "wrong column": (["train", "--likes", LIKES, "--user-column", "user"], 3, "a column user"),
    "wrong feature column": (
        ["train", "--likes", LIKES, "--features", FEATURES,
         "--set", "data.feature_value_column=tag"], 3, "a column tag",
    ),
    "wrong delimiter": (["train", "--likes", LIKES, "--delimiter", ";"], 3, "as the user"),
    "no timestamp": (
        ["train", "--likes", LIKES, "--set", "split.method=last"], 3, "no timestamp"
    ),
    "unknown data set": (["train", "--dataset", "sketchfap"], 4, "sketchfab"),
    "unknown setting": (["train", "--set", "search.trails=3"], 2, "search.trails"),
    "setting without value": (["train", "--set", "search"], 2, "expected name=value"),
    "setting of a wrong type": (["train", "--set", "search.trials=many"], 2, "search.trials"),
    "setting out of range": (["train", "--set", "split.share=2"], 2, "split.share"),
    "misspelt hyper-parameter": (
        ["train", "--likes", LIKES, "--set", "search.space.learning_rat=0.1"], 2, "learning_rate"
    ),
    "number as text": (
        ["train", "--likes", LIKES, "--set", "search.space.no_components='many'"], 2, "many"
    ),
    "condition on no dimension": (
        ["train", "--likes", LIKES, "--config", "condition.toml"], 2, "rename it in `when`"
    ),
    "setting into a value": (["train", "--set", "seed.x=2"], 2, "seed"),
    "wrong TOML": (["train", "--config", "broken.toml"], 2, "broken.toml is not TOML"),
    "binary TOML": (["train", "--config", "binary.toml"], 2, "binary.toml is not TOML"),
    "missing TOML": (["train", "--config", "none.toml"], 2, "none.toml cannot be read"),
    "folder as TOML": (["train", "--config", "in"], 2, "in cannot be read"),
    "unknown name in TOML": (["train", "--config", "unknown.toml"], 2, "serach"),
    "batch without registry": (["batch"], 5, "train first"),
    "gallery without registry": (["gallery"], 5, "train first"),
    "batch with wrong TOML": (["batch", "--config", "broken.toml"], 2, "is not TOML"),
    "question without registry": (["recommend", "ann"], 5, "train first"),
    "question with a missing list": (
        ["recommend", "ann", "--only", "stock.csv", "--model", "./bundle"], 4, "no file stock.csv"
    ),
    "question to no bundle": (["similar", "a", "--model", "./in"], 3, "manifest.json"),
    "user and features": (["recommend", "ann", "--feature", "a"], 2, "give one of them"),
    "promote without registry": (["promote", "1", "--why", "x"], 5, "train first"),
    "rollback without registry": (["rollback", "--why", "x"], 5, "train first"),
    "curve with wrong TOML": (["curve", "--config", "broken.toml"], 2, "is not TOML"),
    "serve without registry": (["serve"], 5, "train first"),
    "serve of an address": (["serve", "--model", "models:/a/1"], 2, "a registered model"),
    "gallery with wrong setting": (["gallery", "--set", "galery.x=1"], 2, "galery"),
    "trigger with wrong parameter": (["trigger", "nightly", "--param", "x"], 2, "name=value"),
}  # fmt: skip

# Runs all of them in one process: what a second run finds is the same, and importing takes seconds.
PROGRAM = """
import contextlib, io, json, os, pathlib, sys
from flows.cli import main
def files():
    return sorted(str(path) for path in pathlib.Path().rglob("*"))
for name, arguments in json.loads(sys.argv[1]).items():
    sys.argv = ["recsys", *arguments]
    out, err, before = io.StringIO(), io.StringIO(), files()
    code = None
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main()
        except SystemExit as ended:
            code = ended.code
    found = {
        "code": code, "out": out.getvalue(), "err": err.getvalue(),
        "made": sorted(set(files()) - set(before)),
        "servers": sorted({"prefect", "mlflow", "uvicorn"} & set(sys.modules)),
    }
    print(json.dumps([name, found]), flush=True)
"""


@dataclass(frozen=True)
class Ended:
    """How a command ended.

    Parameters
    ----------
    code : int
    out, err : str
    made : list of str
        Files and folders that were not there before.
    servers : list of str
        Those of Prefect, MLflow and Uvicorn that were imported; without them no server is started.
    """

    code: int
    out: str
    err: str
    made: list[str]
    servers: list[str]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Ended]:
    folder = tmp_path_factory.mktemp("wrong")
    write_planted(folder / "in")
    write_bundle(folder / "bundle")
    (folder / "header.csv").write_text("user,item\n")
    stars = "".join(f"u{n % 9},i{n % 7},{1 + n % 5}\n" for n in range(60))
    (folder / "stars.csv").write_text(f"user,item,rating\n{stars}")
    (folder / "empty.psv").write_text("")
    (folder / "not.parquet").write_text("no")
    (folder / "broken.toml").write_text("[data\n")
    (folder / "binary.toml").write_bytes(b"\xff\xfe\x00")
    dimension = 'low = 8\nhigh = 64\nwhen = { none = ["x"] }'
    (folder / "condition.toml").write_text(f"[search.space.no_components]\n{dimension}\n")
    (folder / "unknown.toml").write_text("[serach]\ntrials = 3\n")
    arguments: dict[str, Any] = {name: given for name, (given, _, _) in WRONG.items()}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, json.dumps(arguments)],
        cwd=folder, env={"PYTHONPATH": str(ROOT), "PATH": "", "HOME": str(folder / "home")},
        stdout=subprocess.PIPE, text=True, check=True,
    )  # fmt: skip
    return {name: Ended(**found) for name, found in map(json.loads, done.stdout.splitlines())}


@pytest.mark.parametrize("wrong", WRONG)
def test_one_line_and_an_exit_code(wrong: str, ended: dict[str, Ended]) -> None:
    _, code, said = WRONG[wrong]
    found = ended[wrong]
    assert found.code == code, found.err
    assert found.out == ""
    (line,) = found.err.splitlines()
    assert line.startswith("error: ")
    assert said in line


@pytest.mark.parametrize("wrong", WRONG)
def test_nothing_is_started_or_written(wrong: str, ended: dict[str, Ended]) -> None:
    assert ended[wrong].made == []
    assert ended[wrong].servers == []
