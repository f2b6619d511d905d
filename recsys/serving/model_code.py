"""The code that goes with a registered model: the modules that it imports, and no others.

The rest of the library would be three quarters of the files that are sent to a tracking server with
each version, one by one.
"""

from __future__ import annotations

import ast
import shutil
from collections.abc import Iterable, Iterator
from functools import cache
from pathlib import Path

PACKAGE = Path(__file__).resolve().parents[1]
_BLOCKS = ("body", "orelse", "handlers", "finalbody", "cases")  # of statements in a statement


def copy_model_code(module: str, folder: Path) -> Path:
    """Copy the modules of this library that a module needs, with the packages that they are in.

    Parameters
    ----------
    module : str
        Its full name.
    folder : Path

    Returns
    -------
    Path
        The copy of the library's outermost package in the folder.
    """
    for name in needed_modules(module):
        source = _source(name)
        assert source is not None, "only modules that have a file are needed"
        target = folder / source.relative_to(PACKAGE.parent)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return folder / PACKAGE.name


@cache
def needed_modules(module: str) -> frozenset[str]:
    """The modules and packages of this library that a module imports, directly or through others.

    Imports inside of functions count, those for type checkers alone do not.

    Parameters
    ----------
    module : str
        Its full name; it is among those that are returned.
    """
    found: set[str] = set()
    waiting = [module]
    while waiting:
        parts = waiting.pop().split(".")
        for length in range(1, len(parts) + 1):
            name = ".".join(parts[:length])
            source = _source(name)
            if name not in found and source is not None:
                found.add(name)
                waiting += _imports(ast.parse(source.read_bytes()).body)
    return frozenset(found)


def _source(name: str) -> Path | None:
    """The file of a module or package of this library; None for anything else."""
    outermost, *inner = name.split(".")
    if outermost != PACKAGE.name:
        return None
    place = PACKAGE.joinpath(*inner)
    files = (place / "__init__.py", place.with_suffix(".py"))
    return next((file for file in files if file.is_file()), None)


def _imports(nodes: Iterable[ast.AST]) -> Iterator[str]:
    """Names that statements import: modules, and what may be modules in packages."""
    for node in nodes:
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif not _for_type_checkers(node):
            for block in _BLOCKS:
                yield from _imports(getattr(node, block, ()))


def _for_type_checkers(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING")
