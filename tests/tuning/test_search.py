"""The search: reproducible, resumable, the same with any workers; divergence cheap and finite."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal

import pytest
from threadpoolctl import threadpool_info, threadpool_limits

from recsys.base.config import Article
from recsys.base.dimensions import ARTICLE_SPACE, Choice, Range
from recsys.models.configuration import LightFMParameters
from recsys.models.lightfm import DivergedError, Training
from recsys.tuning.article import article_study
from recsys.tuning.checkpoints import MemoryCheckpoints
from recsys.tuning.policy import Budget, Policy
from recsys.tuning.recorders import NullRecorder, Recorded
from recsys.tuning.search import run_study
from recsys.tuning.segments import train_whole
from recsys.tuning.space import Configuration, SearchSpace
from recsys.tuning.stopping import Converged
from recsys.tuning.trials import Rung, Study, TrialResult
from recsys.tuning.workers import ThreadWorkers
from tests.fixtures.searches import POLICY, SPACE, outcome, problem


def study(recorder: NullRecorder | None = None, **options: object) -> Study:
    settings = {"policy": POLICY, "seed": 4, "batch": 3} | options
    space = SearchSpace.from_config(SPACE)
    return run_study(problem(), space, Budget(6), recorder=recorder, **settings)  # type: ignore[arg-type]


@pytest.mark.parametrize("start", ["random", "spectral"])
def test_training_in_steps_is_training_at_once(start: Literal["random", "spectral"]) -> None:
    train = problem().train
    hyperparameters = LightFMParameters(no_components=8, initialisation=start)
    at_once, in_steps = (Training(train, hyperparameters, 3) for _ in range(2))
    at_once.advance(9)
    for epochs in (2, 3, 4):
        in_steps.advance(epochs)
    one, other = at_once.factors(), in_steps.factors()
    assert (one.user_factors == other.user_factors).all()
    assert (one.item_biases == other.item_biases).all()


def test_the_same_seed_and_batch_give_the_same_study_for_any_number_of_threads() -> None:
    alone = study(threads=1)
    assert outcome(alone) == outcome(study(threads=1))
    assert outcome(alone) == outcome(study(threads=3))
    assert outcome(alone) != outcome(study(threads=1, seed=5))


def test_no_trial_is_left_open_and_the_best_is_the_best() -> None:
    found = study()
    assert len(found.trials) == 6
    assert {trial.status for trial in found.trials} <= {"complete", "stopped", "diverged"}
    assert found.best.precision == max(max(t.values, default=0) for t in found.trials)
    assert found.best.precision > 0.4


def test_the_best_rungs_state_is_what_a_trial_returns() -> None:
    best = study().best
    assert best.factors is not None
    assert best.best is not None
    assert problem().precision(best.factors) == best.precision
    again = train_whole(problem(), TrialResult(0, best.configuration), [best.best.epoch])
    assert again.precision == best.precision


class KilledError(Exception):
    """Stands for the end of a process."""


@dataclass
class MemoryRecorder(NullRecorder):
    """Keeps rungs as the tracking does; can end the process after so many segments."""

    curves: dict[int, tuple[Configuration, list[Rung], str | None]] = field(default_factory=dict)
    segments_left: int = 10**6
    trained: int = 0

    def recall(self, number: int, configuration: Configuration) -> Recorded:
        if number not in self.curves or self.curves[number][0] != configuration:
            return Recorded()
        _, curve, diverged = self.curves[number]
        return Recorded(tuple(curve), diverged)

    def measured(self, trial: TrialResult, new: Sequence[Rung]) -> None:
        _, curve, _ = self.curves.setdefault(trial.number, (trial.configuration, [], None))
        fresh = [rung for rung in new if rung not in curve]
        self.trained += len(fresh)
        curve += fresh
        if trial.status == "diverged":
            self.curves[trial.number] = trial.configuration, curve, trial.reason
        self.segments_left -= 1
        if self.segments_left == 0:
            raise KilledError


@pytest.mark.parametrize("segments", [1, 2, 4, 7])
def test_a_study_that_was_cut_off_goes_on_where_it_was(segments: int) -> None:
    whole = MemoryRecorder()
    expected = study(whole)
    recorder = MemoryRecorder(segments_left=segments)
    with pytest.raises(KilledError):
        study(recorder)
    before, recorder.segments_left = recorder.trained, 10**6
    assert outcome(study(recorder)) == outcome(expected)
    # Nothing measured before the end was measured again.
    assert recorder.trained == whole.trained
    assert before > 0


def test_a_dropped_model_is_trained_again_to_the_same_point() -> None:
    expected = study(threads=1)
    checkpoints = MemoryCheckpoints(limit=0)
    with ThreadPoolExecutor(1) as pool:
        workers = ThreadWorkers(problem(), pool.submit, checkpoints)
        assert outcome(study(workers=workers)) == outcome(expected)
    assert checkpoints.dropped > 0


def test_divergence_is_found_early_and_told_as_a_finite_worst_value() -> None:
    training = Training(problem().train, LightFMParameters(learning_rate=1e4), 1)
    with pytest.raises(DivergedError, match=r"factors of|not finite"):
        training.advance(3)
    wild = dict(SPACE) | {"learning_rate": Range(low=1e3, high=1e6, scale="log"), "alpha": 0.0}
    space = SearchSpace.from_config(wild)
    found = run_study(problem(), space, Budget(5), policy=POLICY, seed=1)
    assert {trial.status for trial in found.trials} == {"diverged"}
    assert all(trial.curve == () for trial in found.trials)
    assert found.best.precision == 0


def test_a_study_that_has_converged_ends_and_says_so() -> None:
    space = SearchSpace.from_config(SPACE)
    policy = Policy(max_epochs=8, screen=5, initial=3, converged=Converged(patience=4, rise=0.5))
    found = run_study(problem(), space, Budget(50), policy=policy, seed=1)
    assert found.ended.startswith("converged")
    assert len(found.trials) < 50


@dataclass
class Scripted:
    """A problem whose models are numbers: `curve` gives the n-th model's precision at an epoch."""

    curve: Callable[[int, int], float]
    models: int = 0

    def training(self, configuration: Configuration) -> ScriptedTraining:
        self.models += 1
        return ScriptedTraining(partial(self.curve, self.models - 1))

    def precision(self, factors: float) -> float:
        return factors


@dataclass
class ScriptedTraining:
    curve: Callable[[int], float]
    epoch: int = 0
    bytes: int = 1

    def advance(self, epochs: int) -> None:
        self.epoch += epochs

    def view(self) -> float:
        return self.curve(self.epoch)

    factors = view


GIVEN: Configuration = {"no_components": 9, "learning_rate": 0.07, "alpha": 1e-5, "loss": "warp"}


def scripted(curve: Callable[[int, int], float], trials: int, given: int = 0) -> Study:
    policy = Policy(24, screen=5, initial=trials, share=0.5, converged=Converged(patience=3))
    space = SearchSpace.from_config(SPACE)
    first = [GIVEN] * given
    problem: Any = Scripted(curve)
    return run_study(problem, space, Budget(trials), policy=policy, first=first)


def late(epoch: int) -> float:
    """A curve that learns almost nothing for half of its epochs."""
    return 0.001 * epoch if epoch < 12 else 0.5


def test_a_known_configuration_is_resumed_where_a_drawn_one_is_stopped() -> None:
    def curve(model: int, epoch: int) -> float:
        return 0.4 if model == 0 else late(epoch)

    drawn, given = scripted(curve, trials=4), scripted(curve, trials=4, given=2)
    assert [len(trial.curve) for trial in drawn.trials[1:]] == [1, 1, 1]
    assert given.best.number == 1
    assert given.best.status == "complete"
    # The third is measured against the best one, which had begun like it: it passes its screen.
    assert given.trials[2].epochs == [3, 4, 6]
    assert given.trials[2].reason.startswith("forecast")


def test_forecasts_may_be_the_further_off_the_earlier_they_are_made() -> None:
    policy = Policy(screen=11, slack=0.08)
    assert [policy.slack_at(epoch) for epoch in (11, 44, 99)] == pytest.approx(
        [0.08, 0.04, 0.08 / 3]
    )


def test_trials_that_fail_their_screen_say_nothing_of_convergence() -> None:
    found = scripted(lambda model, epoch: 0.1 if model else 0.4, trials=12)
    assert found.ended == "12 trials are made"
    assert [len(trial.curve) for trial in found.trials[1:]] == [1] * 11
    assert len(scripted(lambda model, epoch: 0.4, trials=12).trials) == 4


def test_a_study_does_not_converge_while_a_paused_trial_is_expected_to_exceed_its_best() -> None:
    def curve(model: int, epoch: int) -> float:
        return 0.22 + 0.1 * math.log2(epoch / 3) if model == 1 else 0.4

    found = scripted(curve, trials=20)
    # Converged after four trials, and twice again after three more: each time the second, the one
    # that still rises, goes on and raises the best, until it has come to its end.
    assert found.best.number == 1
    assert found.best.status == "complete"
    assert found.ended.startswith("converged")
    assert len(found.trials) == 10


def test_a_budget_of_seconds_ends_a_study() -> None:
    space = SearchSpace.from_config(SPACE)
    found = run_study(problem(), space, Budget(10**6, seconds=0.5), policy=POLICY, seed=1)
    assert found.ended == "0.5 seconds are spent"
    assert len(found.trials) < 500


def test_each_of_a_few_configurations_is_trained_once() -> None:
    sizes = Choice(values=[2, 4, 6, 8])
    space = SearchSpace.from_config({"no_components": sizes, "max_sampled": 5, "loss": "warp"})
    found = run_study(problem(), space, Budget(30), policy=POLICY, seed=4, batch=2)
    assert sorted(t.configuration["no_components"] for t in found.trials) == [2, 4, 6, 8]
    assert found.ended == "all 4 configurations are tried"


def test_first_configurations_come_first() -> None:
    space = SearchSpace.from_config(SPACE)
    found = run_study(problem(), space, Budget(2), policy=POLICY, first=[GIVEN])
    assert found.trials[0].configuration == pytest.approx(GIVEN)


def test_the_articles_loop_is_forest_minimize_with_one_number_a_trial() -> None:
    options = Article(calls=4, feature_calls=0, max_epochs=6, space=ARTICLE_SPACE)
    found = article_study(problem(masked=False), options, 2, NullRecorder())
    assert [len(trial.curve) for trial in found.trials if trial.status != "diverged"]
    assert all(len(trial.curve) <= 1 for trial in found.trials)
    assert all(trial.configuration["trainer"] == "lightfm" for trial in found.trials)
    again = article_study(problem(masked=False), options, 2, NullRecorder())
    assert outcome(found) == outcome(again)


@dataclass
class ThreadLimits(NullRecorder):
    """Looks, between the segments, how many threads linear algebra may take."""

    allowed: set[int] = field(default_factory=set)

    def measured(self, trial: TrialResult, new: Sequence[Rung]) -> None:
        self.allowed |= {pool["num_threads"] for pool in threadpool_info()}


def test_a_segment_that_ends_gives_no_other_more_threads() -> None:
    """They share sums in another order, and a model that began from these is another model."""
    limits = ThreadLimits()
    with threadpool_limits(2):
        space = SearchSpace.from_config(SPACE)
        run_study(problem(), space, Budget(4), policy=POLICY, batch=2, recorder=limits)
        assert limits.allowed == {1}
        assert 2 in {pool["num_threads"] for pool in threadpool_info()}
