"""The search space: data in, points and configurations that are each other's inverse out."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from skopt.space import Space as SkoptSpace

from recsys.base.dimensions import ARTICLE_SPACE, DEFAULT_SPACE, Choice, Range, Space
from recsys.base.errors import ConfigError
from recsys.tuning.space import SearchSpace

MIXED: Space = {
    "learning_schedule": Choice(values=["adagrad", "adadelta"]),
    "learning_rate": Range(low=0.01, high=1, scale="log", when={"learning_schedule": "adagrad"}),
    "rho": Range(low=0.8, high=0.99, when={"learning_schedule": ["adadelta"]}),
    "no_components": Range(low=8, high=64, scale="log", likely=(16, 32)),
    "loss": "warp",
}


@settings(max_examples=60)
@given(st.sampled_from([MIXED, DEFAULT_SPACE, ARTICLE_SPACE]), st.integers(0, 10**6))
def test_a_point_is_a_configuration_and_back(space: Space, seed: int) -> None:
    searched = SearchSpace.from_config(space)
    (point,) = SkoptSpace(searched.dimensions()).rvs(1, random_state=seed)
    configuration = searched.configuration(point)
    again = searched.configuration(searched.point(configuration))
    assert again == configuration
    for name, value in configuration.items():
        dimension = space[name]
        if isinstance(dimension, Range):
            assert dimension.low <= value <= dimension.high
            assert type(value) is (int if isinstance(dimension.low, int) else float)


def test_a_dimension_whose_condition_is_not_met_is_left_out() -> None:
    searched = SearchSpace.from_config(MIXED)
    names = list(searched.searched)
    adagrad = dict(zip(names, searched.middle(), strict=True))
    found = searched.configuration([adagrad[name] for name in names])
    assert "rho" not in found
    assert found["learning_rate"] == pytest.approx(0.1)
    adadelta = adagrad | {"learning_schedule": "adadelta"}
    found = searched.configuration([adadelta[name] for name in names])
    assert "learning_rate" not in found
    assert found["rho"] == pytest.approx(0.895)


def test_a_configuration_from_elsewhere_is_drawn_into_the_ranges() -> None:
    searched = SearchSpace.from_config(MIXED)
    point = searched.point({"no_components": 500, "learning_schedule": "unheard of"})
    found = searched.configuration(point)
    assert found["no_components"] == 64
    assert found["learning_schedule"] == "adagrad"


def test_the_likely_part_bounds_the_first_draws() -> None:
    searched = SearchSpace.from_config(MIXED)
    drawn = SkoptSpace(searched.likely()).rvs(50, random_state=1)
    sizes = [searched.configuration(point)["no_components"] for point in drawn]
    assert min(sizes) >= 16
    assert max(sizes) <= 32


def test_a_space_with_nothing_to_search_is_refused() -> None:
    with pytest.raises(ConfigError, match="fixed values only"):
        SearchSpace.from_config({"loss": "warp"})


@pytest.mark.parametrize(
    ("space", "said"),
    [
        ({"loss": Choice(values=["warp", "wrap"])}, "loss 'wrap'"),
        ({"loss": Choice(values=["warp", "bpr"]), "learning_schedule": "adam"}, "'adam'"),
        ({"loss": Choice(values=["warp", "bpr"]), "max_sampled": "many"}, "max_sampled 'many'"),
        ({"max_sampled": Choice(values=["10", "20"])}, "max_sampled '10'"),
        ({"max_sampled": Choice(values=[10, 20.5])}, "max_sampled 20.5"),
    ],
)
def test_a_value_that_lightfm_does_not_know_is_refused(space: Space, said: str) -> None:
    with pytest.raises(ConfigError, match=said):
        SearchSpace.from_config(space)


def test_a_name_that_is_no_hyper_parameter_is_refused() -> None:
    with pytest.raises(ConfigError, match="no hyper-parameter 'learning_rat'"):
        SearchSpace.from_config({"learning_rat": Range(low=0.1, high=0.2)})


def test_the_order_of_writing_is_nothing() -> None:
    backwards = dict(reversed(MIXED.items()))
    one, other = SearchSpace.from_config(MIXED), SearchSpace.from_config(backwards)
    assert list(one.searched) == list(other.searched) == sorted(one.searched)
    assert one.dimensions() == other.dimensions()


def test_the_middle_is_the_centre_on_the_scale() -> None:
    space: Space = {
        "no_components": Range(low=16, high=256, scale="log"),
        "max_sampled": Range(low=5, high=100),
        "learning_rate": Range(low=0.01, high=1, scale="log"),
        "rho": Range(low=0.8, high=1.0),
        "loss": Choice(values=["bpr", "warp"]),
    }
    middle = SearchSpace.from_config(space).configuration(SearchSpace.from_config(space).middle())
    assert middle == {
        "no_components": 64,
        "max_sampled": 52,
        "learning_rate": pytest.approx(0.1),
        "rho": pytest.approx(0.9),
        "loss": "bpr",
    }


def test_dimensions_have_the_scale_and_bounds_that_were_given() -> None:
    by_name = {d.name: d for d in SearchSpace.from_config(DEFAULT_SPACE).dimensions()}
    assert by_name["no_components"].bounds == (16, 256)
    assert by_name["no_components"].prior == "log-uniform"
    assert by_name["learning_rate"].bounds == (0.005, 0.3)
    assert "loss" not in by_name


def test_a_scale_without_what_it_scales_is_refused() -> None:
    scale = Range(low=0.1, high=1.0)
    with pytest.raises(ConfigError, match="add item_alpha"):
        SearchSpace.from_config({"user_alpha_scale": scale})
    both = SearchSpace.from_config({"user_alpha_scale": scale, "item_alpha": 1e-4})
    assert both.fixed == {"item_alpha": 1e-4}


def test_numbers_may_be_choices_and_stay_what_they_are() -> None:
    space: Space = {
        "no_components": Choice(values=[16, 32, 64]),
        "learning_rate": Choice(values=[0.05, 0.1], when={"no_components": [16, 32]}),
    }
    searched = SearchSpace.from_config(space)
    drawn = SkoptSpace(searched.dimensions()).rvs(20, random_state=1)
    found = [searched.configuration(point) for point in drawn]
    assert {c["no_components"] for c in found} == {16, 32, 64}
    assert {type(c["no_components"]) for c in found} == {int}
    assert all(("learning_rate" in c) == (c["no_components"] < 64) for c in found)
    for configuration in found:
        assert searched.configuration(searched.point(configuration)) == configuration
    assert searched.every is not None
    assert len(searched.every) == 2 * 2 + 1


def test_the_configurations_of_a_large_space_are_not_counted() -> None:
    assert SearchSpace.from_config(MIXED).every is None
    wide: Space = {"no_components": Range(low=1, high=100), "max_sampled": Range(low=1, high=100)}
    assert SearchSpace.from_config(wide).every is None
