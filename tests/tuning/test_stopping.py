"""Stop rules and forecasts on lists of numbers."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.tuning.stopping import (
    BehindBest,
    Converged,
    ForecastBelowBest,
    Plateau,
    correction,
    first_reason,
    forecast,
    rungs,
)

CURVES = st.lists(st.floats(0, 1), min_size=1, max_size=14)


def test_rungs_shrink_by_a_factor_from_the_last() -> None:
    assert rungs(20) == (3, 4, 5, 6, 8, 11, 15, 20)
    assert rungs(1) == (1,)


@given(st.integers(1, 500))
def test_rungs_ascend_to_the_last(last: int) -> None:
    ladder = rungs(last)
    assert ladder[-1] == last
    assert list(ladder) == sorted(set(ladder))


def test_a_straight_line_in_doublings_is_carried_on_with_damping() -> None:
    # 0.1 a doubling; two doublings ahead are worth 0.1 * (0.8 + 0.64).
    assert forecast([4, 8, 16], [0.1, 0.2, 0.3], 64) == pytest.approx(0.3 + 0.144)


def test_a_falling_curve_is_expected_to_keep_its_best() -> None:
    assert forecast([4, 8, 16], [0.3, 0.2, 0.1], 64) == 0.3


def test_at_the_horizon_there_is_nothing_to_forecast() -> None:
    assert forecast([4, 8, 16], [0.1, 0.2, 0.15], 16) == 0.2


@given(CURVES, st.integers(1, 300))
def test_a_forecast_is_finite_and_never_below_the_best(values: list[float], horizon: int) -> None:
    epochs = list(range(3, 3 + len(values)))
    ahead = forecast(epochs, values, horizon)
    assert np.isfinite(ahead)
    assert ahead >= max(values)


def test_forecasts_are_corrected_by_what_became_of_earlier_ones() -> None:
    # Expected at 0.4 where they stood still at epoch 8, and reached 0.6, 0.5 and 0.4.
    flat = [0.2, 0.4, 0.4, 0.4]
    curves = [([2, 4, 6, 8, 16], [*flat, end]) for end in (0.6, 0.5, 0.4)]
    stood = forecast([2, 4, 6, 8], flat, 16)
    assert correction(curves, 8, 16) == pytest.approx(0.5 / stood)
    # Two will do, one will not; nor will curves that stopped there or went another way.
    assert correction(curves[:2], 8, 16) == pytest.approx(0.55 / stood)
    assert correction(curves[:1], 8, 16) == 1
    assert correction([(e[:4], v[:4]) for e, v in curves], 8, 16) == 1
    assert correction(curves, 7, 16) == 1


@given(st.lists(CURVES.filter(any), min_size=2, max_size=5), st.sampled_from([3, 4, 6, 8]))
def test_a_correction_is_a_positive_number(curves: list[list[float]], epoch: int) -> None:
    ladder = rungs(260)
    factor = correction([(ladder[: len(c)], c) for c in curves], epoch, 260)
    assert 0 < factor <= 2


def test_a_late_riser_goes_on_where_others_rose_late_too() -> None:
    epochs, values = [8, 11], [0.34, 0.35]
    assert ForecastBelowBest(0.43, 260).reason(epochs, values)
    assert ForecastBelowBest(0.43, 260, factor=1.2).reason(epochs, values) is None


def test_a_plateau_is_a_doubling_without_a_rise() -> None:
    epochs = [3, 4, 6, 8, 12, 16]
    assert Plateau().reason(epochs[:5], [0.1, 0.2, 0.3, 0.3, 0.3]) == "no better than at epoch 6"
    assert Plateau().reason(epochs[:5], [0.1, 0.2, 0.3, 0.3, 0.31]) is None
    assert Plateau(rise=0.05).reason(epochs[:5], [0.1, 0.2, 0.3, 0.3, 0.31]) is not None
    assert Plateau().reason(epochs[:4], [0.3, 0.2, 0.1, 0.1]) is None  # too few to tell


def test_behind_best_compares_at_the_same_epoch() -> None:
    rule = BehindBest({3: 0.1, 8: 0.4}, share=0.5)
    assert rule.reason([3, 8], [0.1, 0.19]) == "below 50% of the best at epoch 8"
    assert rule.reason([3, 8], [0.1, 0.2]) is None
    assert rule.reason([3, 5], [0.1, 0.0]) is None  # no trial was measured there yet


def test_a_trial_ends_whose_forecast_is_below_the_best() -> None:
    epochs, values = [4, 8, 16], [0.1, 0.2, 0.3]
    assert (
        ForecastBelowBest(0.45, 64).reason(epochs, values)
        == "forecast 0.4440 is below the best, 0.4500"
    )
    assert ForecastBelowBest(0.44, 64).reason(epochs, values) is None
    assert ForecastBelowBest(0.45, 64, slack=0.02).reason(epochs, values) is None


def test_a_study_converges_when_trials_stop_helping() -> None:
    rule = Converged(patience=3, rise=0.01)
    assert rule.reason([0.1, 0.2, 0.2, 0.2]) is None
    assert rule.reason([0.1, 0.2, 0.2, 0.2, 0.2]) is not None
    assert rule.reason([0.1, 0.2, 0.2, 0.2, 0.203]) is None
    assert rule.reason([0.0] * 9) is None  # nothing learned is nothing to converge to


@given(CURVES)
def test_the_first_reason_wins(values: list[float]) -> None:
    epochs = list(range(3, 3 + len(values)))
    rules = (BehindBest({epochs[-1]: 2.1}), ForecastBelowBest(3.0, 300))
    reason = first_reason(rules, epochs, values)
    assert reason == rules[0].reason(epochs, values)
    assert first_reason((), epochs, values) is None
