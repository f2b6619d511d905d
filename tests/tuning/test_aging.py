"""Studies that search a half-life and a window, on likes whose old part misleads."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from recsys.base.config import Search
from recsys.base.dimensions import Choice, Range, Space
from recsys.base.errors import ConfigError, InputError
from recsys.models.hybrid import fit_hybrid
from recsys.models.model import model_from_dict
from recsys.tuning.aging import age_grid, with_aging, without_aging
from recsys.tuning.problems import Problem
from recsys.tuning.recorders import NullRecorder, Recorded
from recsys.tuning.space import Configuration, SearchSpace
from recsys.tuning.study import best_of, study_strategies
from recsys.tuning.trials import Study, TrialResult, is_closed_form
from tests.fixtures.changing import changing
from tests.fixtures.searches import outcome

LIGHTFM: Space = {
    "no_components": 16,
    "learning_rate": Range(low=0.03, high=0.1, scale="log"),
    "user_alpha": 1e-5,
    "item_alpha": 1e-5,
    "max_sampled": 10,
}
AGES: Space = {
    "half_life": Choice(values=["none", "100d"]),
    "window": Choice(values=["none", "30d", "5y"]),
}


def search(ages: Space, **more: Any) -> Search:
    options = {"item_to_item_trials": 4, "trials": 4, "max_epochs": 12, "batch": 2, **more}
    return Search(space={**LIGHTFM, **ages}, **options)


def ages_of(trial: Any) -> tuple[str, str]:
    return trial.configuration.get("half_life"), trial.configuration.get("window")


@dataclass
class Recalling(NullRecorder):
    """Recalls the trials of an earlier study."""

    trials: Sequence[TrialResult]
    begun: list[int] = field(default_factory=list)

    def recall(self, number: int, configuration: Configuration) -> Recorded:
        known = self.trials[number]
        assert known.configuration == configuration
        return Recorded(known.curve, None)

    def started(self, trial: TrialResult) -> None:
        self.begun.append(trial.number)


@pytest.fixture(scope="module")
def studied() -> tuple[Problem, Study]:
    asked = changing()
    return asked, study_strategies(asked, search(AGES), 1)


def test_where_tastes_change_the_search_finds_it_and_ranks_better(
    studied: tuple[Problem, Study],
) -> None:
    asked, study = studied
    winner = best_of(study.trials)
    plain = best_of(study_strategies(asked, search({}, item_to_item_trials=1), 1).trials)
    assert winner is not None
    assert plain is not None
    assert ages_of(winner) != ("none", "none")
    assert winner.precision > 1.3 * plain.precision
    assert not {"half_life", "window"} & set(plain.configuration)


def test_the_winner_refit_is_the_model_that_was_measured(studied: tuple[Problem, Study]) -> None:
    asked, study = studied
    winner = best_of(study.trials)
    assert winner is not None
    models = [
        fit_hybrid(asked.train, winner.configuration, winner.epochs[0], 1, times=asked.times)
        for _ in range(2)
    ]
    first, again = (model.factors.user_factors.tobytes() for model in models)
    assert first == again
    assert asked.precision(models[0].scorer(asked.train)) == winner.precision


def test_each_is_tried_alone_beside_the_first_configuration(studied: tuple[Problem, Study]) -> None:
    _, study = studied
    of_model = {
        name: [ages_of(t) for t in study.trials if t.configuration.get("model") == name]
        for name in ("ease", "itemknn", "rp3beta", "popularity")
    }
    none = "none", "none"
    # The trials known to do well, and then the first of them with a half-life and with a window.
    assert of_model["ease"] == [none, none, none, ("100d", "none")]
    assert of_model["itemknn"][:3] == [none, ("100d", "none"), ("none", "30d")]
    # Every combination, as popularity costs nothing; so many as there are trials of a model.
    assert of_model["popularity"] == [
        none, ("none", "5y"), ("none", "30d"), ("100d", "none"),
    ]  # fmt: skip
    lightfm = [trial for trial in study.trials if not is_closed_form(trial)]
    assert [ages_of(trial) for trial in lightfm[:4]] == [
        none, ("100d", "none"), ("none", "30d"), none,
    ]  # fmt: skip
    first, halved = (dict(trial.configuration) for trial in lightfm[:2])
    assert {**halved, "half_life": "none"} == first


def test_item_to_item_trials_are_those_of_their_models_refit(
    studied: tuple[Problem, Study],
) -> None:
    asked, study = studied
    for trial in filter(is_closed_form, study.trials):
        scorer = model_from_dict(trial.configuration).fit(asked.train, times=asked.times)
        assert asked.precision(scorer) == trial.precision


def test_a_study_that_is_resumed_asks_the_same_and_measures_nothing_twice() -> None:
    ages: Space = {"half_life": Range(low="30d", high="5y")}
    searched = search(ages, item_to_item_trials=2, trials=6)
    asked = changing()
    first = study_strategies(asked, searched, 1)
    halved = {ages_of(t)[0] for t in first.trials if not is_closed_form(t)}
    assert len(halved) > 2
    assert all(isinstance(value, str) and value.endswith("d") for value in halved)
    again = study_strategies(asked, searched, 1, recorder=Recalling(first.trials))
    assert outcome(again) == outcome(first)
    assert [trial.seconds for trial in again.trials[:-1]] == [
        trial.seconds for trial in first.trials[:-1]
    ]


def test_a_champion_begins_with_the_ages_it_has() -> None:
    started = {"no_components": 16, "half_life": "100d", "window": "30d"}
    trials = study_strategies(
        changing(), search(AGES, item_to_item_trials=0), 1, started_from=[started]
    ).trials
    assert [ages_of(trial) for trial in trials[:3]] == [
        ("100d", "30d"), ("100d", "none"), ("none", "30d"),
    ]  # fmt: skip


def test_a_half_life_may_be_fixed() -> None:
    trials = study_strategies(
        changing(), search({"half_life": "100d"}, item_to_item_trials=1, trials=1), 1
    ).trials
    assert [t.configuration["half_life"] for t in trials[:4]] == ["100d"] * 4
    assert trials[3].configuration == {"model": "popularity", "half_life": "100d"}
    assert all(trial.configuration["half_life"] == "100d" for trial in trials)


def test_without_times_nothing_begins() -> None:
    asked, recorder = replace(changing(), times=None), Recalling([])
    with pytest.raises(InputError, match=r"data\.timestamp_column"):
        study_strategies(asked, search(AGES), 1, recorder=recorder)
    assert recorder.begun == []


def test_where_a_search_begins() -> None:
    space = SearchSpace.from_config(
        {**LIGHTFM, "half_life": Choice(values=["1y", "none", "90d", "5y"]), "window": "2y"}
    )
    assert without_aging(space) == {"half_life": "none"}
    assert with_aging(space) == [{"half_life": "1y"}]
    ranged = SearchSpace.from_config({**LIGHTFM, "window": Range(low="10d", high="1000d")})
    assert without_aging(ranged) == {"window": "1000d"}
    assert with_aging(ranged) == [{"window": "100d"}]
    linear = Range(low="10d", high="30d", scale="linear")
    assert age_grid({"half_life": linear, "window": "1y"}) == [
        {"half_life": "30d", "window": "1y"},
        {"half_life": "20d", "window": "1y"},
        {"half_life": "10d", "window": "1y"},
    ]
    assert age_grid({}) == []


@pytest.mark.parametrize(
    "wrong",
    [
        {"half_life": "soon"},
        {"half_life": 90},
        {"half_life": Range(low=30, high=90)},
        {"window": Choice(values=["none", "forever"])},
    ],
)
def test_what_is_no_duration_is_refused_before_any_trial(wrong: Space) -> None:
    with pytest.raises(ConfigError, match='a duration such as "90d"'):
        SearchSpace.from_config({**LIGHTFM, **wrong})
