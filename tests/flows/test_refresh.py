"""The refresh flow, and the named states runs end in, on real Prefect and MLflow."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from mlflow.tracking import MlflowClient
from prefect.client.orchestration import get_client

from flows.refresh import refresh
from flows.train import train
from recsys.base.config import Config, Data
from recsys.base.errors import InputError, RegistryError
from recsys.base.events import StageDone, TrialDone, listening
from recsys.bundle import load_bundle
from tests.fixtures.configurations import small_config
from tests.fixtures.planted import write_planted
from tests.fixtures.tracking_database import tracking_database


@pytest.fixture(scope="module")
def config(tmp_path_factory: pytest.TempPathFactory) -> Config:
    """Of a registry that has a champion."""
    folder = tmp_path_factory.mktemp("refresh")
    config = small_config(folder)
    tracking_database(folder / "mlruns")
    assert not train(config).held
    return config


def on(config: Config, likes: Path, features: Path) -> Config:
    data = Data(likes=str(likes), features=str(features))
    return config.model_copy(update={"data": data})


def manifest(outcome: Any) -> Any:
    return load_bundle(Path(outcome.bundle)).manifest


def test_a_refresh_fits_the_champion_s_configuration_to_new_data(
    config: Config, tmp_path: Path
) -> None:
    same = refresh(config)
    assert (same.version, same.held) == ("1", [])
    champion = manifest(same)["configuration"]

    events: list[Any] = []
    with listening(events.append):
        fresh = refresh(on(config, *write_planted(tmp_path, seed=8)))
    assert (fresh.version, fresh.held) == ("2", [])
    assert not [event for event in events if isinstance(event, TrialDone)]
    found = manifest(fresh)
    assert found["data_fingerprint"] != manifest(same)["data_fingerprint"]
    # All but what is found out on today's data.
    for name in champion.keys() - {"cold_blending"}:
        assert found["configuration"][name] == champion[name]
    # The next search starts there, as it would have from the champion before.
    (start,) = found["started_from"]
    assert start["learning_rate"] == champion["learning_rate"]

    uri = config.tracking.uri
    client = MlflowClient(tracking_uri=uri, registry_uri=uri)
    version = client.get_model_version("planted", "2")
    run = client.get_run(version.run_id)
    assert run.data.tags["kind"] == "refresh"
    assert run.data.metrics["test/precision_at_5"] > 0
    assert {file.path for file in client.list_artifacts(version.run_id, "report")} == {
        "report/refresh.html", "report/refresh.md",
    }  # fmt: skip
    assert f"/runs/{version.run_id}" in version.description
    # The same data again: everything is there.
    with listening(events.append):
        again = refresh(on(config, *write_planted(tmp_path, seed=8)))
    assert again == fresh
    last = {event.stage: event.reused for event in events if isinstance(event, StageDone)}
    assert [stage for stage, reused in last.items() if not reused] == ["report"]


def test_without_a_champion_there_is_nothing_to_refresh(tmp_path: Path) -> None:
    nowhere = {"tracking.uri": f"sqlite:///{tmp_path}/none/mlflow.db"}
    state = refresh(small_config(tmp_path, **nowhere), return_state=True)
    assert (state.name, state.type.value) == ("StageFailed", "FAILED")
    assert str(state.message).startswith("after encode: no model registry at sqlite:///")
    with pytest.raises(RegistryError, match="train first"):
        state.result()


def test_shrunken_data_end_in_a_state_of_their_own(config: Config, tmp_path: Path) -> None:
    likes, features = write_planted(tmp_path, seed=9)
    table = pd.read_csv(likes, sep="|")
    table[table["uid"].str[:2].isin(["g0", "g1", "g2"])].to_csv(likes, sep="|", index=False)
    state = refresh(on(config, likes, features), return_state=True)
    assert (state.name, state.type.value) == ("Shrunken", "COMPLETED"), state.message
    assert "data all there: users -5" in str(state.message)
    assert state.result().held


def test_a_failed_stage_is_named_and_its_error_readable_from_elsewhere(
    config: Config, tmp_path: Path
) -> None:
    state = train(on(config, tmp_path / "gone.psv", tmp_path / "gone"), return_state=True)
    assert state.name == "StageFailed"
    with get_client(sync_client=True) as client:
        seen = client.read_flow_run(state.state_details.flow_run_id).state
    assert seen is not None
    assert (seen.name, seen.message) == ("StageFailed", state.message)
    assert "gone.psv" in str(seen.message)
    with pytest.raises(InputError, match=r"gone\.psv"):
        seen.result()
