"""The report as Markdown and as a page: text stays text, and nothing is fetched or run."""

from __future__ import annotations

from html.parser import HTMLParser
from pathlib import Path

from recsys.pipeline.report import Link, Report, Section, Table, write
from recsys.tuning.figures import learning_curves_svg

HOSTILE = '<script>alert("x")</script> | `code` *bold* [a](b)\n# heading'


def report() -> Report:
    table = Table(("id", HOSTILE), (("passed", HOSTILE), ("FAILED", "plain")))
    curves = {0: [(1, 0.1), (2, 0.2)], 1: [(1, 0.15)]}
    section = Section("Part", (HOSTILE,), ((HOSTILE, table),), learning_curves_svg(curves, 0))
    return Report(
        "train likes", f"held: {HOSTILE}", True, (section,), (Link("run", "http://x/#/runs/1"),)
    )


class Page(HTMLParser):
    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.loaded: list[str] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.loaded += [str(v) for name, v in attrs if name in ("src", "onload", "onclick")]

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_shows_hostile_text_as_text() -> None:
    page = Page(report().html())
    assert "script" not in page.tags
    assert "link" not in page.tags
    assert page.loaded == []
    assert page.text.count(HOSTILE) == 5  # verdict, sentence, caption, a column, a cell
    assert page.tags.count("svg") == 1
    assert page.tags.count("table") == 1


def test_the_picture_is_the_same_every_time() -> None:
    curves = {0: [(1, 0.1), (3, 0.2)], 1: []}
    assert learning_curves_svg(curves, 0) == learning_curves_svg(curves, 0)


def test_markdown_keeps_a_table_a_table() -> None:
    lines = report().markdown().splitlines()
    assert lines[0] == "# train likes"
    assert "[run](http://x/#/runs/1)" in lines
    plain = r'&lt;script>alert("x")&lt;/script> \| \`code\` \*bold\* \[a\](b) # heading'
    assert f"| id | {plain} |" in lines
    assert f"| passed | {plain} |" in lines
    assert sum(line.startswith("| ") for line in lines) == 4
    assert not [line for line in lines if line.startswith("# heading")]


def test_both_are_written_under_the_name(tmp_path: Path) -> None:
    paths = write(report(), tmp_path, "train")
    assert [path.name for path in paths] == ["train.html", "train.md"]
    assert paths[0].read_text(encoding="utf-8") == report().html()
