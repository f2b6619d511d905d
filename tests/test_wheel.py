"""The wheel: complete, and of use in an empty folder where there is no checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import venv
from pathlib import Path
from zipfile import ZipFile

import pytest

from tests.fixtures.paths import ROOT
from tests.fixtures.prefect_harness import migrated_home
from tests.fixtures.tracking_database import tracking_database

# Short, and on the sample that comes with the package.
TRAIN = [
    "train",
    *(
        f"--set={setting}"
        for setting in (
            "search.trials=1", "search.max_epochs=3", "search.space.no_components=8",
            "search.item_to_item_trials=0", "evaluate.baseline_trials=0",
            "evaluate.withheld=false", "evaluate.bootstrap_samples=50", "evaluate.half_width=0",
            "threshold.user_min=20", "threshold.item_min=20",
        )
    ),
]  # fmt: skip


def run(*command: str | Path, folder: Path) -> str:
    """What a program printed that has to succeed, run without anything of the checkout."""
    hidden = "PYTHONPATH", "PREFECT_API_URL", "MLFLOW_TRACKING_URI"
    variables = {name: value for name, value in os.environ.items() if name not in hidden}
    variables |= {"PREFECT_HOME": str(folder / ".prefect"), "COLUMNS": "120"}
    done = subprocess.run(command, cwd=folder, env=variables, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: nothing is left behind in the checkout."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    for part in ("recsys", "tasks", "flows", "data/sample"):
        unwanted = shutil.ignore_patterns("__pycache__", "_kernel.*", "_sums.*")
        shutil.copytree(ROOT / part, source / part, symlinks=True, ignore=unwanted)
    for name in ("README.md", "LICENSE", "prefect.yaml"):
        shutil.copy(ROOT / name, source)
    # What is compiled without optimizing takes a fourth of the time.
    settings = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    unhurried = re.sub(r'"-O\d"', '"-O0"', settings)
    (source / "pyproject.toml").write_text(unhurried, encoding="utf-8")
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-build-isolation", "--no-deps"]
    run(*build, "--wheel-dir", folder, source, folder=folder)
    (found,) = folder.glob("*.whl")
    return found


@pytest.fixture(scope="module")
def programs(wheel: Path) -> Path:
    """The programs of an environment with the wheel, which finds other packages in this one."""
    place = wheel.parent / "venv"
    venv.create(place, with_pip=False, symlinks=True)
    python = place / "bin" / "python"
    install = [sys.executable, "-m", "pip", "--python", python, "install", "--quiet"]
    run(*install, "--no-index", "--no-deps", wheel, folder=wheel.parent)
    (packages,) = place.glob("lib/python*/site-packages")
    # A folder that is added so is searched after the wheel's, and its own links, to the checkout
    # among them, are not followed.
    others = [path for path in sys.path if Path(path).name == "site-packages"]
    (packages / "others.pth").write_text("\n".join(others), encoding="utf-8")
    return place / "bin"


def test_it_holds_the_sample_the_pages_the_kernel_and_no_tests(wheel: Path) -> None:
    with ZipFile(wheel) as opened:
        names = set(opened.namelist())
        sample = opened.read("recsys/data/sample/likes.psv.gz")
    assert sample == (ROOT / "data/sample/likes.psv.gz").read_bytes()
    for folder in ("recsys/gallery/templates", "recsys/gallery/static", "recsys/pipeline/pages"):
        pages = {path.relative_to(ROOT).as_posix() for path in (ROOT / folder).iterdir()}
        assert {page for page in pages if not page.endswith("__pycache__")} <= names, folder
    sources = {
        path.relative_to(ROOT).as_posix()
        for package in ("recsys", "tasks", "flows")
        for path in (ROOT / package).rglob("*.py")
    }
    assert {name for name in names if name.endswith(".py")} == sources
    for built in ("recsys/models/_kernel.", "recsys/ranking/_sums."):
        assert [name for name in names if name.startswith(built)], built


def test_it_is_imported_and_says_what_it_can_do(programs: Path, tmp_path: Path) -> None:
    where = "import recsys, tasks, flows; print(recsys.__file__, tasks.__file__, flows.__file__)"
    for place in run(programs / "python", "-c", where, folder=tmp_path).split():
        assert Path(place).is_relative_to(programs.parent), place
    assert "recommend" in run(programs / "recsys", "--help", folder=tmp_path)
    assert "sample" in run(programs / "recsys", "datasets", folder=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_it_trains_on_the_sample_in_an_empty_folder(
    programs: Path, tmp_path: Path, prefect_server: None
) -> None:
    # Tables take longer than the training.
    migrated_home(tmp_path / ".prefect")
    tracking_database(tmp_path / "mlruns")
    run(programs / "recsys", *TRAIN, folder=tmp_path)
    assert (tmp_path / "mlruns" / "mlflow.db").is_file()
    similar = run(programs / "recsys", "similar", "--json", "debhelper", folder=tmp_path)
    assert similar.startswith("[")
