"""The train flow's end, on real Prefect and MLflow: promoted, or held in a state of that name."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pyarrow.parquet as pq
import pytest
from mlflow.artifacts import download_artifacts
from mlflow.tracking import MlflowClient
from prefect import State
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import (
    ArtifactFilter,
    ArtifactFilterFlowRunId,
    ArtifactFilterKey,
)
from prefect.settings import PREFECT_API_URL

from flows.results import TrainingResult
from flows.train import train
from recsys.base.config import Config, Data
from recsys.base.events import StageDone, listening
from recsys.tracking.registry import Registry
from tests.fixtures.configurations import small_config
from tests.fixtures.planted import write_planted
from tests.fixtures.tracking_database import tracking_database

# A search that cannot find anything, and the same nothing whatever it starts from: two components,
# steps too small to go anywhere.
HOPELESS: dict[str, Any] = {
    # A closed form would be good with whatever LightFM is given.
    "search.item_to_item_trials": 0,
    "search.trials": 1,
    "search.max_epochs": 2,
    "search.space.no_components": 2,
    "search.space.learning_rate": 1e-4,
    "search.space.initialisation": "random",
    "search.space.user_alpha": 0.0,
    "search.space.item_alpha": 0.0,
    "search.space.max_sampled": {"low": 10, "high": 11},
}


@dataclass(frozen=True)
class Night:
    """A run of the flow, its state and what it returned."""

    state: State
    outcome: TrainingResult
    reused: dict[str, bool]

    @property
    def name(self) -> str:
        return str(self.state.name)

    def artifact(self) -> str:
        """The Markdown that the run left on the Prefect server."""

        async def read() -> str:
            async with get_client() as client:
                run_id = self.state.state_details.flow_run_id
                assert (await client.read_flow_run(run_id)).state.name == self.name
                wanted = ArtifactFilter(
                    flow_run_id=ArtifactFilterFlowRunId(any_=[run_id]),
                    key=ArtifactFilterKey(any_=["report-planted"]),
                )
                (found,) = await client.read_artifacts(artifact_filter=wanted)
                return str(found.data)

        return asyncio.run(read())

    def announced(self) -> bool:
        """Whether the server emitted the event that automations wait for."""
        run = f"prefect.flow-run.{self.state.state_details.flow_run_id}"
        wanted = {"event": {"name": [f"prefect.flow-run.{self.name}"]}, "resource": {"id": [run]}}
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            address = f"{PREFECT_API_URL.value()}/events/filter"
            answer = httpx.post(address, json={"filter": wanted}, timeout=60)
            if answer.raise_for_status().json()["total"]:
                return True
            time.sleep(0.2)
        return False


def night(config: Config, after_gate: Callable[[], object] = lambda: None) -> Night:
    """Run the flow; `after_gate` happens when the verdict is there."""
    reused: dict[str, bool] = {}

    def note(event: object) -> None:
        if isinstance(event, StageDone) and event.stage != "report":  # which every run makes
            reused[event.stage] = event.reused
            if event.stage == "gate":
                after_gate()

    with listening(note):
        state = train(config, return_state=True)
    return Night(state, state.result(), reused)


def aliases(config: Config) -> dict[str, str]:
    client = MlflowClient(tracking_uri=config.tracking.uri, registry_uri=config.tracking.uri)
    found = client.get_registered_model("planted").aliases
    return {alias: str(number) for alias, number in found.items()}


def later(config: Config, folder: Path, seed: int, **settings: Any) -> Config:
    """The same configuration on the likes of another day."""
    likes, features = write_planted(folder, seed=seed)
    values = config.model_dump() | {"data": Data(likes=str(likes), features=str(features))}
    search = dict(values["search"])
    for name, value in settings.items():
        if name.startswith("search.space."):
            search["space"] = search["space"] | {name.removeprefix("search.space."): value}
        else:
            search[name.removeprefix("search.")] = value
    return Config.model_validate(values | {"search": search})


@dataclass(frozen=True)
class Nights:
    """A good night, one without luck, and a good one again, all on one registry."""

    configs: tuple[Config, Config, Config]
    done: tuple[Night, Night, Night]
    aliases: tuple[dict[str, str], ...]


@pytest.fixture(scope="module")
def nights(tmp_path_factory: pytest.TempPathFactory) -> Nights:
    folder = tmp_path_factory.mktemp("nights")
    first = small_config(folder)
    tracking_database(folder / "mlruns")
    second = later(first, folder / "second", 8, **HOPELESS)
    third = later(first, folder / "third", 9)
    done, seen = [], []
    for config in (first, second, third):
        done.append(night(config))
        seen.append(aliases(config))
    return Nights((first, second, third), tuple(done), tuple(seen))  # type: ignore[arg-type]


def test_the_first_good_challenger_becomes_champion(nights: Nights) -> None:
    first = nights.done[0]
    assert (first.name, first.outcome.held) == ("Completed", [])
    assert nights.aliases[0] == {"challenger": "1", "champion": "1"}
    assert "**planted version 1 is champion.**" in first.artifact()
    tags = Registry(nights.configs[0].tracking.uri, "planted").version("1").tags
    assert tags["gate"] == "passed"
    assert tags["gate/beats popularity"].startswith("passed: ahead by +")
    assert tags["promoted_why"] == "passed the gate against popularity"
    assert 0 < float(tags["test/precision_at_5"]) <= 1
    assert "test/ndcg_at_10" in tags


def test_a_worse_challenger_is_held_where_everybody_sees_it(nights: Nights) -> None:
    held = nights.done[1]
    assert held.name == "Held"
    # A held night is no crash: nothing retries it, and what waits for it goes on.
    assert held.state.is_completed()
    assert held.announced()
    assert any(reason.startswith("no worse than the champion: ") for reason in held.outcome.held)
    assert held.state.message == "; ".join(held.outcome.held)
    assert nights.aliases[1] == {"challenger": "2", "champion": "1"}
    text = held.artifact()
    assert "**planted version 2 was held: " in text
    assert "| FAILED | no worse than the champion |" in text
    assert "Against version 1: " in text
    assert "## For whom" in text
    assert "Against the champion, of " in text
    tags = Registry(nights.configs[0].tracking.uri, "planted").version("2").tags
    assert tags["gate"] == "held"
    assert tags["gate/no worse than the champion"].startswith("failed: ahead by -")
    assert "promoted" not in tags
    # The champion is the best so far, and stays it.
    assert (tags["judged_against_reference"], tags["reference"]) == ("1", "1")


def test_per_user_scores_are_kept_with_the_run(nights: Nights, tmp_path: Path) -> None:
    uri = nights.configs[1].tracking.uri
    run_id = Registry(uri, "planted").version("2").run_id
    path = download_artifacts(
        run_id=run_id, artifact_path="gate/per_user.parquet", tracking_uri=uri,
        dst_path=str(tmp_path),
    )  # fmt: skip
    table = pq.read_table(path).to_pandas()
    assert list(table.columns) == ["user", "challenger", "popularity", "champion", "reference"]
    assert table["champion"].mean() > table["challenger"].mean()
    assert table["user"].str.startswith("g").all()


def test_a_better_challenger_takes_over_and_leaves_the_one_before(nights: Nights) -> None:
    third = nights.done[2]
    assert third.name == "Completed"
    assert nights.aliases[2] == {"challenger": "3", "champion": "3", "previous": "1"}
    overlap = third.outcome.counts["gate"]["overlap"]
    assert 0 < overlap < 1
    assert f"overlap by {overlap:.2f}" in third.artifact()


def test_the_same_nights_again_end_as_they_did(nights: Nights) -> None:
    again = night(nights.configs[2])
    assert again.outcome == nights.done[2].outcome
    assert all(again.reused.values()), again.reused
    # Version 2 was judged against 1; now 3 reigns, and against 3 it is held as well.
    held = night(nights.configs[1])
    assert (held.name, held.outcome.version) == ("Held", "2")
    assert not held.reused["gate"]
    assert aliases(nights.configs[1]) == {"challenger": "2", "champion": "3", "previous": "1"}


def test_each_night_is_compared_with_the_data_of_those_before(nights: Nights) -> None:
    first, second, third = nights.done
    compared = [done.outcome.counts["drift"]["nights"] for done in nights.done]
    assert compared == [0, 1, 2]
    # Samples of one world do not drift.
    assert [list(done.outcome.counts["drift"]["drifts"]) for done in nights.done] == [[], [], []]
    assert "## Drift" not in first.artifact()
    assert "Compared with the night before." in second.artifact()
    assert "Compared with the last 2 nights" in third.artifact()
    registry = Registry(nights.configs[0].tracking.uri, "planted")
    version = registry.version("3")
    assert version.tags["gate/drift"].startswith("passed: none in ")
    run = MlflowClient(tracking_uri=registry.uri).get_run(version.run_id)
    assert run.data.metrics["drift/found"] == 0
    assert run.data.metrics["drift/tags_psi"] < 0.01


def test_what_was_rolled_back_does_not_come_back_by_itself(nights: Nights) -> None:
    registry = Registry(nights.configs[0].tracking.uri, "planted")
    registry.rollback(by="ann", why="angry users")
    held = night(nights.configs[2])
    assert (held.name, held.outcome.held) == ("Held", ["rolled back by hand: angry users"])
    assert aliases(nights.configs[2]) == {"challenger": "3", "champion": "1", "previous": "3"}
    registry.promote("3", by="ann", why="it was the network")
    assert night(nights.configs[2]).name == "Completed"


def test_a_champion_that_changed_meanwhile_is_not_replaced_unseen(nights: Nights) -> None:
    config = nights.configs[0]
    registry = Registry(config.tracking.uri, "planted")
    registry.promote("3", by="ann", why="what the night is judged against")
    held = night(config, lambda: registry.promote("2", by="bob", why="on my own"))
    assert held.name == "Held"
    assert "judged against version 3, but version 2 is champion now" in held.outcome.held
    expected = {"challenger": held.outcome.version, "champion": "2", "previous": "3"}
    assert aliases(config) == expected


def test_a_run_cut_off_before_the_move_is_completed_by_the_next(nights: Nights) -> None:
    config = nights.configs[0]
    client = MlflowClient(tracking_uri=config.tracking.uri, registry_uri=config.tracking.uri)
    # As a kill between the first registration and the first promotion leaves it.
    for alias in ("champion", "previous", "challenger"):
        client.delete_registered_model_alias("planted", alias)
    again = night(config)
    assert (again.name, again.outcome.version) == ("Completed", "1")
    assert (again.reused["gate"], again.reused["promote"]) == (True, False)
    assert aliases(config) == {"challenger": "1", "champion": "1"}
