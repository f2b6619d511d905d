"""A split by time through the stages: searched, measured and reported, and blind for the future."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from recsys.base.config import Config, Data, Evaluate, Search, Split, Threshold
from recsys.data import persistence
from recsys.data.folds import final_fold, search_fold
from recsys.data.splits import times_of
from recsys.evaluation.metric_names import newcomer_metrics, newcomer_rows
from recsys.models.model import model_from_dict
from recsys.pipeline import evaluation, preparation, tuning
from recsys.pipeline.preparation import load_core
from recsys.pipeline.splitting import hold_out
from recsys.ranking.metrics import precision_at_k
from recsys.store.stages import Stage
from recsys.tuning.problems import load_problem, load_sides
from tests.fixtures.timed import timed, write_timed

SPLIT = Split(method="time", validation="7d", test="7d", n=3)


@dataclass(frozen=True)
class Made:
    """The stages of a run on timed likes, up to the evaluation."""

    data: Stage[Any]
    core: Stage[Any]
    holdouts: Stage[Any]
    features: Stage[Any]
    chosen: Stage[Any]
    measured: Stage[Any]


def made(folder: Path, likes: Path, features: Path) -> Made:
    config = Config(
        data=Data(likes=str(likes), features=str(features), timestamp_column="t"),
        split=SPLIT,
        threshold=Threshold(user_min=4, item_min=4),
        search=Search(trials=2, item_to_item_trials=1, max_epochs=10, space={"half_life": "20d"}),
        evaluate=Evaluate(baseline_trials=1, bootstrap_samples=50),
    )
    assert config.data is not None
    data = preparation.ingest(folder, config.data, preparation.sources_of(config.data))
    core = preparation.threshold(folder, data, config.threshold)
    holdouts = hold_out(lambda stage, *args: stage(folder, *args), data, core, config)
    encoded = preparation.encode(folder, data, core, config.encode)
    chosen = tuning.tune(folder, holdouts, encoded, config.search, 7)
    measured = evaluation.evaluate(folder, holdouts, encoded, chosen, config.evaluate, 7)
    return Made(data, core, holdouts, encoded, chosen, measured)


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Made:
    folder = tmp_path_factory.mktemp("timed")
    return made(folder / "interim", *write_timed(folder))


def test_a_split_by_time_is_written_and_read_again(run: Made) -> None:
    parts = persistence.load_split(Path(run.holdouts.path))
    counts = run.holdouts.outcome
    assert run.holdouts.name == "split"
    assert (parts.train.nnz, parts.validation.nnz, parts.test.nnz) == (
        counts.train, counts.validation, counts.test,
    )  # fmt: skip
    assert parts.refit_train().nnz == counts.refit > counts.train
    assert counts.test_from == "2024-01-06 21:57"
    assert "12 users not trained before are measured apart" in counts.told()[0]
    assert "6 items are new" in counts.told()[0]


def test_trials_and_figures_are_of_what_was_known_then(run: Made) -> None:
    parts = persistence.load_split(Path(run.holdouts.path))
    search, final = search_fold(parts), final_fold(parts)
    problem = load_problem(run.holdouts, run.features, 7)
    assert (problem.train != search.known).nnz == 0
    assert problem.train.shape[1] == 84  # six of 90 items came later
    assert np.diff(problem.train.tocsc().indptr).min() > 0
    table = pd.read_parquet(run.measured.file("per_user.parquet"))
    assert final.users is not None
    tested = np.flatnonzero(np.diff(parts.test.indptr))
    assert table.user.tolist() == tested.tolist()
    assert not {user[-3:] for user in preparation.load_core(run.core).users.take(tested)} & {
        "u38",
        "u39",
    }


def test_trials_and_figures_go_by_the_ages_of_what_was_known_then(run: Made) -> None:
    likes = load_core(run.core)
    when = times_of(likes)
    assert when is not None
    parts = persistence.load_split(Path(run.holdouts.path))
    problem, final = load_problem(run.holdouts, run.features, 7), final_fold(parts)
    assert problem.times is not None
    assert final.times is not None
    for times, matrix, whole in (
        (problem.times, problem.train, parts.train),
        (final.times, final.known, parts.refit_train()),
    ):
        assert times.ages(matrix).tolist() == when.ages(whole).tolist()
    trials = run.chosen.read_json("study.json")["trials"]
    assert {trial["configuration"]["half_life"] for trial in trials} == {"20d"}
    for trial in trials:
        if "model" in trial["configuration"]:
            model = model_from_dict(trial["configuration"])
            scorer = model.fit(problem.train, times=problem.times)
            assert problem.precision(scorer) == trial["curve"][-1][1]
    board = {entry["model"]: entry for entry in run.measured.read_json("leaderboard.json")}
    scores = pd.read_parquet(run.measured.file("per_user.parquet"))
    for name in ("popularity", "ease"):
        assert board[name]["configuration"]["half_life"] == "20d"
        model = model_from_dict({"model": name, **board[name]["configuration"]})
        scorer = model.fit(final.known, times=final.times)
        expected = precision_at_k(scorer, final.heldout, final.known, 5)
        assert scores[name].tolist() == expected.tolist()
        plain = model_from_dict(
            {"model": name, **board[name]["configuration"], "half_life": "none"}
        ).fit(final.known)
        assert expected.tolist() != precision_at_k(plain, final.heldout, final.known, 5).tolist()


def test_features_are_those_of_the_items_of_the_fold(run: Made) -> None:
    fold = final_fold(persistence.load_split(Path(run.holdouts.path)))
    sides = load_sides(run.features, fold.known.shape, fold.places)
    whole = persistence.load_encoded(Path(run.features.path), "item")
    assert sides is not None
    assert sides.item is not None
    assert whole is not None
    assert fold.items is not None
    n_items = len(fold.items)
    first = sides.item.encoded.matrix[:n_items]
    assert (first != whole.matrix[fold.items]).nnz == 0
    # Of the fifteen items that have a group's tag, one came later.
    assert whole.support.tolist() == [15] * 6
    assert sides.item.encoded.support.tolist() == [14] * 6


def test_newcomers_are_measured_and_reported(run: Made) -> None:
    figures = evaluation.newcomers_of(run.measured)
    users, items = figures["users"], figures["items"]
    assert (users["users"], users["known"], items["items"]) == (12, 36, 6)
    assert items["without_features"] == 0
    means = {name: found["precision_at_5"]["mean"] for name, found in users["models"].items()}
    assert means[figures["winner"]] > means["popularity"] + 0.2
    named = newcomer_metrics(figures)
    assert named["new_users/precision_at_5"] == means[figures["winner"]]
    assert named["new_users_itemknn/precision_at_5"] == means["itemknn"]
    own = items["models"][figures["strategy"]]["precision_at_5"]["mean"]
    assert named["new_items/precision_at_5"] == own
    assert own > named["new_items_popularity/precision_at_5"]
    texts = [row[0] for row in newcomer_rows(figures)]
    assert texts[0] == "12 users who came after the cut, by their first likes"
    assert texts[1] == "6 items that came after the cut, by their features"
    assert newcomer_rows({}) == []


def test_a_split_is_named_by_the_settings_that_it_reads(run: Made) -> None:
    def by_time(**changed: Any) -> str:
        split = SPLIT.model_copy(update=changed)
        config = Config(split=split, threshold=Threshold(user_min=4, item_min=4), seed=7)

        def key(stage: Any, *args: Any) -> Any:
            return stage.key(*args)

        return str(hold_out(key, run.data, run.core, config))

    changes: tuple[dict[str, Any], ...] = (
        {}, {"test": "6d"}, {"validation": "8d"}, {"fewest": 2}, {"n": 4}, {"cold_share": 0.2},
    )  # fmt: skip
    assert len({by_time(**changed) for changed in changes}) == len(changes)
    # By user, they say nothing: what was split before there were such settings is found again.
    by_user = {by_time(method="random", **changed) for changed in changes[:4]}
    assert len(by_user) == 1


def test_nothing_after_the_test_cut_reaches_the_search(run: Made, tmp_path: Path) -> None:
    """With another future, all trials are the same, and so is what each was measured at."""
    likes, features = timed()
    cut = pd.Timestamp("2024-01-06 21:57").timestamp()
    past, future = likes[likes.t < cut], likes[likes.t >= cut]
    # Others like these items now, and everybody one that was not there before.
    other_users = np.random.default_rng(5).permutation(future.uid.to_numpy())
    later = future.drop_duplicates("uid").assign(mid="later", modelname="later")
    changed = pd.concat([past, future.assign(uid=other_users), later])
    changed = changed.drop_duplicates(["uid", "mid"])
    changed.to_csv(tmp_path / "likes.psv", sep="|", index=False)
    features.to_csv(tmp_path / "feats.psv", sep="|", index=False)
    other = made(tmp_path / "interim", tmp_path / "likes.psv", tmp_path / "feats.psv")
    assert other.holdouts.digest != run.holdouts.digest
    assert other.holdouts.outcome.test != run.holdouts.outcome.test
    assert other.chosen.read_json("study.json") == run.chosen.read_json("study.json")
