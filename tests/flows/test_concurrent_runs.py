"""Two runs at once, on the same data and on one registry."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.fixtures.processes import FinishedRun, Run, planted_folder, registry_client

pytestmark = pytest.mark.usefixtures("reporting_processes")


def test_two_runs_at_once_on_the_same_data_make_one_version(
    known: FinishedRun, tmp_path: Path
) -> None:
    folder = planted_folder(tmp_path)
    both = [Run(folder, output_name=name).start() for name in ("one", "two")]
    one, two = (run.finish() for run in both)
    assert (one.code, two.code) == (0, 0), one.errors + two.errors
    assert one.outcome == two.outcome == known.outcome
    # Each stage was made by one of them.
    for stage, reused in one.stages().items():
        assert reused or two.stages()[stage], stage
    versions = registry_client(tmp_path).search_model_versions("name = 'likes'")
    assert [str(version.version) for version in versions] == ["1"]


def test_two_runs_at_once_on_one_registry_lose_no_alias(tmp_path: Path) -> None:
    database = f"--set=tracking.uri=sqlite:///{tmp_path}/mlruns/mlflow.db"
    runs = [
        Run(planted_folder(tmp_path / seed), [database, f"--seed={seed}"]).start()
        for seed in ("1", "2")
    ]
    for run in [run.finish() for run in runs]:
        # Champion, or refused clearly.
        assert run.code in (0, 7), run.errors
        if run.code == 7:
            assert "held: version" in run.errors
    registry = registry_client(tmp_path)
    champion = registry.get_model_version_by_alias("likes", "champion")
    versions = {str(v.version): v for v in registry.search_model_versions("name = 'likes'")}
    assert set(versions) == {"1", "2"}
    promoted = {number for number, v in versions.items() if "promoted" in v.tags}
    assert str(champion.version) in promoted
    if len(promoted) == 2:
        previous = registry.get_model_version_by_alias("likes", "previous")
        assert {str(previous.version), str(champion.version)} == promoted
