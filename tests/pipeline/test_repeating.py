"""Repeated holdouts as a stage: the test holdout is the first fold, and all figures are of all."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import scipy.sparse as sp
from pydantic import ValidationError

from recsys.base.config import Config, Data, Encode, Evaluate, Fit, Gate, Search, Split, Threshold
from recsys.base.dimensions import Space
from recsys.data import persistence
from recsys.data.outcomes import Encoded, HeldOut, Thresholded
from recsys.data.splits import times_of
from recsys.evaluation.gate import reference_level
from recsys.evaluation.metric_names import repeated_metrics, repeated_text
from recsys.evaluation.non_inferiority import paired_difference
from recsys.pipeline import evaluation, fitting, preparation, tuning
from recsys.pipeline.further_users import load_further_users
from recsys.pipeline.gating import gate
from recsys.pipeline.outcomes import Evaluated, Judged, Reference, Repeated, Tuned
from recsys.pipeline.preparation import load_core
from recsys.pipeline.repeating import narrow_enough, repeat
from recsys.ranking.metrics import precision_at_k
from recsys.store.stages import Stage
from tests.fixtures.timed import write_timed

SEED = 3


@dataclass(frozen=True)
class Measured:
    """A night on likes with times, up to its evaluation."""

    interim: Path
    core: Stage[Thresholded]
    holdouts: Stage[HeldOut]
    features: Stage[Encoded]
    chosen: Stage[Tuned]
    measured: Stage[Evaluated]

    def repeated(self, half_width: float, rounds: int = 1) -> Stage[Repeated]:
        return repeat(
            self.interim, self.core, self.holdouts, self.features, self.chosen, self.measured,
            half_width, rounds, 20, 50, 4, False, SEED,
        )  # fmt: skip


@pytest.fixture(scope="module")
def night(tmp_path_factory: pytest.TempPathFactory) -> Measured:
    folder = tmp_path_factory.mktemp("repeating")
    likes, features = write_timed(folder / "in")
    reading = Data(likes=str(likes), features=str(features), timestamp_column="t")
    interim, options = folder / "interim", Evaluate(baseline_trials=0, bootstrap_samples=50)
    data = preparation.ingest(interim, reading, preparation.sources_of(reading))
    core = preparation.threshold(interim, data, Threshold())
    holdouts = preparation.split(interim, data, core, Split(n=4), SEED)
    encoded = preparation.encode(interim, data, core, Encode())
    # Every fit goes by the ages of what is known in its fold.
    space: Space = {"half_life": "30d"}
    search = Search(trials=1, item_to_item_trials=1, max_epochs=8, space=space)
    chosen = tuning.tune(interim, holdouts, encoded, search, SEED)
    measured = evaluation.evaluate(interim, holdouts, encoded, chosen, options, SEED)
    return Measured(interim, core, holdouts, encoded, chosen, measured)


def test_further_users_are_tested_with_what_was_chosen(night: Measured) -> None:
    holdouts, chosen, measured = night.holdouts, night.chosen, night.measured
    made = night.repeated(0.0001)
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
    alone = night.repeated(0.99)
    assert alone.outcome.folds == 1
    own = alone.read_json("repeated.json")["models"]["choice"]["mean"]
    assert own == pytest.approx(table[figures["winner"]].mean())
    assert figures["half_width"] < alone.outcome.half_width
    named = repeated_metrics(figures)
    assert named["repeated/precision_at_5"] == means["choice"]
    assert named["repeated_ease/precision_at_5"] == means["ease"]
    assert repeated_text(figures).startswith("precision at 5 over 4 folds, 192 users: 0.")
    assert repeated_text({}) == ""
    # Nobody was tested twice.
    assert figures["half_width_of_these"] is None
    assert "repeated/half_width_of_these" not in named
    told = repeated_text({**figures, "half_width": 0.076, "half_width_of_these": 0.045})
    assert "half-width 7.6%, of these very users 4.5%); every eligible" in told
    # Whether there is any need of them is said by the leaderboard.
    board = {entry["model"]: entry for entry in measured.read_json("leaderboard.json")}
    winner = board[figures["winner"]]["metrics"]["precision_at_5"]
    width = (winner["high"] - winner["low"]) / 2 / winner["mean"]
    assert narrow_enough(measured, width * 1.01)
    assert not narrow_enough(measured, width * 0.99)


def test_the_gate_compares_on_the_users_of_all_folds(night: Measured) -> None:
    made = night.repeated(0.0001)
    fitted = fitting.fit(
        night.interim, night.core, night.features, night.chosen, night.measured, Fit(), SEED, {}
    )
    other = {**night.chosen.outcome.trained, "half_life": "none"}

    def judged(repeated: Stage[Repeated] | None, loss: float) -> Stage[Judged]:
        return gate(
            night.interim, night.holdouts, night.features, night.measured, fitted, None,
            Gate(champion_loss=loss), SEED, reference=Reference("3", other), core=night.core,
            repeated=repeated,
        )  # fmt: skip

    alone, longer = (
        pd.read_parquet(judged(folds, 0.02).file("per_user.parquet")) for folds in (None, made)
    )
    assert (len(alone), len(longer), longer.user.nunique()) == (48, 192, 192)
    assert longer[:48].equals(alone)
    means = made.read_json("repeated.json")["models"]
    assert longer.challenger.mean() == pytest.approx(means["choice"]["mean"])
    assert longer.popularity.mean() == pytest.approx(means["popularity"]["mean"])
    # The reference is fitted without what each fold holds out, and finds that.
    core = load_core(night.core)
    likes = pd.read_parquet(made.file("fold_likes.parquet"))
    for fold, held in likes.groupby("fold"):
        heldout = sp.csr_matrix(
            (np.ones(len(held), np.float32), (held.user, held["item"])), core.matrix().shape
        )
        known = (core.matrix() - heldout).tocsr()
        known.eliminate_zeros()
        model = fitting.refit(known, other, night.features, SEED, times=times_of(core))
        expected = precision_at_k(model.scorer(known), heldout, known, 5)
        rows = longer[48 * (int(str(fold)) + 1) :][:48]
        assert rows.user.tolist() == core.users.take(np.unique(held.user))
        assert rows.reference.tolist() == expected.tolist()
    # A margin between what 48 users and what 192 can show decides otherwise.
    level = reference_level(Gate())
    few, many = (
        paired_difference(scores.challenger.to_numpy(), scores.reference.to_numpy(), level)
        for scores in (alone, longer)
    )
    lost = [-ahead.low / ahead.other for ahead in (many, few)]
    assert 0 < lost[0] < lost[1]
    margin = (lost[0] + lost[1]) / 2
    for folds, enough, users in ((None, False, "48 users"), (made, True, "192 users")):
        checks = {
            check["name"]: check
            for check in judged(folds, margin).read_json("verdict.json")["checks"]
        }
        assert checks["no worse than the reference"]["passed"] == enough
        assert checks["enough users to tell"]["passed"] == enough
        assert checks["enough users to tell"]["found"].startswith(users)
    # A further round is of the same users, who count once; and a single fold has none.
    again = load_further_users(
        night.repeated(0.0001, rounds=2), night.core, night.holdouts, night.features, SEED
    )
    assert again is not None
    assert core.users.take(again.users) == longer.user[48:].tolist()
    assert not load_further_users(
        night.repeated(0.99), night.core, night.holdouts, night.features, SEED
    )


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
