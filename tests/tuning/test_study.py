"""The study over strategies: numbered through, mapped at no training cost, blind to cold items."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import pytest
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from recsys.base.config import Search
from recsys.base.events import Event, TrialDone, listening
from recsys.models.blending import item_to_item_model, without_neighbours
from recsys.models.configuration import parse_configuration
from recsys.models.hybrid import FeaturesBySide, fit_hybrid
from recsys.tuning.closed_forms import BLENDABLE
from recsys.tuning.finishing import (
    NEIGHBOUR_WEIGHTS,
    USER_BLENDINGS,
    USUAL_WEIGHT,
    nearest_of_good,
    with_neighbours,
    without_items,
)
from recsys.tuning.portfolio import PORTFOLIO
from recsys.tuning.problems import Problem
from recsys.tuning.recorders import NullRecorder
from recsys.tuning.study import best_by_strategy, best_of, study_strategies
from recsys.tuning.trials import Rung, Study, TrialResult
from tests.fixtures.matrices import group_tags, grouped


@dataclass
class CallRecorder(NullRecorder):
    """Keeps which calls a recorder gets."""

    begun: int = 0
    ended: int = 0
    numbers: list[int] = field(default_factory=list)

    def begin(self) -> None:
        self.begun += 1

    def started(self, trial: TrialResult) -> None:
        self.numbers.append(trial.number)

    def measured(self, trial: TrialResult, new: Sequence[Rung]) -> None:
        assert trial.number in self.numbers

    def end(self, study: Any) -> None:
        self.ended += 1


def problem() -> Problem:
    train, validation = grouped()
    return Problem(train, validation, seed=1, sides=FeaturesBySide(item=group_tags()))


GOOD = {"no_components": 24, "learning_rate": 0.06, "user_alpha": 1e-5, "item_alpha": 2e-5}
SEARCH = Search(item_to_item_trials=0, trials=3, max_epochs=9, batch=2, joint_trials=2)


@pytest.fixture(scope="module")
def study() -> Any:
    return study_strategies(problem(), SEARCH, 1, cold_items=np.arange(5))


def test_trials_are_numbered_through_and_recorded_once() -> None:
    calls = CallRecorder()
    found = study_strategies(problem(), SEARCH, 1, recorder=calls)
    assert [trial.number for trial in found.trials] == [0, 1, 2, 3, 4, 5]
    assert calls.numbers == [0, 1, 2, 3, 4, 5]
    assert (calls.begun, calls.ended) == (1, 1)
    strategies = [trial.configuration["strategy"] for trial in found.trials]
    assert strategies == ["none"] * 3 + ["mapped"] + ["joint"] * 2


def test_the_mapped_trial_is_the_best_plain_one_and_no_worse(study: Any) -> None:
    best = best_by_strategy(study.trials)
    mapped, plain = best["mapped"], best["none"]
    assert mapped.precision >= plain.precision
    assert mapped.epochs == [plain.best.epoch]
    for name, value in plain.configuration.items():
        assert mapped.configuration[name] == value or name == "strategy"
    assert mapped.reason == f"trial {plain.number}, features mapped"


@pytest.mark.parametrize("featured", [True, False])
def test_users_are_blended_as_far_as_it_pays_on_validation(featured: bool) -> None:
    """The planted groups are told by likes alone: a little training leaves room for them."""
    asked = problem() if featured else replace(problem(), sides=None)
    search = Search(
        item_to_item_trials=0,
        trials=1,
        max_epochs=3,
        space={"no_components": 24, "learning_rate": 0.02},
    )
    trials = study_strategies(asked, search, 1).trials
    chosen = best_of(trials)
    assert chosen is not None
    reached = {}
    for share in USER_BLENDINGS:
        configuration = {**chosen.configuration, "user_blending": share}
        model = fit_hybrid(asked.train, configuration, chosen.epochs[0], 1, asked.sides)
        reached[share] = asked.precision(model.factors)
    assert chosen is trials[-1]
    assert chosen.precision == max(reached.values()) > reached[0.0]
    assert chosen.configuration["user_blending"] == max(reached, key=lambda share: reached[share])
    assert chosen.reason == (
        "trial 0, features mapped" if featured else "trial 0, users blended with their fold-in"
    )


def test_users_who_have_nothing_to_gain_are_not_blended() -> None:
    """Everybody likes one of six items, and the five others are held out: any ranking is right."""
    likes = sp.csr_matrix(np.eye(6, dtype=np.float32))
    asked = Problem(likes, sp.csr_matrix(1 - np.eye(6, dtype=np.float32)), seed=1)
    search = Search(
        item_to_item_trials=0,
        trials=2,
        max_epochs=3,
        space={"no_components": 4, "initialisation": "random"},
    )
    found = study_strategies(asked, search, 1)
    assert [trial.precision for trial in found.trials] == [1.0, 1.0]


def test_a_configuration_says_so_where_lightfm_is_to_train(study: Any) -> None:
    search = SEARCH.model_copy(update={"trainer": "lightfm", "trials": 1, "joint_trials": 1})
    asked = study_strategies(problem(), search, 1)
    assert [trial.configuration["trainer"] for trial in asked.trials] == ["lightfm"] * 3
    assert not any("trainer" in trial.configuration for trial in study.trials)


def test_a_configuration_says_into_how_many_blocks_epochs_are_cut(study: Any) -> None:
    searched = [trial for trial in study.trials if "model" not in trial.configuration]
    assert {trial.configuration["blocks"] for trial in searched} == {16}
    search = SEARCH.model_copy(update={"blocks": 1, "trials": 1, "joint_trials": 0})
    whole = study_strategies(problem(), search, 1)
    assert not any("blocks" in trial.configuration for trial in whole.trials)


def test_joint_trials_start_from_the_optimum_without_features(study: Any) -> None:
    plain = best_by_strategy(study.trials)["none"].configuration
    start = study.trials[4].configuration
    for name in ("no_components", "learning_rate", "user_alpha", "item_alpha", "max_sampled"):
        assert start[name] == pytest.approx(plain[name])
    assert {"feature_weight", "min_support", "normalisation", "features_below"} <= set(start)


def test_the_same_seed_is_the_same_study(study: Any) -> None:
    again = study_strategies(problem(), SEARCH, 1, cold_items=np.arange(5), threads=2)
    assert [t.configuration for t in again.trials] == [t.configuration for t in study.trials]
    assert [t.values for t in again.trials] == [t.values for t in study.trials]


def test_what_is_said_of_cold_items_changes_nothing(study: Any) -> None:
    whole = group_tags()
    matrix = whole.encoded.matrix.tolil()
    matrix[:5] = 1
    told = replace(whole, encoded=replace(whole.encoded, matrix=matrix.tocsr()))
    other = replace(problem(), sides=FeaturesBySide(item=told))
    search = SEARCH.model_copy(update={"joint_trials": 0})
    found = study_strategies(other, search, 1, cold_items=np.arange(5))
    for name in ("penalty", "bias_gain"):
        assert found.trials[3].configuration[name] == study.trials[3].configuration[name]


def test_without_features_there_is_nothing_to_map() -> None:
    trials = study_strategies(replace(problem(), sides=None), SEARCH, 1).trials
    plain = [trial for trial in trials if "user_blending" not in trial.configuration]
    assert [trial.configuration["strategy"] for trial in plain] == ["none"] * 3
    # Its users may be blended with their fold-in: the best of these once more, and better.
    for trial in trials[3:]:
        assert trial is trials[3]
        assert trial.configuration["strategy"] == "none"
        assert trial.precision > max(other.precision for other in plain)


def test_of_equals_the_mapped_one_wins_and_then_the_first() -> None:
    def trial(number: int, strategy: str, value: float) -> TrialResult:
        return TrialResult(number, {"strategy": strategy}, (Rung(3, value, 0.0),), "complete")

    trials = [trial(0, "none", 0.2), trial(1, "none", 0.2), trial(2, "mapped", 0.2)]
    assert best_of(trials) is trials[2]
    assert best_of(trials[:2]) is trials[0]
    assert best_of([*trials, trial(3, "joint", 0.3)]).number == 3
    assert best_of([TrialResult(0, {})]) is None


def test_some_items_are_said_nothing_of() -> None:
    profiles = group_tags().profiles()
    left = without_items(profiles, np.array([0, 47]))
    assert not left.described[[0, 47]].any()
    assert left.described[1:47].all()
    np.testing.assert_array_equal(left.rows(np.arange(1, 47)).data, profiles.data[1:47])


def test_a_study_begins_with_the_champion_and_what_did_well_elsewhere_each_once() -> None:
    known = dict(PORTFOLIO["citeulike-a"])
    tried = study_strategies(
        problem(),
        Search(item_to_item_trials=0, trials=5, max_epochs=4),
        1,
        started_from=[GOOD, known],
    ).trials[:5]
    wanted = [GOOD, known, PORTFOLIO["sketchfab"], PORTFOLIO["sample"]]
    for trial, configuration in zip(tried, wanted, strict=False):
        for name in ("no_components", "learning_rate", "user_alpha", "item_alpha"):
            assert trial.configuration[name] == pytest.approx(configuration[name])
    assert tried[4].configuration["learning_rate"] not in [one["learning_rate"] for one in wanted]


BLENDING = Search(item_to_item_trials=2, trials=2, max_epochs=9, batch=2)


@pytest.fixture(scope="module", params=[True, False], ids=["featured", "plain"])
def blending(request: pytest.FixtureRequest) -> tuple[Problem, Study, CallRecorder]:
    """A study with item-to-item trials, on data with features and without."""
    asked = problem() if request.param else replace(problem(), sides=None)
    calls = CallRecorder()
    return asked, study_strategies(asked, BLENDING, 1, recorder=calls), calls


def test_where_weights_differ_they_are_tried_as_they_are_and_not_at_all() -> None:
    plain = problem()
    weights = plain.train.copy()
    weights.data[:] = 1 + np.arange(weights.nnz) % 3
    weighted = replace(plain, train=weights)
    search = Search(item_to_item_trials=0, trials=4, max_epochs=3, batch=4)
    found = study_strategies(weighted, search, 1).trials
    powers = [trial.configuration["weight_power"] for trial in found[:4]]
    assert powers == [1.0, 0.0, 1.0, 1.0]
    first, second = (dict(trial.configuration) for trial in found[:2])
    assert first.pop("weight_power") != second.pop("weight_power")
    assert first == second
    # All weights alike are none; and who fixes the power has it fixed.
    alike = replace(plain, train=2 * plain.train)
    assert "weight_power" not in study_strategies(alike, search, 1).trials[0].configuration
    fixed = search.model_copy(update={"space": {**search.space, "weight_power": 0.5}})
    trials = study_strategies(weighted, fixed, 1).trials
    assert {trial.configuration["weight_power"] for trial in trials[:4]} == {0.5}


def test_a_study_begins_with_item_to_item_trials_and_ends_with_a_blended_one(
    blending: tuple[Problem, Study, CallRecorder],
) -> None:
    _, study, calls = blending
    numbers = list(range(len(study.trials)))
    assert [trial.number for trial in study.trials] == calls.numbers == numbers
    assert (calls.begun, calls.ended) == (1, 1)
    models = [trial.configuration.get("model") for trial in study.trials]
    assert models[:6] == ["ease", "ease", "itemknn", "itemknn", "rp3beta", "rp3beta"]
    assert set(models[6:]) == {None}
    blended = [t for t in study.trials if "neighbours" in t.configuration]
    assert blended == [study.trials[-1]]
    assert blended[0].status == "complete"


def test_the_blended_trial_is_the_finished_one_and_the_best_item_to_item_model(
    blending: tuple[Problem, Study, CallRecorder],
) -> None:
    _, study, _ = blending
    blended = study.trials[-1]
    parameters = parse_configuration(blended.configuration)[1]
    finished = best_of(study.trials[:-1])
    assert finished is not None
    assert without_neighbours(blended.configuration) == finished.configuration
    candidates = [t for t in study.trials if t.configuration.get("model") in BLENDABLE]
    best = max(candidates, key=lambda trial: (trial.precision, -trial.number))
    model = item_to_item_model(parameters)
    assert model is not None
    found = model.to_dict()
    assert found["kept"] <= best.configuration["kept"]
    assert {n: found[n] for n in best.configuration} | {"kept": 0} == {
        **best.configuration, "kept": 0,
    }  # fmt: skip
    assert parameters.neighbours_weight in NEIGHBOUR_WEIGHTS
    assert blended.reason == f"trial {finished.number} blended with trial {best.number}"
    assert blended.epochs == [finished.best.epoch if finished.best else None]


def test_a_blend_is_the_same_on_several_threads_and_with_or_without_kept_weights(
    blending: tuple[Problem, Study, CallRecorder],
) -> None:
    asked, study, _ = blending
    finished = best_of(study.trials[:-1])
    kept = [trial for trial in study.trials if trial.neighbours is not None]
    assert finished is not None
    assert len(kept) == 1
    fitted_again = replace(kept[0], neighbours=None)
    with threadpool_limits(1):
        found = [
            with_neighbours(asked, finished, neighbours, 9, threads)
            for neighbours, threads in ((kept[0], 1), (kept[0], 3), (fitted_again, 1))
        ]
    assert found[0] == found[1] == found[2]
    assert found[0].configuration == study.trials[-1].configuration
    assert found[0].precision == study.trials[-1].precision


def test_the_best_so_far_never_falls_from_one_part_of_a_study_to_the_next(
    blending: tuple[Problem, Study, CallRecorder],
) -> None:
    asked, _, _ = blending
    events: list[Event] = []
    with listening(events.append):
        study_strategies(asked, BLENDING, 1)
    best = [event.best for event in events if isinstance(event, TrialDone)]
    assert len(best) > 6
    assert best == sorted(best)


def test_a_blended_trials_precision_is_that_of_its_configuration_refit(
    blending: tuple[Problem, Study, CallRecorder],
) -> None:
    asked, study, _ = blending
    blended = study.trials[-1]
    model = fit_hybrid(asked.train, blended.configuration, blended.epochs[0], 1, asked.sides)
    assert model.neighbours is not None
    assert asked.precision(model.scorer(asked.train)) == blended.precision
    assert asked.precision(model.factors) != blended.precision


def test_the_weight_is_the_usual_one_unless_another_is_clearly_better(
    blending: tuple[Problem, Study, CallRecorder],
) -> None:
    asked, study, _ = blending
    blended = study.trials[-1]
    values = []
    for weight in NEIGHBOUR_WEIGHTS:
        configuration = {**blended.configuration, "neighbours_weight": weight}
        model = fit_hybrid(asked.train, configuration, blended.epochs[0], 1, asked.sides)
        values.append(asked.precisions(model.scorer(asked.train)))
    chosen = NEIGHBOUR_WEIGHTS.index(blended.configuration["neighbours_weight"])
    finished = best_of(study.trials[:-1])
    assert finished is not None
    usual = NEIGHBOUR_WEIGHTS.index(USUAL_WEIGHT)
    assert nearest_of_good(values, usual, at_least=finished.precision) == chosen
    assert values[chosen].mean() == blended.precision


def test_the_winner_is_the_best_that_can_be_served(
    blending: tuple[Problem, Study, CallRecorder],
) -> None:
    _, study, _ = blending
    winner = best_of(study.trials)
    assert winner is not None
    assert "model" not in winner.configuration
    assert winner.precision == study.best.precision
    # Groups are told by likes alone, so few epochs leave much for neighbours to add.
    assert winner is study.trials[-1]
    assert winner.precision > max(t.precision for t in study.trials[6:-1])


def test_without_item_to_item_trials_nothing_is_blended(study: Any) -> None:
    assert not any("model" in trial.configuration for trial in study.trials)
    assert not any("neighbours" in trial.configuration for trial in study.trials)


USERS = np.array([0.0, 0.2, 0.4, 0.6])  # their precision at the best place


@pytest.mark.parametrize(
    ("lost", "at_least", "place"),
    [
        # All users lose the same: no chance is in it, and the best place is taken.
        ([0.1, 0.1, 0.1, 0.1], 0.0, 1),
        # Some gain and some lose, 0.05 in the mean with a standard error of 0.064.
        ([0.2, -0.1, 0.1, 0.0], 0.0, 2),
        # The same, but what is blended would be better alone than at the usual place.
        ([0.2, -0.1, 0.1, 0.0], 0.28, 1),
        # Nothing reaches that, so that it does not count.
        ([0.2, -0.1, 0.1, 0.0], 0.9, 2),
        ([0.0, 0.0, 0.0, 0.0], 0.0, 2),
    ],
)
def test_a_place_is_left_only_for_a_clearly_better_one(
    lost: list[float], at_least: float, place: int
) -> None:
    values = [USERS - 0.3, USERS, USERS - lost]
    assert nearest_of_good(values, 2, at_least=at_least) == place


def test_a_single_user_is_no_reason_to_stay() -> None:
    values = [np.array([0.2]), np.array([0.4]), np.array([0.2])]
    assert nearest_of_good(values, 2) == 1
