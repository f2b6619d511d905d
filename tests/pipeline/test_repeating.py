"""Repeated holdouts as a stage: the test holdout is the first fold, and all figures are of all."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from pydantic import ValidationError

from recsys.base.config import Config, Data, Encode, Evaluate, Search, Split, Threshold
from recsys.base.dimensions import Space
from recsys.data import persistence
from recsys.evaluation.metric_names import repeated_metrics, repeated_text
from recsys.pipeline import evaluation, preparation, tuning
from recsys.pipeline.repeating import narrow_enough, repeat
from tests.fixtures.timed import write_timed


def test_further_users_are_tested_with_what_was_chosen(tmp_path: Path) -> None:
    likes, features = write_timed(tmp_path / "in")
    reading = Data(likes=str(likes), features=str(features), timestamp_column="t")
    interim, options = tmp_path / "interim", Evaluate(baseline_trials=0, bootstrap_samples=50)
    data = preparation.ingest(interim, reading, preparation.sources_of(reading))
    core = preparation.threshold(interim, data, Threshold())
    holdouts = preparation.split(interim, data, core, Split(n=4), 3)
    encoded = preparation.encode(interim, data, core, Encode())
    # Every fit goes by the ages of what is known in its fold.
    space: Space = {"half_life": "30d"}
    search = Search(trials=1, item_to_item_trials=1, max_epochs=8, space=space)
    chosen = tuning.tune(interim, holdouts, encoded, search, 3)
    measured = evaluation.evaluate(interim, holdouts, encoded, chosen, options, 3)
    stages = core, holdouts, encoded, chosen, measured
    made = repeat(interim, *stages, 0.0001, 1, 20, 50, 4, False, 3)
    figures = made.read_json("repeated.json")
    parts = persistence.load_split(Path(holdouts.path))
    assert (made.outcome.folds, made.outcome.ended) == (4, "every eligible user was tested")
    validation = int((np.diff(parts.validation.indptr) > 0).sum())
    assert made.outcome.users == figures["users"] == figures["user_folds"] == 240 - validation
    assert {"choice", "popularity", "ease", "itemknn", "lightfm"} <= set(figures["models"])
    means = {name: entry["mean"] for name, entry in figures["models"].items()}
    assert means["choice"] > means["popularity"] + 0.2
    assert chosen.outcome.trained["half_life"] == "30d"
    # Four folds of the same size: the test holdout is one of them.
    table = pd.read_parquet(measured.file("per_user.parquet"))
    alone = repeat(interim, *stages, 0.99, 1, 20, 50, 4, False, 3)
    assert alone.outcome.folds == 1
    own = alone.read_json("repeated.json")["models"]["choice"]["mean"]
    assert own == pytest.approx(table[figures["winner"]].mean())
    assert figures["half_width"] < alone.outcome.half_width
    named = repeated_metrics(figures)
    assert named["repeated/precision_at_5"] == means["choice"]
    assert named["repeated_ease/precision_at_5"] == means["ease"]
    assert repeated_text(figures).startswith("precision at 5 over 4 folds, 192 users: 0.")
    assert repeated_text({}) == ""
    # Whether there is any need of them is said by the leaderboard.
    winner = measured.read_json("leaderboard.json")[0]["metrics"]["precision_at_5"]
    width = (winner["high"] - winner["low"]) / 2 / winner["mean"]
    assert narrow_enough(measured, width * 1.01)
    assert not narrow_enough(measured, width * 0.99)


@pytest.mark.parametrize(
    "changed",
    [
        {"split": {"method": "time"}},
        {"split": {"holdouts": "one"}},
        {"protocol": "article"},
    ],
)
def test_a_split_that_is_not_by_user_is_not_repeated(changed: dict[str, object]) -> None:
    with pytest.raises(ValidationError, match=r"evaluate\.half_width needs a split by user"):
        Config.model_validate({**changed, "evaluate": {"half_width": 0.05}})
    # The default is off there, also as it is written down and read by another process.
    found = Config.model_validate(changed)
    assert not found.repeats_holdouts
    assert not Config.model_validate_json(found.model_dump_json()).repeats_holdouts
    assert not found.effective().repeats_holdouts


def test_splits_by_user_are_repeated_unless_it_is_switched_off() -> None:
    assert Config().repeats_holdouts
    assert Config.model_validate({"split": {"method": "last"}}).repeats_holdouts
    for off in (0, None):
        assert not Config.model_validate({"evaluate": {"half_width": off}}).repeats_holdouts
