"""Racing: the first holdout's luck does not decide, and what is clearly worse is fitted no more."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import scipy.sparse as sp

from recsys.base.config import Data, Search, Split
from recsys.data import persistence
from recsys.data.ages import InteractionTimes
from recsys.data.folds import further_search_folds
from recsys.data.splits import Split as Parts
from recsys.tuning.closed_forms import best_closed_forms
from recsys.tuning.contenders import Races
from recsys.tuning.problems import Problem, further_problems, load_problem
from recsys.tuning.racing import race, relative_half_width
from recsys.tuning.study import best_of, study_strategies
from recsys.tuning.trials import Rung, Study, TrialResult, is_closed_form
from tests.fixtures.planted import write_planted
from tests.fixtures.stages import prepare

USERS = 40
# Alternates by user, with a mean of 0 and a standard deviation of 0.1.
NOISE = np.where(np.arange(USERS) % 2, 0.1, -0.1) * np.sqrt((USERS - 1) / USERS)


class Holdouts:
    """Further holdouts made by hand: what each candidate has in each of them."""

    def __init__(self, *means: Sequence[float]) -> None:
        self.means, self.asked = means, list[list[int]]()

    def measure(self, places: Sequence[int], number: int) -> list[np.ndarray]:
        self.asked.append(list(places))
        return [np.full(USERS, self.means[number][place]) + NOISE * place for place in places]


def test_what_is_behind_beyond_chance_is_measured_no_more() -> None:
    # Candidate 2 differs from the leader by 0.2 standard deviations each way, and 0.1 behind.
    made = Holdouts((0.5, 0.49, 0.4), (0.4, 0.45, 0.0), (0.3, 0.5, 0.0))
    found = race([0.6, 0.6, 0.6], made.measure, 3)
    assert made.asked == [[0, 1, 2], [0, 1], [0, 1]]
    assert found.holdouts == (4, 4, 2)
    # (0.6 + 0.5 + 0.4 + 0.3) / 4, (0.6 + 0.49 + 0.45 + 0.5) / 4, (0.6 + 0.4) / 2
    np.testing.assert_allclose(found.means, (0.45, 0.51, 0.5), rtol=1e-12)
    assert found.winner == 1


@pytest.mark.parametrize(("behind", "left"), [(0.026, [0, 1]), (0.028, [0])])
def test_chance_is_students_t_over_users_at_95_percent(behind: float, left: list[int]) -> None:
    # The standard error of 40 differences of 0.1 each is 0.0158; t of 39 degrees is 1.685.
    made = Holdouts((0.5, 0.5 - behind), (0.5, 0.5))
    race([0.6, 0.6], made.measure, 2)
    assert made.asked == [[0, 1], *([left] if len(left) > 1 else [])]


def test_the_first_holdout_counts_as_one_of_them() -> None:
    lucky = race([0.9, 0.5], Holdouts((0.4, 0.41)).measure, 1)
    assert lucky.winner == 0
    even = race([0.5, 0.5], Holdouts((0.4, 0.41)).measure, 1)
    assert even.winner == 1


def test_a_single_candidate_is_not_measured() -> None:
    made = Holdouts((0.1,))
    assert race([0.5], made.measure, 1).winner == 0
    assert made.asked == []


def test_equals_stay_and_the_first_of_them_wins() -> None:
    found = race([0.5, 0.5], lambda places, _: [np.ones(USERS)] * len(places), 3)
    assert (found.winner, found.holdouts) == (0, (4, 4))


def test_a_race_loses_less_than_the_best_of_one_holdout() -> None:
    lost_first, lost_race = [], []
    for number in range(60):
        generator = np.random.default_rng([1, number])
        truth = generator.normal(0.15, 0.01, 20)

        def holdout(places: Sequence[int], _: int, draw=generator, truth=truth) -> list[np.ndarray]:
            return [draw.binomial(5, truth[place], 150) / 5 for place in places]

        first = np.array([values.mean() for values in holdout(range(20), 0)])
        chosen = np.argsort(-first)[:5]
        found = race(
            first[chosen].tolist(), lambda places, n, c=chosen, h=holdout: h(c[places], n), 3
        )
        lost_first.append(truth.max() - truth[chosen[0]])
        lost_race.append(truth.max() - truth[chosen[found.winner]])
    assert np.mean(lost_race) < 0.75 * np.mean(lost_first)


def test_half_widths_are_shares_of_the_mean() -> None:
    values = np.array([0.0, 0.2] * 50)  # standard deviation 0.1005, of the mean 0.01005
    assert relative_half_width(values) == pytest.approx(1.96 * 0.01005 / 0.1, rel=1e-3)
    assert relative_half_width(np.zeros(5)) == np.inf
    assert relative_half_width(np.ones(1)) == np.inf


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory):  # type: ignore[no-untyped-def]
    folder = tmp_path_factory.mktemp("racing")
    likes, features = write_planted(folder, groups=4, users=25)
    return folder, Data(likes=str(likes), features=str(features))


@pytest.fixture(scope="module")
def parts(prepared) -> Parts:  # type: ignore[no-untyped-def]
    folder, data = prepared
    return persistence.load_split(Path(prepare(data, folder / "parts").holdouts.path))


def test_further_folds_hold_out_other_likes_of_the_same_users(parts: Parts) -> None:
    pool = (parts.train + parts.validation).tocsr()
    folds = list(further_search_folds(parts, 3, seed=5))
    users = np.flatnonzero(np.diff(parts.validation.indptr))
    seen = parts.validation.copy()
    for fold in folds:
        assert (fold.known + fold.heldout != pool).nnz == 0
        assert fold.known.multiply(fold.heldout).nnz == 0
        np.testing.assert_array_equal(
            np.diff(fold.heldout.indptr), np.diff(parts.validation.indptr)
        )
        # Nothing that was set aside for the test, and not the same likes as before.
        assert fold.heldout.multiply(parts.test).nnz == 0
        assert (fold.known + fold.heldout).multiply(parts.test).nnz == 0
        assert fold.heldout.multiply(seen).nnz < fold.heldout.nnz
        seen = fold.heldout
    assert len(users) > 5
    again = next(further_search_folds(parts, 1, seed=5))
    assert (again.heldout != folds[0].heldout).nnz == 0
    assert (again.heldout != next(further_search_folds(parts, 1, seed=6)).heldout).nnz > 0


def test_further_folds_know_when_all_likes_were(parts: Parts) -> None:
    dated = replace(
        parts,
        train_days=np.arange(parts.train.nnz, dtype=np.float64),
        validation_days=np.full(parts.validation.nnz, 1e6),
    )
    (fold,) = further_search_folds(dated, 1, seed=5)
    assert fold.times is not None
    ages = fold.times.ages(fold.known)
    assert len(ages) == fold.known.nnz
    # The validation's likes are the latest; those of them that are known now have no age.
    assert (ages == 0).sum() == fold.known.multiply(parts.validation > 0).nnz
    times = InteractionTimes.of_matrix(parts.train, dated.train_days)
    assert times.n_items == fold.times.n_items


@pytest.mark.parametrize(
    ("method", "count"), [(Split(), 3), (Split(method="last"), 0), (Split(method="time"), 0)]
)
def test_only_likes_drawn_at_random_can_be_others(
    prepared, tmp_path: Path, method: Split, count: int
) -> None:  # type: ignore[no-untyped-def]
    data = prepared[1]
    if method.method != "random":
        lines = Path(data.likes).read_text(encoding="utf-8").splitlines()
        dated = [
            f"{line}|{1_600_000_000 + 86_400 * (n * 7_919 % 1_009)}"
            for n, line in enumerate(lines[1:])
        ]
        path = tmp_path / "likes.psv"
        path.write_text("\n".join([f"{lines[0]}|t", *dated]) + "\n", encoding="utf-8")
        data = data.model_copy(update={"likes": str(path), "timestamp_column": "t"})
    made = prepare(data, tmp_path / "interim", split=method)
    problem = load_problem(made.holdouts, made.features, 5)
    further = further_problems(made.holdouts, problem, 3)
    found = further() if further is not None else []
    assert len(found) == count
    assert all(one.k == problem.k and one.sides is None for one in found)
    assert further_problems(made.holdouts, problem, 0) is None


def trial(number: int, precision: float, **configuration: object) -> TrialResult:
    given = {"no_components": 4, "learning_rate": 0.05, **configuration}
    return TrialResult(number, given, (Rung(3, precision, 0.1),), "complete")


def test_trials_that_lost_a_race_are_no_candidates(parts: Parts) -> None:
    first, second = trial(0, 0.3), trial(1, 0.2)
    beaten = replace(first, beaten=True)
    assert best_of([beaten, second]) is second
    assert Study((beaten, second), "").best is second
    ease = trial(2, 0.5, model="ease"), trial(3, 0.4, model="ease")
    assert best_closed_forms([replace(ease[0], beaten=True), ease[1]]) == {"ease": ease[1]}


def test_a_study_finishes_the_winner_of_its_race(parts: Parts) -> None:
    problem = Problem(parts.train, parts.validation, seed=1)
    folds = list(further_search_folds(parts, 2, 1))

    def further() -> list[Problem]:
        return [Problem(fold.known, fold.heldout, seed=1) for fold in folds]

    search = Search(item_to_item_trials=3, trials=4, max_epochs=5, batch=2)
    alone = study_strategies(problem, search, 1)
    assert alone.contenders == ()
    assert not any(each.beaten for each in alone.trials)
    found = study_strategies(problem, search, 1, further=further)
    raced = [one for one in found.contenders if one.model == "lightfm"]
    assert len(raced) > 1
    assert found.race_seconds["lightfm"] > 0
    winner = raced[0]
    assert winner.mean == max(one.mean for one in raced if one.holdouts == winner.holdouts)
    plain = [one for one in found.trials if one.finishes is None and not is_closed_form(one)]
    assert [one.number for one in plain if not one.beaten] == [winner.trial]
    finished = next(one for one in found.trials if one.finishes is not None)
    assert finished.finishes == winner.trial
    again = study_strategies(problem, search, 1, threads=2, further=further)
    assert (again.trials[-1].configuration, again.contenders) == (
        found.trials[-1].configuration,
        found.contenders,
    )


def test_a_narrow_interval_is_not_raced_and_nothing_is_made_for_it(parts: Parts) -> None:
    def further() -> list[Problem]:
        raise AssertionError("made in vain")

    alike = everybody_alike()
    narrow = Races(alike, further, 5)
    same = [trial(0, 1.0), trial(1, 1.0)]
    assert narrow.run(same, ("lightfm",)) == same
    assert narrow.contenders(same) == []
    # Nor is what has no other holdouts, or no other trial.
    problem = Problem(parts.train, parts.validation, seed=1)
    assert Races(problem, None, 5).run(same, ("lightfm",)) == same
    assert Races(problem, further, 5).run(same[:1], ("lightfm",)) == same[:1]


def test_contenders_are_within_two_standard_errors_of_the_best(parts: Parts) -> None:
    problem = Problem(parts.train, parts.validation, seed=1)
    races = Races(problem, lambda: [problem], 3)
    best = trial(0, 0.4)
    values = races.precisions(problem, best)
    least = 0.4 - 2 * values.std(ddof=1) / np.sqrt(len(values))
    tried = [best, trial(1, least - 1e-9), *(trial(2 + n, least + 0.001 * n) for n in range(4))]
    races.run(tried, ())
    assert [one.number for one in races.contenders(tried)] == [0, 5, 4]


def everybody_alike() -> Problem:
    """Everybody likes all but one of the items, so that whatever ranks finds that one."""
    likes = np.ones((30, 6), np.float32)
    likes[np.arange(30), np.arange(30) % 6] = 0
    return Problem(sp.csr_matrix(likes), sp.csr_matrix(1 - likes), k=1, seed=1)
