"""The train flow, whole, on a real Prefect server and a real MLflow registry."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest
from mlflow.tracking import MlflowClient

from flows.results import TrainingResult
from flows.train import train
from recsys.base.config import Config, Data
from recsys.base.events import Event, StageDone, TrialDone, listening
from recsys.recommend.recommender import Recommender
from recsys.tracking.bundles import locate_bundle
from recsys.tracking.registry import Registry
from tests.fixtures.configurations import small_config
from tests.fixtures.planted import write_planted

STAGES = [
    "ingest", "threshold", "split", "encode", "tune", "evaluate", "fit",
    "drift", "gate", "register", "promote",
]  # fmt: skip
# A run that is made again says so again.
AGAIN = {**dict.fromkeys(STAGES, True), "report": False}


@dataclass
class Run:
    config: Config
    outcome: TrainingResult
    events: list[Event]

    def stages(self) -> dict[str, bool]:
        """Stage name to whether it was reused."""
        return {e.stage: e.reused for e in self.events if isinstance(e, StageDone)}

    @property
    def client(self) -> MlflowClient:
        uri = self.config.tracking.uri
        return MlflowClient(tracking_uri=uri, registry_uri=uri)


def run(config: Config) -> Run:
    events: list[Event] = []
    with listening(events.append):
        outcome = train(config)
    return Run(config, outcome, events)


@pytest.fixture(scope="module")
def trained(tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("trained")
    return run(small_config(folder, **{"tracking.metrics": str(folder / "metrics")}))


def test_every_stage_runs_once_in_order(trained: Run) -> None:
    assert list(trained.stages().items()) == [(name, False) for name in (*STAGES, "report")]


def test_prometheus_is_told_of_the_run(trained: Run) -> None:
    assert trained.config.tracking.metrics is not None
    text = (Path(trained.config.tracking.metrics) / "planted-train.prom").read_text()
    own = 'flow="train",model="planted"'
    said = dict(line.rsplit(" ", 1) for line in text.splitlines() if line[0] != "#")
    assert said[f'recsys_night_verdict{{{own},verdict="promoted"}}'] == "1.0"
    assert float(said[f"recsys_night_version{{{own}}}"]) == float(trained.outcome.version)
    core = trained.outcome.counts["threshold"]
    assert float(said[f"recsys_night_interactions{{{own}}}"]) == core["interactions"]
    stages = {n for n in said if n.startswith("recsys_night_stage_seconds")}
    assert stages == {
        f'recsys_night_stage_seconds{{{own},stage="{stage}"}}' for stage in (*STAGES, "report")
    }
    best = trained.outcome.leaderboard[0]
    ranked = f'recsys_night_precision_at_5{{{own},ranked_by="{best["model"]}"}}'
    assert float(said[ranked]) == pytest.approx(best["metrics"]["precision_at_5"]["mean"])


def test_the_bundle_knows_the_groups(trained: Run) -> None:
    recommender = Recommender.load(trained.outcome.bundle)
    groups = [row.id[:2] for row in recommender.similar_items("g2i07", 5)]
    assert groups == ["g2"] * 5
    liked = {row.id for row in recommender.liked("g3u11")}
    recommended = recommender.recommend("g3u11", 3)
    assert not liked & {row.id for row in recommended}
    assert [row.id[:2] for row in recommended] == ["g3"] * 3
    assert recommended[0].name == f"item {recommended[0].id}"


def test_the_leaderboard_has_winner_and_baselines_with_intervals(trained: Run) -> None:
    board = {entry["model"]: entry for entry in trained.outcome.leaderboard}
    closed_forms = {"ease", "rp3beta", "itemknn"}
    assert set(board) == {"blend", "lightfm", *closed_forms, "als", "bpr", "popularity"}
    head = board["blend"]["metrics"]["precision_at_5"]
    assert head["low"] <= head["mean"] <= head["high"]
    # The rows go by the headline figure, and the winner is behind by nothing.
    means = [e["metrics"]["precision_at_5"]["mean"] for e in trained.outcome.leaderboard]
    assert means == sorted(means, reverse=True)
    assert {name for name, entry in board.items() if entry["behind_by"] is None} == {"blend"}
    assert board["blend"]["configuration"]["neighbours"] in ("ease", "rp3beta")
    assert not {name for name in board["lightfm"]["configuration"] if "neighbours" in name}
    assert board["popularity"]["behind_by"]["low"] > 0
    for metric in ("recall_at_10", "ndcg_at_20", "map_at_5", "auc", "coverage_at_10"):
        for model in ("blend", "lightfm"):
            assert 0 <= board[model]["metrics"][metric]["mean"] <= 1
    assert "precision_at_5_unmasked" in board["als"]["metrics"]


def test_lists_are_measured_beyond_their_precision(trained: Run) -> None:
    found = trained.outcome.beyond
    own, popular = (found["models"][name] for name in ("blend", "popularity"))
    assert (found["winner"], popular["serendipity"]["mean"]) == ("blend", 0)
    # Groups are what likes and tags have in common; popularity knows neither.
    assert own["miscalibration"]["mean"] < popular["miscalibration"]["mean"]
    version = trained.client.get_model_version_by_alias("planted", "champion")
    told = trained.client.get_run(version.run_id).data.metrics
    assert told["beyond/novelty_at_10"] == own["novelty"]["mean"]
    assert told["beyond_popularity/novelty_at_10"] == popular["novelty"]["mean"]
    report = Path(trained.outcome.report).read_text(encoding="utf-8")
    known = "What the search knows of its space"
    for part in ("Beyond precision", "serendipity", "items of the tail", "tag_group 2", known):
        assert part in report


def test_trials_are_child_runs_with_curves(trained: Run) -> None:
    client = trained.client
    (experiment,) = [e for e in client.search_experiments() if e.name == "likes"]
    runs = client.search_runs([experiment.experiment_id])
    (parent,) = [run for run in runs if run.data.tags["kind"] == "study"]
    trials = [run for run in runs if run.data.tags["kind"] == "trial"]
    # Two of each item-to-item model; three that were searched, the best of them with its features
    # mapped, and that one blended.
    assert Counter(run.data.params.get("model", "lightfm") for run in trials) == {
        "ease": 2, "itemknn": 2, "rp3beta": 2, "lightfm": 5,
    }  # fmt: skip
    strategies = Counter(run.data.params.get("strategy", "") for run in trials)
    assert strategies == {"": 6, "none": 3, "mapped": 2}
    (blended,) = [run for run in trials if "neighbours" in run.data.params]
    assert blended.data.params["strategy"] == "mapped"
    assert float(blended.data.params["neighbours_weight"]) > 0
    for trial in trials:
        assert trial.data.tags["mlflow.parentRunId"] == parent.info.run_id
        if "model" not in trial.data.params:
            assert float(trial.data.params["learning_rate"]) > 0
        curve = client.get_metric_history(trial.info.run_id, "curve/precision_at_5")
        best = max(point.value for point in curve)
        assert trial.data.metrics["val/precision_at_5"] == pytest.approx(best)
        assert trial.data.metrics["seconds"] > 0
        assert trial.info.status == "FINISHED"
    best = max(run.data.metrics["val/precision_at_5"] for run in trials)
    assert parent.data.metrics["val/precision_at_5"] == pytest.approx(best)
    assert "test/precision_at_5" in parent.data.metrics
    # The first night has none to be compared with, and leaves what later ones are compared with.
    assert "drift/found" not in parent.data.metrics
    logged = [entry.path for entry in client.list_artifacts(parent.info.run_id, "drift")]
    assert logged == ["drift/drift.json", "drift/nights.json", "drift/profile.json"]
    assert "test_als/precision_at_5_low" in parent.data.metrics
    assert (
        parent.data.metrics["cold/ndcg_at_10"] > parent.data.metrics["cold_popularity/ndcg_at_10"]
    )
    assert parent.data.metrics["strategy_none/cpu_seconds"] >= 0
    assert parent.data.metrics["foldin/share_of_trained"] > 0.5
    assert parent.info.status == "FINISHED"


def test_the_champion_answers_by_alias(trained: Run) -> None:
    version = trained.client.get_model_version_by_alias("planted", "champion")
    assert str(version.version) == trained.outcome.version == "1"
    assert version.tags["seed"] == "2016"
    assert {"data_fingerprint", "configuration", "libraries"} <= set(version.tags)
    folder = locate_bundle("models:/planted@champion", trained.config.tracking.uri)
    assert Recommender.load(folder).recommend("g0u00", 1)


def test_the_model_has_the_figures_of_its_run(trained: Run) -> None:
    version = Registry(trained.config.tracking.uri, "planted").at("champion")
    assert version is not None
    assert version.model_id is not None
    run = trained.client.get_run(version.run_id)
    told = {m.key: m.value for m in trained.client.get_logged_model(version.model_id).metrics or []}
    assert told == run.data.metrics
    assert "test/precision_at_5" in told


def test_a_second_run_reuses_everything(trained: Run) -> None:
    again = run(trained.config)
    assert again.stages() == AGAIN
    assert again.outcome == trained.outcome
    assert not [event for event in again.events if isinstance(event, TrialDone)]


def test_a_moved_file_is_the_same_data(trained: Run, tmp_path: Path) -> None:
    copy = tmp_path / "likes.psv"
    data = trained.config.data
    assert data is not None
    copy.write_bytes(Path(data.likes).read_bytes())
    moved = data.model_copy(update={"likes": str(copy)})
    assert run(trained.config.model_copy(update={"data": moved})).stages()["ingest"]


def test_a_damaged_stage_is_made_again(trained: Run) -> None:
    (product,) = Path(trained.config.storage.interim).glob("split-*")
    before = (product / "train.npz").read_bytes()
    (product / "train.npz").write_bytes(before[:-1] + bytes([before[-1] ^ 1]))
    stages = run(trained.config).stages()
    assert {name for name, reused in stages.items() if not reused} == {"split", "report"}
    assert (product / "train.npz").read_bytes() == before


def test_another_seed_is_another_study_and_a_new_version(trained: Run) -> None:
    other = run(trained.config.model_copy(update={"seed": 3}))
    assert other.outcome.version == "2"
    assert other.stages()["threshold"]
    assert not other.stages()["split"]


def test_new_data_start_from_the_champion(trained: Run, tmp_path: Path) -> None:
    likes, features = write_planted(tmp_path, seed=8)
    data = Data(likes=str(likes), features=str(features))
    uri = trained.config.tracking.uri
    before = trained.client.get_model_version_by_alias("planted", "champion")
    champion = Recommender.load(locate_bundle(f"models:/planted/{before.version}", uri)).manifest
    later = run(trained.config.model_copy(update={"data": data}))
    trials = {event.number: event for event in later.events if isinstance(event, TrialDone)}
    # The model, not what was done with its features; after the trials of item-to-item models.
    assert [trials[number].configuration.get("model") for number in range(7)] == [
        "ease", "ease", "itemknn", "itemknn", "rp3beta", "rp3beta", None,
    ]  # fmt: skip
    assert champion["configuration"]["strategy"] == "mapped"
    for name in ("no_components", "learning_rate", "user_alpha", "item_alpha", "max_sampled"):
        assert trials[6].configuration[name] == pytest.approx(champion["configuration"][name])
    # The same night again: the search is the one that was made, not one from its own winner. The
    # step of a version that is held is none that was done before.
    again = run(later.config)
    assert again.outcome.ending == later.outcome.ending
    assert again.stages() == {**AGAIN, "promote": not again.outcome.held}


def test_the_article_protocol_runs_both_searches(tmp_path: Path) -> None:
    config = small_config(
        tmp_path,
        **{
            "protocol": "article",
            "article.calls": 4,
            "article.feature_calls": 2,
            "article.max_epochs": 8,
        },
    )
    done = run(config)
    assert done.outcome.counts["evaluate"]["holdout"] == "validation"
    assert done.outcome.counts["split"]["test"] == 0
    trials = [event for event in done.events if isinstance(event, TrialDone)]
    assert [trial.configuration["strategy"] for trial in trials] == ["none"] * 4 + ["joint"] * 2
    # The warm start that the article meant to make: the first search's optimum opens the second.
    best = max(trials[:4], key=lambda trial: trial.precision)
    start = trials[4].configuration
    assert start["no_components"] == best.configuration["no_components"]
    assert start["learning_rate"] == pytest.approx(max(best.configuration["learning_rate"], 1e-3))
    assert start["user_alpha_scale"] == 1.0
    assert trials[4].epochs == best.epochs
