"""The documentation keeps what it says: commands, settings, links and computed pages are real."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from docs import hooks
from flows.cli import COMMANDS
from recsys.base.config import Config, Data
from recsys.cli.commands import command_line
from tests.fixtures.pages import blocks, commands, pages, words
from tests.fixtures.paths import ROOT

MAKE = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M))


def named(page: Path) -> str:
    return str(page.relative_to(ROOT))


def every_command(program: str) -> list[tuple[str, str]]:
    """The commands of all pages that start a program."""
    return [
        (named(page), command)
        for page in pages()
        for command in commands(page, "sh", "console")
        if command.split()[0] == program
    ]


@pytest.mark.parametrize(("page", "command"), every_command("recsys"))
def test_commands_have_the_options_that_pages_name(page: str, command: str) -> None:
    group: Any = command_line(COMMANDS)
    arguments = words(command.replace("| ", ""))[1:]
    context = group.make_context("recsys", arguments, resilient_parsing=True)
    name, found, rest = group.resolve_command(context, arguments)
    assert found is not None
    if rest != ["--help"]:
        found.make_context(name, rest, parent=context)


@pytest.mark.parametrize(("page", "command"), every_command("make"))
def test_make_has_the_targets_that_pages_name(page: str, command: str) -> None:
    targets = [word for word in words(command)[1:] if "=" not in word]
    assert targets
    assert set(targets) <= MAKE


@pytest.mark.parametrize(
    ("page", "module"),
    sorted(
        (named(page), module)
        for page in pages()
        for module in set(re.findall(r"python -m ([\w.]+)", page.read_text(encoding="utf-8")))
    ),
)
def test_modules_that_pages_run_are_there(page: str, module: str) -> None:
    assert importlib.util.find_spec(module) is not None


@pytest.mark.parametrize("page", pages(), ids=named)
def test_configurations_on_pages_are_accepted(page: Path) -> None:
    for block in blocks(page):
        if block.language == "toml" and "no-test" not in block.classes:
            Config.model_validate(tomllib.loads(block.text))


@pytest.mark.parametrize("page", pages(), ids=named)
def test_python_on_pages_compiles(page: Path) -> None:
    for number, block in enumerate(blocks(page)):
        if block.language == "python":
            compile(block.text, f"{page} block {number}", "exec")


@pytest.mark.parametrize("page", pages(), ids=named)
def test_files_that_pages_name_are_there(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    kept = ("recsys", "tasks", "flows", "tests", "docs", "data/sample", ".ci")
    for found in re.findall(r"`((?:[\w.-]+/)+[\w.-]+\.(?:py|md|yaml|toml|yml))`", text):
        if found.startswith(kept) and "NAME" not in found:
            assert (ROOT / found).exists(), found
    if page.parent == ROOT:
        for link in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (ROOT / link).exists(), link


def test_the_readme_is_one_screen() -> None:
    assert len((ROOT / "README.md").read_text(encoding="utf-8").split()) < 1500


def test_every_setting_is_on_the_page_of_settings_with_its_meaning() -> None:
    text = hooks.settings()
    for name in settings(Config):
        assert f"| `{name}` |" in text, name
    without = re.findall(r"^\| `([^`]+)` \| [^|]* \| [^|]* \|  \|$", text, re.M)
    assert not without


def settings(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """The dotted names of all settings."""
    for name, field in model.model_fields.items():
        inner = Data if (model, name) == (Config, "data") else field.annotation
        if isinstance(inner, type) and issubclass(inner, BaseModel):
            yield from settings(inner, f"{prefix}{name}.")
        else:
            yield f"{prefix}{name}"


@pytest.mark.parametrize("package", hooks.PACKAGES)
def test_the_reference_has_every_public_name(package: str) -> None:
    text = hooks.reference(package)
    for name in hooks.public(package):
        assert re.search(rf"^::: recsys[\w.]*\.{name}$", text, re.M), name
        module, _, last = hooks.home(package, name).rpartition(".")
        assert last in vars(importlib.import_module(module)), f"{name} is not defined in {module}"


def test_the_reference_has_every_package() -> None:
    folders = {path.parent.name for path in (ROOT / "recsys").glob("*/__init__.py")}
    assert {f"recsys.{name}" for name in folders} | {"recsys", "recsys.bundle"} == set(
        hooks.PACKAGES
    )


def test_the_index_of_experiments_has_every_page(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "start.md").write_text(
        "# Where to start\n\nWhat is a good start? Two were tried.\n"
    )
    monkeypatch.setattr(hooks, "EXPERIMENTS", tmp_path)
    assert "- [Where to start](start.md): What is a good start?\n" in hooks.experiments_index()


def test_a_page_becomes_a_notebook() -> None:
    text = "# Title\n\nSome text.\n\n```python\nx = 1\n```\n\nMore.\n"
    cells = json.loads(hooks.notebook(text))["cells"]
    assert [cell["cell_type"] for cell in cells] == ["markdown", "code", "markdown"]
    assert cells[1]["source"] == ["x = 1"]


def test_docstrings_are_shown_without_the_marks_of_restructuredtext() -> None:
    html = "as <code>x</code> does [1]_; see :meth:<code>fit</code>. .. [1] Hu, 2008; a[0]_b"
    shown = "as <code>x</code> does [1]; see <code>fit</code>. [1] Hu, 2008; a[0]_b"
    assert hooks.plain_docstrings(html) == shown


def test_a_page_that_loads_something_from_elsewhere_is_found() -> None:
    here = '<a href="https://example.org"><img src="a.png"><script src="../x.js"></script>'
    assert not hooks.loaded_from_elsewhere(here)
    there = '<link rel="stylesheet" href="https://example.org/x.css"><script src=//example.org/y>'
    found = hooks.loaded_from_elsewhere(there)
    assert found == ["https://example.org/x.css", "//example.org/y"]
