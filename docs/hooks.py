"""The computed pages of the documentation: settings, Python reference, experiments, notebook.

MkDocs calls `on_config` and `on_files` (see `hooks` in mkdocs.yml). What the pages say is made by
plain functions, so that it can be tested without building the site.
"""

from __future__ import annotations

import importlib
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, get_args

from mkdocs.config.defaults import MkDocsConfig
from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page
from pydantic import BaseModel

from recsys.base.config import Config, Data
from recsys.base.dimensions import Choice, Range

DOCS = Path(__file__).parent
EXPERIMENTS = DOCS / "experiments"
NOTEBOOK = "tutorials/dataframe.ipynb"
# In the order in which they build on each other, the most used ones first.
PACKAGES = (
    "recsys", "recsys.notebook", "recsys.recommend", "recsys.models", "recsys.data",
    "recsys.ranking", "recsys.evaluation", "recsys.tuning", "recsys.bundle",
    "recsys.serving", "recsys.online", "recsys.tracking", "recsys.pipeline", "recsys.store",
    "recsys.base", "recsys.gallery", "recsys.cli",
)  # fmt: skip


def on_config(config: MkDocsConfig) -> MkDocsConfig:
    """Put the computed pages into the navigation."""
    pages = {
        "reference/": ["reference/index.md", *({p: f"reference/{p}.md"} for p in PACKAGES)],
        "experiments/": ["experiments/index.md", *(f"experiments/{p.name}" for p in experiments())],
    }
    assert config.nav is not None, "mkdocs.yml has a nav"
    config.nav = [
        {title: pages.get(where, where) if isinstance(where, str) else where}
        for entry in config.nav
        for title, where in (entry.items() if isinstance(entry, dict) else [("Home", entry)])
    ]
    return config


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the computed pages to the files of the site."""
    made = {
        "settings.md": settings(),
        "reference/index.md": reference_index(),
        "experiments/index.md": experiments_index(),
        NOTEBOOK: notebook((DOCS / NOTEBOOK).with_suffix(".md").read_text(encoding="utf-8")),
    }
    made |= {f"reference/{name}.md": reference(name) for name in PACKAGES}
    for path, content in made.items():
        files.append(File.generated(config, path, content=content))
    return files


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Show the reStructuredText of docstrings, which numpydoc uses for references, as text."""
    return plain_docstrings(html) if page.file.src_uri.startswith("reference/") else html


def on_post_page(output: str, page: Page, config: MkDocsConfig) -> str:
    """Refuse a page that a browser would load something from elsewhere for.

    Raises
    ------
    PluginError
        If there is one; it ends the build.
    """
    if found := loaded_from_elsewhere(output):
        raise PluginError(f"{page.file.src_uri} loads {found[0]}: put a copy into docs/assets")
    return output


def plain_docstrings(html: str) -> str:
    """Citations (`[1]_`), their targets (`.. [1]`) and roles (`:meth:`) without their marks."""
    html = re.sub(r"(?<=\[\d\])_(?!\w)", "", html)
    html = re.sub(r"\.\. (?=\[\d\] )", "", html)
    return re.sub(r":(?:attr|class|data|func|meth|mod):(?=<code>)", "", html)


def loaded_from_elsewhere(html: str) -> list[str]:
    """Addresses on other machines of scripts, styles, pictures and frames."""
    tags = (
        r"<(?:script|link|img|iframe|source)\b[^>]*?\b(?:src|href)=[\"']?((?:https?:)?//[^\"'\s>]+)"
    )
    return re.findall(tags, html)


# Settings


def settings() -> str:
    """The page of all settings: name, type, default and meaning, read from the models."""
    schema = Config.model_json_schema()
    lines = [
        "# Settings",
        "",
        "Every setting of `recsys train`, the flows and the deployments. Put those that you change",
        "into a TOML file and give it with `--config`, or give single ones with `--set`:",
        "",
        "```console",
        "recsys train --config mine.toml --set search.trials=60 --set split.share=0.1",
        "```",
        "",
        "`recsys settings` prints all of them with their defaults as a TOML file to start from.",
        "A name that is unknown, or a value that is not allowed, is refused before anything runs.",
        "",
        "## General",
        "",
        *_table("", Config, schema),
    ]
    for name, field in Config.model_fields.items():
        model = Data if name == "data" else field.annotation
        if not (isinstance(model, type) and issubclass(model, BaseModel)):
            continue
        about = " ".join((model.__doc__ or "").split())
        lines += ["", f"## {name}", "", about, "", *_table(f"{name}.", model, schema)]
        lines += _spaces(name, model)
        lines += _tables(name, model, schema)
    return "\n".join(lines) + "\n"


def _table(prefix: str, model: type[BaseModel], schema: Mapping[str, Any]) -> Iterator[str]:
    """One row a setting; sections and search spaces have tables of their own."""
    properties = schema if model is Config else schema["$defs"][model.__name__]
    yield "| setting | type | default | meaning |"
    yield "| --- | --- | --- | --- |"
    for name, field in sorted(model.model_fields.items(), key=lambda one: not one[1].is_required()):
        about = properties["properties"][name]
        if "$ref" in about or _is_section(field.annotation) or (model, name) == (Config, "data"):
            continue
        default = _default(field.get_default(call_default_factory=True), field.is_required())
        cells = (f"`{prefix}{name}`", _kind(about), default, field.description or "")
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _tables(section: str, model: type[BaseModel], schema: Mapping[str, Any]) -> Iterator[str]:
    """The settings of tables that are values of a setting, each kind of table once."""
    shown = set()
    for name, field in model.model_fields.items():
        inner = None if _is_section(field.annotation) else _section_in(field.annotation)
        searched = isinstance(field.get_default(call_default_factory=True), dict)
        if inner is None or inner in shown or searched:
            continue
        shown.add(inner)
        about = " ".join((inner.__doc__ or "").split())
        yield from ("", f"### A table of {section}.{name}", "", about, "")
        yield from _table("", inner, schema)


def _section_in(annotation: Any) -> type[BaseModel] | None:
    """The section that is in a type, such as in a list of sections or texts."""
    if _is_section(annotation):
        found: type[BaseModel] = annotation
        return found
    return next(filter(None, map(_section_in, get_args(annotation))), None)


def _is_section(annotation: Any) -> bool:
    return isinstance(annotation, type) and issubclass(annotation, BaseModel)


def _default(value: Any, required: bool) -> str:
    if required:
        return "*required*"
    if value is None:
        return "*none*"
    if isinstance(value, dict):
        return "see below"
    return f"`{json.dumps(value)}`"


def _kind(about: Mapping[str, Any]) -> str:
    """A type in words, from its JSON schema."""
    if "$ref" in about:
        return "table"
    if branches := about.get("anyOf") or about.get("oneOf"):
        kinds = [_kind(one) for one in branches if one.get("type") != "null"]
        return " or ".join(dict.fromkeys(kinds))
    if "enum" in about:
        return ", ".join(f"`{json.dumps(value)}`" for value in about["enum"])
    kind = about.get("type")
    if kind == "array":
        return f"list of {_plural(about['items'])}"
    if kind == "object":
        several = about.get("additionalProperties", {})
        return "table of texts" if several.get("type") == "string" else "table of dimensions"
    if kind == "boolean":
        return "`true` or `false`"
    if kind in ("integer", "number"):
        return ("whole number" if kind == "integer" else "number") + _bounds(about)
    return "one character" if about.get("maxLength") == 1 else "text"


def _plural(about: Mapping[str, Any]) -> str:
    if "$ref" in about:
        return "tables"
    if branches := about.get("oneOf"):
        return " or ".join(dict.fromkeys(map(_plural, branches)))
    return {"integer": "whole numbers", "number": "numbers"}.get(about.get("type", ""), "texts")


def _bounds(about: Mapping[str, Any]) -> str:
    words = {
        "minimum": "at least", "exclusiveMinimum": "above",
        "maximum": "at most", "exclusiveMaximum": "below",
    }  # fmt: skip
    # The largest number of 32 bits bounds what arrays can index, which nobody needs to read.
    found = [
        f"{word} {about[key]:g}" for key, word in words.items() if about.get(key, 2**31) < 2**31
    ]
    return f", {' and '.join(found)}" if found else ""


def _spaces(section: str, model: type[BaseModel]) -> Iterator[str]:
    """The default search spaces of a section, a row a dimension."""
    for name, field in model.model_fields.items():
        space = field.get_default(call_default_factory=True)
        if not isinstance(space, dict):
            continue
        yield from ("", f"### {section}.{name}", "", "| dimension | default | scale | drawn from |")
        yield "| --- | --- | --- | --- |"
        for dimension, value in space.items():
            if isinstance(value, Range):
                cells = f"{value.low:g} to {value.high:g}", value.scale, _likely(value)
            elif isinstance(value, Choice):
                cells = "one of " + ", ".join(f"`{one}`" for one in value.values), "-", "-"
            else:
                cells = f"`{json.dumps(value)}`, not searched", "-", "-"
            yield f"| `{dimension}` | {' | '.join(cells)} |"


def _likely(value: Range) -> str:
    return f"{value.likely[0]:g} to {value.likely[1]:g}" if value.likely else "all of it"


# Python reference


def reference_index() -> str:
    """The list of packages with what each is about."""
    lines = [
        "# Python reference",
        "",
        "The public names of the packages. Those of `recsys` itself are what most programs need.",
        "Packages import their parts when they are first used, so `import recsys` is fast.",
        "",
        "| package | subject |",
        "| --- | --- |",
    ]
    for name in PACKAGES:
        lines.append(f"| [`{name}`]({name}.md) | {_subject(name)} |")
    return "\n".join(lines) + "\n"


def reference(package: str) -> str:
    """The page of one package: its subject, and every public name with its docstring."""
    lines = [f"# {package}", "", _subject(package), ""]
    for name in public(package):
        lines += [f"::: {home(package, name)}", ""]
    return "\n".join(lines)


def public(package: str) -> list[str]:
    """The names that a package lists, functions and classes in the order of the alphabet."""
    module = importlib.import_module(package)
    return sorted(getattr(module, "__all__", []), key=str.lower)


def home(package: str, name: str) -> str:
    """Where a public name is written down, which is where its docstring is found."""
    value = getattr(importlib.import_module(package), name)
    module = getattr(value, "__module__", package)
    return f"{module if str(module).startswith('recsys') else package}.{name}"


def _subject(package: str) -> str:
    return (importlib.import_module(package).__doc__ or "").strip().splitlines()[0]


# Experiments


def experiments() -> list[Path]:
    """The pages of experiments that are there."""
    return sorted(page for page in EXPERIMENTS.glob("*.md") if page.name != "index.md")


def experiments_index() -> str:
    """The list of experiments, each with the first sentence of its page."""
    lines = [
        "# Experiments",
        "",
        "What was tried while this was built: one page for each question, with what was asked,",
        "how it was measured, what came out and what was kept. Figures are those of the day on",
        "which they were measured, on the data that the page names.",
        "",
    ]
    for page in experiments():
        title, first = summary(page.read_text(encoding="utf-8"))
        lines.append(f"- [{title}]({page.name}): {first}")
    return "\n".join(lines) + "\n"


def summary(text: str) -> tuple[str, str]:
    """A page's title and the first sentence of its first paragraph."""
    title = re.search(r"^# (.+)$", text, re.M)
    assert title, "a page begins with its title"
    paragraphs = [part.strip() for part in text[title.end() :].split("\n\n") if part.strip()]
    prose = [part for part in paragraphs if not part.startswith(("#", "|", "```", "!"))]
    first = " ".join(prose[0].split()) if prose else ""
    return title[1], re.split(r"(?<=[.?!]) (?=[A-Z])", first)[0]


# Notebook


def notebook(text: str) -> str:
    """A page as a Jupyter notebook: its Python blocks as code, the rest as text."""
    cells = []
    for part in re.split(r"(^```python\n.*?^```\n)", text, flags=re.M | re.S):
        code = re.fullmatch(r"```python\n(.*?)```\n", part, re.S)
        source = (code[1] if code else part).strip("\n")
        if source:
            cells.append(_cell(source, "code" if code else "markdown", len(cells)))
    kernel = {"display_name": "Python 3", "language": "python", "name": "python3"}
    found = {"cells": cells, "metadata": {"kernelspec": kernel}, "nbformat": 4, "nbformat_minor": 5}
    return json.dumps(found, indent=1, ensure_ascii=False) + "\n"


def _cell(source: str, kind: str, number: int) -> dict[str, Any]:
    cell: dict[str, Any] = {"cell_type": kind, "id": f"cell-{number}", "metadata": {}}
    if kind == "code":
        cell |= {"execution_count": None, "outputs": []}
    return cell | {"source": source.splitlines(keepends=True)}
