"""The project's deployments as they are read: what is wrong with the file is said in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from recsys.base.errors import ConfigError
from tests.fixtures.paths import ROOT

PROGRAM = """
import sys
from pathlib import Path
from flows import deploy
from recsys.base.errors import ConfigError

for folder in sys.argv[1:]:
    try:
        print(len(deploy._read(Path(folder))))
    except ConfigError as fault:
        print(fault)
"""
WHOLE = "deployments: [{name: a, entrypoint: f.py:f, work_pool: {name: pool}}]"
WRONG = {
    "no file": (None, "cannot be read"),
    "no YAML": ("a: [", "cannot be read"),
    "a list": ("[1]", "has no list of deployments"),
    "empty": ("", "has no list of deployments"),
    "no deployments": ("name: x", "has no list of deployments"),
    "none of them": ("deployments: []", "has no list of deployments"),
    "a text": ("deployments: all", "has no list of deployments"),
    "no mapping": ("deployments: [a]", "number 1 without name, entrypoint, work_pool.name"),
    "no entrypoint": (
        "deployments: [{name: a, work_pool: {name: p}}]", "a without entrypoint",
    ),
    "empty entrypoint": (
        "deployments: [{name: a, entrypoint: '', work_pool: {name: p}}]", "a without entrypoint",
    ),
    "no work pool": ("deployments: [{name: a, entrypoint: x}]", "a without work_pool.name"),
    "no such flow": (
        "deployments: [{name: a, entrypoint: 'x/y.py:f', work_pool: {name: p}}]",
        "a deployment a of x/y.py, which is not there",
    ),
    "a pool without name": (
        "deployments: [{name: a, entrypoint: x, work_pool: p}]", "a without work_pool.name",
    ),
}  # fmt: skip


@pytest.mark.parametrize("options", [[], ["-O"]], ids=["plain", "optimised"])
def test_a_file_that_is_wrong_is_refused_in_one_line(options: list[str], tmp_path: Path) -> None:
    texts = {case: text for case, (text, _) in WRONG.items()} | {"whole": WHOLE}
    for case, text in texts.items():
        (tmp_path / case).mkdir()
        (tmp_path / case / "f.py").touch()
        if text is not None:
            (tmp_path / case / "prefect.yaml").write_text(text)
    folders = [str(tmp_path / case) for case in texts]
    done = subprocess.run(
        [sys.executable, *options, "-c", PROGRAM, *folders],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    *said, whole = done.stdout.splitlines()
    assert whole == "1"
    assert len(said) == len(WRONG)
    for line, (case, (_, expected)) in zip(said, WRONG.items(), strict=True):
        assert line.startswith(f"{tmp_path / case / 'prefect.yaml'} "), line
        assert expected in line
        assert "each with a name, an entrypoint and a work pool" in line


@pytest.mark.parametrize("password", ["p/w", "p#w", "p?w", "p w", "p%2Fw", "p@w"])
def test_passwords_are_no_parameters(password: str) -> None:
    from flows.parameters import require_no_passwords
    from flows.trigger import trigger

    address = f"postgresql://u:{password}@db/mlflow"
    # Before any server is asked.
    with pytest.raises(ConfigError, match=r"--param: config.tracking.uri has a user or") as refused:
        trigger("nightly", {"config.tracking.uri": address})
    assert password not in str(refused.value)
    nested = {"config": {"data": {"likes": ["a.csv", "s3://key:secret@bucket/likes"]}}}
    with pytest.raises(ConfigError, match=r"config.data.likes.1 has a user or a password"):
        require_no_passwords("prefect.yaml", nested)
    require_no_passwords(
        "prefect.yaml",
        {"config": {"tracking": {"uri": "http://mlflow:5000"}, "seed": 3, "data": {"likes": None}}},
    )
    require_no_passwords("prefect.yaml", {"likes": "https://host/likes.csv?version=2"})
