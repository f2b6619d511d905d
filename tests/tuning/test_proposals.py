"""Proposals: where they come from in turn, draws that leave no gap, steps that stay near."""

from __future__ import annotations

import math

import numpy as np
import pytest

from recsys.base.dimensions import Choice, Range, Space
from recsys.tuning.proposals import STEPS, Proposer
from recsys.tuning.space import SearchSpace

SPACE: Space = {
    "no_components": Range(low=16, high=256, scale="log"),
    "learning_rate": Range(low=0.001, high=1.0, scale="log", likely=(0.01, 0.1)),
    "loss": Choice(values=["warp", "bpr"]),
}
BEST = {"no_components": 64, "learning_rate": 0.03, "loss": "bpr"}


def proposer(initial: int = 4, **options: object) -> Proposer:
    settings = {"seed": 7, "first": [BEST], "initial": initial} | options
    return Proposer(SearchSpace.from_config(SPACE), **settings)  # type: ignore[arg-type]


def test_known_ones_come_first_then_draws_then_a_cycle() -> None:
    asked = proposer(initial=3)
    cycle = ["near", "near", "draw", "near", "near", "surrogate"]
    assert [asked.source(n) for n in range(15)] == ["known", "draw", "draw", *cycle, *cycle]
    assert asked.propose([], 0) == BEST
    # More known ones than initial trials: all of them are tried.
    many = proposer(initial=1, first=[BEST] * 3)
    assert [many.source(n) for n in range(5)] == ["known"] * 3 + ["near", "near"]


def test_draws_leave_no_gap_and_stay_in_the_likely_part() -> None:
    asked = proposer(initial=500)
    drawn = [asked.propose([], n) for n in range(1, 49)]
    rates = [math.log10(one["learning_rate"]) for one in drawn]
    assert all(-2 <= rate <= -1 for rate in rates)
    # A Halton sequence: every sixth of a dimension of base 2 or 3 gets its share, of 48 eight, one
    # more or less. Random draws miss one of so many parts in most cases.
    for base, values in ((2, rates), (3, [math.log2(one["no_components"]) for one in drawn])):
        low, high = (-2, -1) if base == 2 else (4, 8)
        parts = np.histogram(values, bins=6, range=(low, high))[0]
        assert parts.min() >= 6, parts
    assert {one["loss"] for one in drawn} == {"warp", "bpr"}


def test_a_draw_is_the_next_of_its_sequence_whatever_was_asked_between() -> None:
    together, apart = proposer(initial=5), proposer(initial=3)
    # With fewer initial trials, the third and fourth draw are trials 5 and 11.
    assert apart.propose([], 5, BEST) == together.propose([], 3)
    assert apart.propose([], 11, BEST) == together.propose([], 4)


def test_steps_are_mostly_small_on_each_scale_and_leave_choices_alone() -> None:
    asked = proposer()
    steps = [asked.propose([], n, BEST) for n in range(4, 3004, 6)]
    assert {one["loss"] for one in steps} == {"bpr"}
    moved = np.array([math.log10(one["learning_rate"] / 0.03) / 3 for one in steps])
    assert moved.mean() == pytest.approx(0, abs=0.01)
    # The mean square of widths that are uniform in their logarithm; some steps end at an edge.
    least, most = STEPS
    spread = ((most**2 - least**2) / (2 * math.log(most / least))) ** 0.5
    assert moved.std() == pytest.approx(spread, rel=0.15)
    # A normal distribution of that spread has a quarter within a third of it, and none in 400
    # beyond three times: these are small more often, and large more often.
    assert np.mean(np.abs(moved) < spread / 3) > 0.4
    assert np.max(np.abs(moved)) > 3 * spread
    # Each range has a width of its own: how far the one moved says nothing of the other.
    grown = np.array([math.log2(one["no_components"] / 64) / 4 for one in steps])
    assert abs(np.corrcoef(np.abs(moved), np.abs(grown))[0, 1]) < 0.15
    sizes = [one["no_components"] for one in steps]
    assert min(sizes) >= 16
    assert max(sizes) <= 256
    assert len(set(sizes)) > 20


def test_a_step_from_the_edge_stays_in_the_range() -> None:
    edge = BEST | {"learning_rate": 1.0, "no_components": 16}
    for number in range(4, 124, 6):
        one = proposer().propose([], number, edge)
        assert one["learning_rate"] <= 1.0
        assert one["no_components"] >= 16


def test_without_a_best_trial_a_step_is_a_draw() -> None:
    assert proposer().source(4) == "near"
    assert proposer().propose([], 4) == proposer(initial=500).propose([], 4)


def test_the_surrogate_goes_where_it_observes_that_values_are_high() -> None:
    searched = SearchSpace.from_config({"learning_rate": SPACE["learning_rate"], "alpha": 0.0})
    asked = Proposer(searched, 7, [], 4)
    assert asked.source(9) == "surrogate"
    rates = -3, -2.5, -2, -1, -0.5, 0
    observations = [([10**rate], 0.3 - 0.1 * (rate + 1.4) ** 2) for rate in rates]
    rate = math.log10(asked.propose(observations, 9)["learning_rate"])
    assert -2 < rate < -1


def test_seed_and_number_say_everything() -> None:
    one, other = ([proposer().propose([], n, BEST) for n in range(8)] for _ in range(2))
    assert one == other
    elsewhere = [proposer(seed=8).propose([], n, BEST) for n in range(1, 8)]
    assert all(a != b for a, b in zip(one[1:], elsewhere, strict=True))
