"""Programs that no test runs (benchmarks, the soak test) import what is there.

Imports inside functions count too, as do those of programs that stand in strings.
"""

from __future__ import annotations

import ast
import importlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.fixtures.paths import ROOT
from tests.fixtures.source import python_files

OWN = ("recsys", "tasks", "flows", "tests")


def own_imports(text: str) -> Iterator[tuple[str, str | None]]:
    """Modules of the project that a program imports, each with a name taken from it, if any."""
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            yield from ((a.name, None) for a in node.names if a.name.split(".")[0] in OWN)
        elif isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in OWN:
            yield from ((node.module or "", alias.name) for alias in node.names)
        elif isinstance(node, ast.Constant) and "import" in str(node.value):
            try:
                yield from own_imports(str(node.value))
            except SyntaxError:
                continue  # prose


@pytest.mark.parametrize(
    "path",
    [*python_files("tests/benchmarks"), ROOT / "tests/soak.py", ROOT / "tests/readme_commands.py"],
    ids=lambda path: path.stem,
)
def test_what_it_imports_is_there(path: Path) -> None:
    for module, name in own_imports(path.read_text(encoding="utf-8")):
        found = importlib.import_module(module)
        if name is not None and not hasattr(found, name):
            importlib.import_module(f"{module}.{name}")
