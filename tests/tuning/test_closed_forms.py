"""Closed forms: as many trials as the catalogue allows, each fitted once, above popularity."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
import pytest
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from recsys.base.dimensions import Range
from recsys.base.errors import InputError
from recsys.base.events import Event, TrialDone, listening
from recsys.models import ease
from recsys.models.ease import MOST_EXACT, Ease
from recsys.models.item_to_item import ItemToItemModel
from recsys.models.model import model_from_dict
from recsys.models.popularity import Popularity
from recsys.ranking.scorer import Scorer
from recsys.tuning import closed_forms
from recsys.tuning.closed_forms import (
    BLENDABLE,
    EASE_TRIALS,
    FIRST,
    SPACES,
    affordable_trials,
    best_closed_forms,
    kept_within,
    model_of,
    tune_closed_forms,
    tuned_in_order,
)
from recsys.tuning.problems import Problem
from recsys.tuning.recorders import NullRecorder, Recorded
from recsys.tuning.space import Configuration
from recsys.tuning.trials import Rung, Study, TrialResult, is_closed_form, order_of_merit
from tests.fixtures.searches import problem

TRIALS = 4
SIZE = 10**9  # bytes, more than any of these need


@dataclass
class Memory(NullRecorder):
    """Remembers as the recorder of a tracking server does, and counts what it is told."""

    trials: dict[int, TrialResult] = field(default_factory=dict)
    started_numbers: list[int] = field(default_factory=list)
    measured_numbers: list[int] = field(default_factory=list)

    def recall(self, number: int, configuration: Configuration) -> Recorded:
        known = self.trials.get(number)
        if known is None or known.configuration != configuration:
            return Recorded()
        return Recorded(known.curve, known.reason if known.status == "diverged" else None)

    def started(self, trial: TrialResult) -> None:
        self.started_numbers.append(trial.number)

    def measured(self, trial: TrialResult, new: Sequence[Rung]) -> None:
        assert self.started_numbers[-1] == trial.number
        assert trial.curve == tuple(new)
        self.measured_numbers.append(trial.number)
        self.trials[trial.number] = trial


@dataclass(frozen=True)
class CountingProblem(Problem):
    """A problem that counts how often its objective is asked for."""

    asked: list[Scorer] = field(default_factory=list)

    def precision(self, scorer: Scorer) -> float:
        self.asked.append(scorer)
        return super().precision(scorer)


def counting() -> CountingProblem:
    plain = problem()
    return CountingProblem(plain.train, plain.validation, seed=plain.seed)


@pytest.fixture(scope="module")
def trials() -> list[TrialResult]:
    return tune_closed_forms(problem(), TRIALS, SIZE, NullRecorder(), 1)


def outcomes(trials: Sequence[TrialResult]) -> list[tuple[object, ...]]:
    return [(t.number, t.configuration, t.values, t.status, t.reason) for t in trials]


@pytest.mark.parametrize(
    ("n_items", "asked", "expected"),
    [
        (1, 10, 10), (6_000, 10, 10), (6_001, 10, 5), (12_000, 10, 5), (12_001, 10, 3),
        (20_000, 10, 3), (20_001, 10, 2), (1_000_000, 10, 1), (12_000, 1, 1), (20_000, 1, 1),
        (5_000, 0, 0), (9_000, 0, 0), (20_000, 0, 0), (1_000_000, 0, 0),
    ],
)  # fmt: skip
def test_ease_gets_fewer_trials_on_a_larger_catalogue(
    n_items: int, asked: int, expected: int
) -> None:
    assert affordable_trials("ease", n_items, asked) == expected
    for model in ("itemknn", "rp3beta"):
        assert affordable_trials(model, n_items, asked) == asked


def test_on_a_large_catalogue_a_cheap_floor_comes_before_ease(
    trials: list[TrialResult], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is tried of each model, and what comes of it, is the same in either order."""
    monkeypatch.setattr(closed_forms, "QUICK_EASE", problem().train.shape[1] - 1)
    found = tune_closed_forms(problem(), TRIALS, SIZE, NullRecorder(), 1)
    assert [trial.number for trial in found] == list(range(3 * TRIALS))
    models = [str(trial.configuration["model"]) for trial in found]
    assert models == ["rp3beta"] * TRIALS + ["itemknn"] * TRIALS + ["ease"] * TRIALS
    for model in SPACES:
        before, after = (
            [(t.configuration, t.values) for t in each if t.configuration["model"] == model]
            for each in (trials, found)
        )
        assert before == after


@pytest.mark.parametrize(("n_items", "first"), [(6_000, "ease"), (6_001, "rp3beta")])
def test_ease_is_the_first_floor_where_it_is_quick(n_items: int, first: str) -> None:
    assert tuned_in_order(n_items)[0] == first
    assert sorted(tuned_in_order(n_items)) == sorted(SPACES)


def test_weights_are_kept_as_far_as_they_fit() -> None:
    """Eight bytes each: 4 of the weight, 4 of its column."""
    assert kept_within(8 * 100 * 30, 100) == 30
    assert kept_within(8 * 100 * 30 + 799, 100) == 30
    assert kept_within(10**9, 100) == 100
    assert kept_within(1, 100) == kept_within(0, 0) == 1


def test_a_bound_in_bytes_holds_for_every_model(trials: list[TrialResult]) -> None:
    asked = problem()
    n_items = asked.train.shape[1]
    found = tune_closed_forms(asked, 1, 8 * 5 * n_items, NullRecorder(), 1)
    assert [trial.configuration["kept"] for trial in found] == [5, 5, 5]
    assert all(model_of(t).neighbours(asked.train).weights.nbytes <= 20 * n_items for t in found)
    assert trials[0].configuration["kept"] == n_items
    assert "nearest" not in trials[0].configuration


def test_a_catalogue_past_the_exact_solution_says_what_it_is_regressed_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for module in (ease, closed_forms):
        monkeypatch.setattr(module, "MOST_EXACT", 10)
    (trial, *_) = tune_closed_forms(problem(), 1, SIZE, NullRecorder(), 1)
    assert trial.configuration["nearest"] == min(problem().train.shape[1], 100)
    assert trial.precision > 0
    assert MOST_EXACT in [limit for limit, _ in EASE_TRIALS]


def test_trials_are_numbered_from_0_model_after_model(trials: list[TrialResult]) -> None:
    assert [trial.number for trial in trials] == list(range(3 * TRIALS))
    models = [model for model in SPACES for _ in range(TRIALS)]
    assert [trial.configuration["model"] for trial in trials] == models
    for trial in trials:
        assert trial.status == "complete"
        assert trial.epochs == [1]
        assert is_closed_form(trial)


def test_each_trial_is_recorded_once_and_emitted(trials: list[TrialResult]) -> None:
    memory, events = Memory(), list[Event]()
    with listening(events.append):
        found = tune_closed_forms(problem(), TRIALS, SIZE, memory, 1)
    numbers = list(range(3 * TRIALS))
    assert memory.started_numbers == memory.measured_numbers == numbers
    assert list(memory.trials.values()) == found
    done = [event for event in events if isinstance(event, TrialDone)]
    assert [event.number for event in done] == numbers
    assert [event.best for event in done] == pytest.approx(
        np.maximum.accumulate([trial.precision for trial in found])
    )
    assert outcomes(found) == outcomes(trials)


@pytest.mark.parametrize("known", [3, 2 * TRIALS + 1, 3 * TRIALS])
def test_what_was_recorded_is_not_fitted_again(known: int, trials: list[TrialResult]) -> None:
    """Cut off after so many trials, and started again with the same recorder."""
    memory = Memory({trial.number: trial for trial in trials[:known]})
    again = counting()
    found = tune_closed_forms(again, TRIALS, SIZE, memory, 1)
    assert len(again.asked) == 3 * TRIALS - known
    assert memory.started_numbers == list(range(known, 3 * TRIALS))
    assert outcomes(found) == outcomes(trials)


def test_another_configuration_under_the_same_number_is_not_recalled() -> None:
    memory = Memory()
    tune_closed_forms(problem(), 1, SIZE, memory, 1)
    strange = {**memory.trials[0].configuration, "regularization": 3.0}
    memory.trials[0] = replace(memory.trials[0], configuration=strange)
    again = counting()
    tune_closed_forms(again, 1, SIZE, memory, 1)
    assert len(again.asked) == 1


def test_the_same_seed_is_the_same_trials_and_another_is_not(trials: list[TrialResult]) -> None:
    again = tune_closed_forms(problem(), TRIALS, SIZE, NullRecorder(), 1)
    assert outcomes(again) == outcomes(trials)
    other = tune_closed_forms(problem(), TRIALS, SIZE, NullRecorder(), 2)
    assert [t.configuration for t in other] != [t.configuration for t in trials]


def test_known_configurations_come_first_and_all_lie_in_the_space(
    trials: list[TrialResult],
) -> None:
    n_items = problem().train.shape[1]
    for model, space in SPACES.items():
        of_model = [trial for trial in trials if trial.configuration["model"] == model]
        for trial, known in zip(of_model, FIRST[model], strict=False):
            for name, value in known.items():
                wanted = min(value, n_items) if name == "kept" else value
                assert trial.configuration[name] == pytest.approx(wanted)
        for trial in of_model:
            for name, limits in space.items():
                low = min(limits.low, n_items) if name == "kept" else limits.low
                assert low <= trial.configuration[name] <= limits.high


def test_a_trials_precision_is_that_of_its_model(trials: list[TrialResult]) -> None:
    asked = problem()
    for trial in trials:
        model = model_from_dict(trial.configuration)
        assert isinstance(model, ItemToItemModel)
        assert model == model_of(trial)
        assert asked.precision(model.fit(asked.train)) == trial.precision


def test_ease_beats_popularity_on_groups_of_users(trials: list[TrialResult]) -> None:
    """Popularity knows no groups, a sixth of which is to be found; EASE finds most of them."""
    asked = problem()
    popular = asked.precision(Popularity().fit(asked.train))
    best = best_closed_forms(trials)
    assert set(best) == set(SPACES)
    for trial in best.values():
        assert trial.precision > 2 * popular
    assert all(best[str(t.configuration["model"])].precision >= t.precision for t in trials)


def test_on_several_threads_the_trials_are_the_same(trials: list[TrialResult]) -> None:
    memory = Memory()
    with threadpool_limits(1):
        found = tune_closed_forms(problem(), TRIALS, SIZE, memory, 1, threads=3)
    assert outcomes(found) == outcomes(trials)
    assert memory.started_numbers == memory.measured_numbers == list(range(3 * TRIALS))


def test_the_best_trial_to_blend_with_keeps_its_weights(trials: list[TrialResult]) -> None:
    blendable = [trial for trial in trials if trial.configuration["model"] in BLENDABLE]
    best = max(blendable, key=order_of_merit)
    assert [trial for trial in trials if trial.neighbours is not None] == [best]
    again = model_of(best).fit(problem().train).neighbours
    assert best.neighbours is not None
    np.testing.assert_array_equal(best.neighbours.indices, again.indices)
    np.testing.assert_array_equal(best.neighbours.weights, again.weights)


def test_no_trials_are_none(trials: list[TrialResult]) -> None:
    memory = Memory()
    assert tune_closed_forms(problem(), 0, SIZE, memory, 1) == []
    assert memory.started_numbers == []
    assert best_closed_forms([]) == {}


# Matrices for which some number below is 0, or the same for every trial.
DEGENERATE = {
    "one item": np.ones((6, 1)),
    "one user": np.ones((1, 6)),
    "no two items liked together": np.eye(6),
    "all like all": np.ones((7, 5)),
    "nobody likes anything": np.zeros((4, 3)),
    "an item that nobody likes": np.array([[1, 1, 0], [1, 0, 0], [0, 1, 0]]),
}


@pytest.mark.parametrize("case", DEGENERATE)
def test_degenerate_data_gives_finite_weights_and_trials(case: str) -> None:
    """As many as need a surrogate, which may then have learned from equal values alone."""
    train = sp.csr_matrix(DEGENERATE[case].astype(np.float32))
    other = sp.csr_matrix(1 - train.toarray())
    other.eliminate_zeros()
    if other.nnz:
        asked = Problem(train, other, seed=1)
    else:  # all like all: nothing is left to hold out
        asked = Problem(train, train, seed=1, masked=False)
    found = tune_closed_forms(asked, 4, SIZE, NullRecorder(), 1)
    assert len(found) == 12
    for trial in found:
        assert 0 <= trial.precision <= 1
        assert model_of(trial).fit(train).neighbours.finite()
        assert model_of(trial).kept == train.shape[1]


def test_what_float32_cannot_solve_is_one_trial_less(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where all like all and hardly anything is added to the diagonal, the matrix is singular."""
    likes = sp.csr_matrix(np.ones((3_000, 40), np.float32))
    with pytest.raises(InputError, match="cannot be solved"):
        Ease(1e-6, 0.0).fit(likes)
    space = {**SPACES["ease"], "regularization": Range(low=1e-6, high=1000.0, scale="log")}
    monkeypatch.setitem(SPACES, "ease", space)
    first = {"regularization": 1e-6, "dropout": 0.0}, {"regularization": 20.0, "dropout": 0.33}
    monkeypatch.setitem(FIRST, "ease", first)
    memory = Memory()
    found = tune_closed_forms(Problem(likes, likes, seed=1, masked=False), 2, SIZE, memory, 1)
    failed, solved = found[:2]
    assert (failed.number, failed.status, failed.curve, failed.precision) == (0, "diverged", (), 0)
    assert "cannot be solved in float32" in failed.reason
    assert solved.precision == 1
    assert [trial.status for trial in found[1:]] == ["complete"] * 5
    assert memory.measured_numbers == list(range(6))
    assert best_closed_forms(found)["ease"] is solved
    assert best_closed_forms([failed]) == {}


def test_a_studys_best_trial_is_one_that_can_be_served() -> None:
    """An item-to-item model that is ahead of the blended one is still no candidate."""
    ahead = TrialResult(0, {"model": "ease"}, (Rung(1, 0.9, 0.0),), "complete")
    blended = TrialResult(1, {"neighbours": "ease"}, (Rung(9, 0.8, 0.0),), "complete")
    plain = TrialResult(2, {}, (Rung(9, 0.7, 0.0),), "complete")
    assert Study((ahead, blended, plain), "").best is blended
    assert Study((ahead,), "").best is ahead
