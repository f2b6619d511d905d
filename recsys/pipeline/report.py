"""The report of a training run as a document: sections, tables, Markdown and HTML."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from jinja2 import Environment, PackageLoader, select_autoescape


@dataclass(frozen=True)
class Table:
    """Rows of cells under named columns."""

    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]


@dataclass(frozen=True)
class Section:
    """A part of the report: a heading, sentences, tables with captions, a picture as SVG."""

    title: str
    text: tuple[str, ...] = ()
    tables: tuple[tuple[str, Table], ...] = ()
    svg: str = ""


@dataclass(frozen=True)
class Link:
    """Where more is to be seen."""

    label: str
    address: str


@dataclass(frozen=True)
class Report:
    """What a person reads in the morning.

    Parameters
    ----------
    title : str
    verdict : str
        In one sentence.
    held : bool
        Whether the version was held back.
    sections : tuple of Section
    links : tuple of Link
    """

    title: str
    verdict: str
    held: bool
    sections: tuple[Section, ...]
    links: tuple[Link, ...] = field(default=())

    def markdown(self) -> str:
        """As Markdown, for Prefect; the picture is left to the page."""
        parts = [f"# {_escaped(self.title)}", f"**{_escaped(self.verdict)}**"]
        parts += [" · ".join(f"[{link.label}]({link.address})" for link in self.links)]
        for section in self.sections:
            parts.append(f"## {section.title}")
            parts += [_escaped(sentence) for sentence in section.text]
            for caption, table in section.tables:
                parts += [f"**{_escaped(caption)}**"] if caption else []
                parts.append(_as_markdown(table))
        return "\n\n".join(part for part in parts if part) + "\n"

    def html(self) -> str:
        """As one page that needs nothing else: styles and picture are in it, no script is."""
        return _PAGES.get_template("report.html").render(report=self)


_PAGES = Environment(
    loader=PackageLoader("recsys.pipeline", "pages"),
    autoescape=select_autoescape(),
    trim_blocks=True,
    lstrip_blocks=True,
)


def _as_markdown(table: Table) -> str:
    lines = [
        f"| {' | '.join(map(_escaped, row))} |"
        for row in (table.columns, tuple("---" for _ in table.columns), *table.rows)
    ]
    return "\n".join(lines)


def _escaped(text: str) -> str:
    """Text that Markdown shows as it is."""
    kept = "".join(f"\\{letter}" if letter in _MARKUP else letter for letter in text)
    return " ".join(kept.replace("<", "&lt;").split())


_MARKUP = frozenset("\\`*[]|")


def write(report: Report, folder: Path, name: str) -> list[Path]:
    """The report as NAME.html and NAME.md in a folder; returns their paths."""
    paths = [folder / f"{name}.{kind}" for kind in ("html", "md")]
    for path, text in zip(paths, (report.html(), report.markdown()), strict=True):
        path.write_text(text, encoding="utf-8")
    return paths
