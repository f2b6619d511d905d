"""Users who are forgotten: nothing of them is left in the files of earlier nights."""

from __future__ import annotations

import json
from hashlib import blake2b
from pathlib import Path

import pandas as pd
import pytest

from recsys.cli.forgetting import forget
from recsys.evaluation.churn import markdown
from recsys.pipeline.report import Report, Section, Table, write
from recsys.serving import pyfunc
from recsys.tracking.forgotten import forget_in_runs, without_users_in
from recsys.tracking.registry import Registry
from recsys.tracking.runs import StudyDescription, Tracker
from tests.fixtures.bundles import write_bundle
from tests.fixtures.tracking_database import tracking_database

USER, OTHER = "a|b <1>", "12"


def hashed(user: str) -> str:
    return blake2b(user.encode(), digest_size=8).hexdigest()


def churn() -> dict[str, object]:
    changed = [
        {"user": user, "overlap": 0.5, "went": ["x"], "came": ["12"]} for user in (USER, OTHER)
    ]
    parts = {f"{when}_{what}": 0 for what in ("users", "items") for when in ("new", "gone")}
    return {**parts, "overlap": None, "coverage": [], "popularity": [], "most_changed": changed}


def files(folder: Path) -> dict[str, list[Path]]:
    """What a night leaves with its run, of two users."""
    profile = {"schema": 1, "user_sketch": sorted(map(hashed, (USER, OTHER))), "users": 2}
    (folder / "profile.json").write_text(json.dumps(profile), encoding="utf-8")
    (folder / "churn.json").write_text(json.dumps(churn()), encoding="utf-8")
    (folder / "verdict.md").write_text(f"passed\n\n{markdown(churn(), '1')}\n", encoding="utf-8")
    scores = pd.DataFrame({"user": [USER, OTHER], "challenger": [0.2, 0.4]})
    scores.to_parquet(folder / "per_user.parquet")
    rows = tuple((user, "0.50") for user in (USER, OTHER))
    section = Section("Gate", ("12 users",), (("", Table(("user", "overlap"), rows)),))
    report = write(Report("train", "passed", False, (section,)), folder, "train")
    (folder / "segments.json").write_text("[]", encoding="utf-8")
    return {
        "drift": [folder / "profile.json"],
        "gate": [
            folder / name
            for name in ("churn.json", "verdict.md", "per_user.parquet", "segments.json")
        ],
        "report": report,
    }


@pytest.fixture
def registry(tmp_path: Path) -> Registry:
    """Two nights, of which only the second is still a version."""
    uri = tracking_database(tmp_path / "mlruns")
    tracker = Tracker.connect(uri, "planted")
    written = tmp_path / "written"
    written.mkdir()
    made = files(written)
    for key in ("one", "two"):
        run_id = tracker.open_study(StudyDescription(key, key, {}))
        for folder, paths in made.items():
            tracker.attach(run_id, paths, folder)
    pyfunc.register(uri, run_id, "planted", write_bundle(tmp_path / "bundle"), {})
    return Registry(uri, "planted")


def stored(registry: Registry) -> dict[str, bytes]:
    root = Path(registry.uri.removeprefix("sqlite:///")).parent / "artifacts"
    return {
        str(path.relative_to(root)): path.read_bytes()
        for folder in ("drift", "gate", "report")
        for path in root.rglob(f"{folder}/*")
    }


def test_nothing_of_them_is_left_in_any_night_and_others_stay(registry: Registry) -> None:
    before = stored(registry)
    assert len(before) == 14
    # Of each night: profile, churn, verdict, scores, and both forms of the report.
    assert forget_in_runs(registry, {USER}) == 12
    after = stored(registry)
    escaped = "a|b &lt;1&gt;", "a\\|b &lt;1>", "a\\|b <1>"
    for path, content in after.items():
        for trace in (USER, hashed(USER), *escaped):
            assert trace.encode() not in content, path
        kept = hashed(OTHER) if path.endswith("profile.json") else OTHER
        assert kept.encode() in content or path.endswith("segments.json")
    assert forget_in_runs(registry, {USER}) == 0
    assert stored(registry) == after


def test_an_id_that_is_a_number_goes_from_its_cell_alone(tmp_path: Path) -> None:
    for paths in files(tmp_path).values():
        for path in paths:
            without_users_in(path, {OTHER})
    page = (tmp_path / "train.html").read_text(encoding="utf-8")
    assert "12 users" in page
    assert "<td>(forgotten)</td>" in page
    assert "12 users" in (tmp_path / "train.md").read_text(encoding="utf-8")
    lines = (tmp_path / "verdict.md").read_text(encoding="utf-8").splitlines()
    assert lines[-1].startswith("| (forgotten) | 0.50 | x | ")
    profile = json.loads((tmp_path / "profile.json").read_text(encoding="utf-8"))
    assert (profile["user_sketch"], profile["forgotten"]) == ([hashed(USER)], 1)
    assert pd.read_parquet(tmp_path / "per_user.parquet").user.tolist() == [USER]


def test_the_command_reaches_the_nights_as_well(
    registry: Registry,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.uri)
    log = tmp_path / "likes.sqlite"
    forget([USER], "planted", log, tmp_path / "answers.sqlite", None)
    assert "12 files of earlier nights in MLflow had them" in capsys.readouterr().out
    assert not any(USER.encode() in content for content in stored(registry).values())
    monkeypatch.setenv("MLFLOW_TRACKING_URI", f"sqlite:///{tmp_path}/none.db")
    forget([USER], "planted", log, tmp_path / "answers.sqlite", None)
    assert "MLflow" not in capsys.readouterr().out
    assert not (tmp_path / "none.db").exists()
