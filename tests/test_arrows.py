"""The layout's arrows: flows -> tasks -> recsys, and who may know Prefect and MLflow."""

from __future__ import annotations

import ast
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from tests.fixtures.paths import ROOT
from tests.fixtures.source import python_files

# The packages of recsys, from the ground up: one may import those before it, and itself.
ORDER = (
    "_lazy", "base", "store", "data", "ranking", "models", "bundle", "tuning", "evaluation",
    "recommend", "online", "notebook", "tracking", "serving", "pipeline", "gallery", "cli",
)  # fmt: skip
MLFLOW_ROOMS = {"tracking", "serving"}
WEB = {"starlette", "fastapi", "uvicorn", "jinja2", "h11"}
ROOMS = {
    "answering.py": {"starlette"},
    "http.py": {"starlette", "fastapi"},
    "report.py": {"jinja2"},
    "request_log.py": {"starlette"},
    "server.py": {"h11", "uvicorn"},
}


@cache
def imports(path: Path) -> list[ast.Import | ast.ImportFrom]:
    """All imports of a file, wherever in it."""
    nodes = ast.walk(ast.parse(path.read_text(encoding="utf-8")))
    return [node for node in nodes if isinstance(node, (ast.Import, ast.ImportFrom))]


def imported(path: Path) -> set[str]:
    """Top-level names of everything a file imports, wherever in it."""
    found: set[str] = set()
    for node in imports(path):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif node.module:
            found.add(node.module.split(".")[0])
    return found


def package_of(path: Path) -> str:
    """The part of recsys that a file belongs to; empty for the front door."""
    inside = path.relative_to(ROOT / "recsys").with_suffix("")
    return "" if inside.name == "__init__" and len(inside.parts) == 1 else inside.parts[0]


def named(path: Path) -> str:
    """A file's path from the repository's root."""
    return str(path.relative_to(ROOT))


def asked(path: Path) -> dict[str, set[str]]:
    """The modules of recsys that a file imports, wherever in it, by the package they are in."""
    found: dict[str, set[str]] = {}
    for node in imports(path):
        names: list[str] = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif node.module:
            names = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
        for name in names:
            parts = name.split(".")
            if parts[0] == "recsys" and len(parts) > 1:
                found.setdefault(parts[1], set()).add(name)
    return found


@pytest.mark.parametrize("path", python_files("recsys"), ids=named)
def test_packages_of_recsys_look_down_only(path: Path) -> None:
    own = package_of(path)
    if not own:
        return  # the front door hands on names of every package, and nothing asks it
    assert own in ORDER, f"{own} has no place in the order of packages"
    allowed = set(ORDER[: ORDER.index(own) + 1])
    assert not {name: where for name, where in asked(path).items() if name not in allowed}


@pytest.mark.parametrize("path", python_files("tests"), ids=named)
def test_no_test_module_is_imported_by_another(path: Path) -> None:
    """What several of them need is in tests/fixtures; fixtures of all are in a conftest."""
    modules: list[str] = []
    for node in imports(path):
        if isinstance(node, ast.Import):
            modules += [alias.name for alias in node.names]
        elif node.module:
            modules += [f"{node.module}.{alias.name}" for alias in node.names]
    own = [module.split(".") for module in modules if module.startswith("tests.")]
    assert not [m for m in own if any(p.startswith("test_") or p == "conftest" for p in m[:-1])]


@pytest.mark.parametrize("path", python_files("recsys"), ids=lambda path: path.name)
def test_recsys_looks_down_only(path: Path) -> None:
    assert not imported(path) & {"flows", "tasks", "prefect", "tests"}


@pytest.mark.parametrize("path", python_files("tasks"), ids=lambda path: path.name)
def test_tasks_do_not_know_flows_or_mlflow(path: Path) -> None:
    assert not imported(path) & {"flows", "mlflow", "lightfm", "tests"}


@pytest.mark.parametrize("path", python_files("recsys"), ids=lambda path: path.name)
def test_mlflow_stays_in_its_rooms(path: Path) -> None:
    assert package_of(path) in MLFLOW_ROOMS or "mlflow" not in imported(path)


@pytest.mark.parametrize("path", python_files("recsys"), ids=lambda path: path.name)
def test_the_web_stays_in_its_rooms(path: Path) -> None:
    inside = path.parent.name == "gallery"
    room = ROOMS.get(path.name, set())
    assert inside or not imported(path) & (WEB - room)
    # Nothing asks the gallery but the command that opens it, which does so when it is called.
    asks = "recsys.gallery" in path.read_text(encoding="utf-8")
    assert inside or not asks or path.name == "servers.py"


@pytest.mark.parametrize(
    "path", [p for part in ("recsys", "tasks", "flows") for p in python_files(part)], ids=str
)
def test_a_module_says_its_subject_in_its_first_line(path: Path) -> None:
    text = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))
    assert text
    assert text.splitlines()[0].endswith(".")


def test_the_recommender_needs_numpy_and_pyarrow_only() -> None:
    heavy = "lightfm", "mlflow", "prefect", "scipy", "sklearn", "skopt", "pandas", "pydantic"
    found = f"print([name for name in {heavy} if name in sys.modules])"
    program = f"import sys, recsys.recommend.recommender; {found}"
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr
