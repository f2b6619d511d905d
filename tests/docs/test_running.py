"""The documentation's Python and its quick commands run, on the sample and a champion of it."""

from __future__ import annotations

import io
import re
import sys
from collections.abc import Iterator
from contextlib import redirect_stdout
from pathlib import Path

import mlflow
import pytest

import recsys
from flows.cli import COMMANDS
from recsys.cli.commands import command_line
from recsys.serving import pyfunc
from recsys.tracking.registry import Registry
from recsys.tracking.runs import StudyDescription, Tracker
from tests.fixtures.pages import blocks, commands, pages, words
from tests.fixtures.paths import ROOT
from tests.fixtures.tracking_database import tracking_database

QUESTIONS = (
    "recommend", "similar", "tag", "suggest-tags", "similar-tags", "audience", "explain",
    "datasets", "settings",
)  # fmt: skip
# Reads what `recsys batch` has written, which needs Prefect; tests.readme_commands runs it.
AFTER_A_BATCH = {"docs/serving/batch.md"}


def programs() -> list[str]:
    """The pages with Python on them that is meant to run."""
    found = [
        str(page.relative_to(ROOT))
        for page in pages()
        if any(
            block.language == "python" and "no-test" not in block.classes for block in blocks(page)
        )
    ]
    return [page for page in found if page not in AFTER_A_BATCH]


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as the project's is after `make train`: the sample, and its champion in MLflow."""
    folder = tmp_path_factory.mktemp("project")
    (folder / "data").mkdir()
    (folder / "data/sample").symlink_to(ROOT / "data/sample")
    data = recsys.load_dataset("sample")
    model = recsys.fit(
        data.interactions.kcore(), features=data.features, no_components=16, epochs=2, seed=1
    )
    uri = tracking_database(folder / "mlruns")
    run_id = Tracker.connect(uri, "sample").open_study(StudyDescription("key", "sample", {}))
    number = pyfunc.register(uri, run_id, "sample", model.save(folder / "bundle"), {})
    Registry(uri, "sample").promote(number, by="ann", why="the first")
    return folder


@pytest.fixture
def inside(project: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The project's folder as the current one."""
    monkeypatch.chdir(project)
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    yield project
    # None unsets it, here and in the environment; MLflow's types do not know that.
    mlflow.set_tracking_uri(None)  # type: ignore[arg-type]


def assert_printed(found: str, shown: str) -> None:
    """What is shown was printed, but for the last digits, which depend on the processor."""
    number = r"-?\d+\.\d+"
    assert re.sub(number, "#", found.strip()) == re.sub(number, "#", shown.strip())
    figures = [float(text) for text in re.findall(number, shown)]
    assert [float(text) for text in re.findall(number, found)] == pytest.approx(figures, abs=0.03)


@pytest.mark.parametrize("page", programs())
def test_python_on_pages_runs(page: str, inside: Path) -> None:
    names: dict[str, object] = {"__name__": "page"}
    printed = io.StringIO()
    for number, block in enumerate(blocks(ROOT / page)):
        if block.language == "python" and "no-test" not in block.classes:
            printed = io.StringIO()
            with redirect_stdout(printed):
                exec(compile(block.text, f"{page}, block {number}", "exec"), names)  # noqa: S102
        elif "output" in block.classes:
            assert_printed(printed.getvalue(), block.text)


@pytest.mark.parametrize(
    "command",
    sorted(
        {
            command
            for page in pages()
            for command in commands(page, "sh")
            if words(command)[0] == "recsys" and words(command)[1] in QUESTIONS
        }
    ),
)
def test_questions_on_pages_are_answered(
    command: str, inside: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "argv", words(command))
    with pytest.raises(SystemExit) as ended:
        command_line(COMMANDS)()
    assert not ended.value.code
    assert capsys.readouterr().out.strip()
