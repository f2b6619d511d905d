"""The layout's arrows: flows -> tasks -> recsys, and who may know Prefect and MLflow."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
MLFLOW_ROOMS = {"tracking.py", "serving.py", "registry.py"}
WEB = {"starlette", "fastapi", "uvicorn", "jinja2", "h11"}
ROOMS = {"server.py": {"h11", "starlette", "uvicorn", "fastapi"}, "report.py": {"jinja2"}}


def imported(path: Path) -> set[str]:
    """Top-level names of everything a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            found.add(node.module.split(".")[0])
    return found


def files(package: str) -> list[Path]:
    found = sorted((ROOT / package).rglob("*.py"))
    assert found, f"no files in {package}"
    return found


@pytest.mark.parametrize("path", files("recsys"), ids=lambda path: path.name)
def test_recsys_looks_down_only(path: Path) -> None:
    assert not imported(path) & {"flows", "tasks", "prefect", "tests"}


@pytest.mark.parametrize("path", files("tasks"), ids=lambda path: path.name)
def test_tasks_do_not_know_flows_or_mlflow(path: Path) -> None:
    assert not imported(path) & {"flows", "mlflow", "lightfm", "tests"}


@pytest.mark.parametrize("path", files("recsys"), ids=lambda path: path.name)
def test_mlflow_stays_in_its_rooms(path: Path) -> None:
    assert path.name in MLFLOW_ROOMS or "mlflow" not in imported(path)


@pytest.mark.parametrize("path", files("recsys"), ids=lambda path: path.name)
def test_the_web_stays_in_its_rooms(path: Path) -> None:
    inside = path.parent.name == "gallery"
    room = ROOMS.get(path.name, set())
    assert inside or not imported(path) & (WEB - room)
    # Nothing asks the gallery but the command that opens it, which does so when it is called.
    asks = "recsys.gallery" in path.read_text(encoding="utf-8")
    assert inside or not asks or path.name == "cli.py"


@pytest.mark.parametrize(
    "path", [p for part in ("recsys", "tasks", "flows") for p in files(part)], ids=str
)
def test_a_module_says_its_subject_in_its_first_line(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert text
    assert text.splitlines()[0].endswith(".")


def test_the_recommender_needs_numpy_and_pyarrow_only() -> None:
    heavy = "lightfm", "mlflow", "prefect", "scipy", "sklearn", "skopt", "pandas", "pydantic"
    program = (
        f"import sys, recsys.recommender; print([name for name in {heavy} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr
