"""What a study knows of its search space: what matters, how surely, and what is still in doubt."""

from __future__ import annotations

import json
from collections.abc import Callable

import numpy as np
import pytest
from skopt.space import Space as Box

from recsys.base.dimensions import Choice, Range, Space
from recsys.tuning.figures import understanding_svg
from recsys.tuning.space import SearchSpace
from recsys.tuning.understanding import Observation, Understanding, understand

SPACE: Space = {
    "no_components": Range(low=16, high=256, scale="log"),
    "learning_rate": Range(low=0.005, high=0.3, scale="log"),
    "item_alpha": Range(low=1e-7, high=1e-3, scale="log"),
    "loss": Choice(values=["warp", "bpr"]),
}
# Places of a point from 0 to 1, by the dimension's name, to the precision there.
Truth = Callable[[dict[str, float]], float]


def trials(
    truth: Truth, count: int, noise: float = 0.002, space: Space = SPACE, seed: int = 0
) -> tuple[SearchSpace, list[Observation]]:
    """A study made by hand: points drawn evenly, and what is measured there."""
    searched = SearchSpace.from_config(space)
    box = Box(searched.dimensions())
    box.set_transformer("normalize")
    generator = np.random.default_rng(seed)
    places = generator.random((count, len(searched.searched)))
    points = box.inverse_transform(places)
    found = [
        (list(point), truth(dict(zip(searched.searched, place, strict=True))))
        for point, place in zip(points, places, strict=True)
    ]
    return searched, [(point, value + generator.normal(0, noise)) for point, value in found]


def peak(place: dict[str, float]) -> float:
    """Only the learning rate matters, and the middle of its range is best."""
    return 0.4 - 0.3 * (place["learning_rate"] - 0.5) ** 2


@pytest.fixture(scope="module")
def understood() -> Understanding:
    return understand(*trials(peak, 60), seed=1)


def test_the_one_dimension_that_matters_has_all_of_the_importance(
    understood: Understanding,
) -> None:
    first, *others = understood.effects
    assert first.name == "learning_rate"
    assert first.low > 0.85
    assert sorted(effect.name for effect in others) == ["item_alpha", "loss", "no_components"]
    assert all(effect.high < 0.1 for effect in others)
    assert all(e.low <= e.importance <= e.high for e in understood.effects)
    assert sum(effect.importance for effect in understood.effects) <= 1.0


def test_its_dependence_is_the_curve_that_was_drawn_from(understood: Understanding) -> None:
    effect = understood.effects[0]
    places = np.linspace(0, 1, len(effect.values))
    truth = np.array([peak({"learning_rate": place}) for place in places])
    inner = slice(1, -1)  # forests are flat beyond the outermost trials
    np.testing.assert_allclose(effect.mean[inner], truth[inner], atol=0.012)
    assert all(
        low <= mean <= high
        for low, mean, high in zip(effect.lower, effect.mean, effect.upper, strict=True)
    )
    assert effect.values[0] == pytest.approx(0.005)
    assert effect.values[-1] == pytest.approx(0.3)


def test_a_space_that_is_understood_has_no_doubts(understood: Understanding) -> None:
    assert understood.explained is not None
    assert understood.explained > 0.8
    assert understood.doubts == ()
    assert understood.verdict.startswith("the search space is understood: learning_rate 9")
    assert "one more trial is expected to gain 0." in understood.verdict


@pytest.mark.parametrize(
    ("slope", "wanted"),
    [
        (0.1, "the best trial is at the high end of no_components (256): raise its high"),
        (-0.1, "the best trial is at the low end of no_components (16): lower its low"),
    ],
)
def test_a_best_at_an_edge_says_which_and_how_to_widen(slope: float, wanted: str) -> None:
    found = understand(*trials(lambda place: 0.3 + slope * place["no_components"], 40), seed=1)
    assert any(doubt.startswith(wanted) for doubt in found.doubts)
    assert found.verdict.startswith("the search ended before its space is understood: ")


def test_an_edge_beyond_which_nothing_can_be_trained_is_no_doubt() -> None:
    space: Space = {**SPACE, "user_alpha": 1e-5, "weight_power": Range(low=0.0, high=2.0)}
    made = trials(lambda place: 0.3 + 0.1 * place["weight_power"], 40, space=space)
    found = understand(*made, seed=1)
    assert found.effects[0].name == "weight_power"
    assert not any("weight_power" in doubt for doubt in found.doubts)


def test_a_dimension_that_does_not_matter_has_no_edge() -> None:
    searched, made = trials(peak, 40)
    best = max(range(40), key=lambda place: made[place][1])
    made[best][0][list(searched.searched).index("item_alpha")] = 1e-7
    assert not any("item_alpha" in doubt for doubt in understand(searched, made, seed=1).doubts)


def test_noise_is_not_understood() -> None:
    found = understand(*trials(lambda _: 0.3, 40), seed=1)
    assert found.explained is not None
    assert found.explained < 0.2
    assert any("hardly explain precision" in doubt for doubt in found.doubts)


def test_what_is_left_to_gain_is_expected_where_nobody_has_been() -> None:
    # Precision rises along two ranges, and no trial was in the better half of either.
    searched, made = trials(
        lambda place: 0.2 + 0.2 * place["learning_rate"] + 0.2 * place["item_alpha"], 200
    )
    order = [list(searched.searched).index(name) for name in ("learning_rate", "item_alpha")]
    limits = {order[0]: 0.039, order[1]: 1e-5}
    worse = [one for one in made if all(one[0][place] < end for place, end in limits.items())]
    found = understand(searched, worse, seed=1)
    assert found.gain is not None
    assert found.gain > 0.1
    assert any("make more trials" in doubt for doubt in found.doubts)


def test_few_trials_say_so_and_nothing_is_fitted() -> None:
    found = understand(*trials(peak, 5), seed=1)
    assert (found.trials, found.explained, found.gain, found.effects) == (5, None, None, ())
    assert found.doubts == ("5 trials say little of 4 dimensions; make 12 or more",)


def test_trials_that_are_all_alike_explain_nothing() -> None:
    found = understand(*trials(lambda _: 0.0, 12, noise=0.0), seed=1)
    assert (found.explained, found.gain) == (0.0, 0.0)
    assert [effect.importance for effect in found.effects] == [0.0] * 4


def test_it_is_the_same_each_time_and_comes_back_from_json(understood: Understanding) -> None:
    assert understand(*trials(peak, 60), seed=1) == understood
    values = json.loads(json.dumps(understood.as_dict()))
    assert values["verdict"] == understood.verdict
    assert Understanding.from_dict(values) == understood


def test_importance_and_dependence_are_drawn(understood: Understanding) -> None:
    svg = understanding_svg(understood)
    assert svg == understanding_svg(understood)
    # Once beside its bar, once above its dependence.
    assert svg.count(">learning_rate</text>") == 2
    assert svg.count(">warp</text>") == 1
