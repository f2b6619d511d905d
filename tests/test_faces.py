"""The faces of the packages: what each `__init__` hands on is there, and is imported when asked."""

from __future__ import annotations

import importlib
import pkgutil
import subprocess
import sys

import pytest

import recsys
from recsys._lazy import lazily
from tests.fixtures.paths import ROOT

PACKAGES = [
    "recsys",
    *(f"recsys.{found.name}" for found in pkgutil.iter_modules(recsys.__path__) if found.ispkg),
]


@pytest.mark.parametrize("name", PACKAGES)
def test_a_package_hands_on_what_it_lists(name: str) -> None:
    package = importlib.import_module(name)
    listed = getattr(package, "__all__", [])
    assert len(listed) == len(set(listed))
    # Once it is imported, a module hides the name that the package has for one of its functions.
    assert not set(listed) & {found.name for found in pkgutil.iter_modules(package.__path__)}
    for public in listed:
        assert getattr(package, public) is not None
        assert public in dir(package)


def test_a_package_imports_nothing_until_it_is_asked() -> None:
    program = (
        f"import sys, importlib; [importlib.import_module(name) for name in {PACKAGES}];"
        "print([name for name in sys.modules if name.split('.')[0] in "
        "('numpy', 'pandas', 'mlflow', 'lightfm', 'pydantic', 'rich', 'typer')])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, cwd=ROOT)
    assert done.stdout.strip() == "[]", done.stderr


def test_a_name_that_is_not_listed_is_an_attribute_error() -> None:
    get, listed = lazily("recsys.data", {".idmap": ["IdMap"]})
    assert listed() == ["IdMap"]
    with pytest.raises(AttributeError, match="has no attribute 'Nothing'"):
        get("Nothing")
