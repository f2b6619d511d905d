"""Non-inferiority: intervals as SciPy has them, and what a hundred nights of the gate add up to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from scipy.stats import ttest_rel

from recsys.base.arrays import BoolArray, Float64Array
from recsys.base.config import Gate
from recsys.evaluation.gate import Evidence, compared, judge, reference_level
from recsys.evaluation.non_inferiority import level_of_each, paired_difference
from recsys.ranking.metrics import paired_bootstrap

LIMITS = Gate()
USERS = 2_000


@pytest.mark.parametrize("users", [2, 5, 200])
def test_ends_are_those_of_scipys_paired_t_test(users: int) -> None:
    generator = np.random.default_rng(users)
    own, other = generator.uniform(size=(2, users))
    found = paired_difference(own, other, 0.975)
    expected = ttest_rel(own, other).confidence_interval(0.95)
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))
    assert found.mean == pytest.approx(own.mean() - other.mean())
    assert found.other == other.mean()


def test_one_user_proves_nothing_and_equal_users_everything() -> None:
    alone = paired_difference(np.ones(1), np.ones(1), 0.95)
    assert (alone.low, alone.high) == (-np.inf, np.inf)
    assert alone.undecided(0.02)
    assert alone.users_needed(0.02) is None
    equal = paired_difference(np.ones(2), np.ones(2), 0.95)
    assert (equal.low, equal.high) == (0, 0)
    assert equal.non_inferior(0.02)


def test_levels_of_several_comparisons_hold_together() -> None:
    assert level_of_each(0.95, 1) == pytest.approx(0.95)
    assert level_of_each(0.95, 10) == pytest.approx(0.995)


@pytest.mark.parametrize("level", [0.5, 1.0, 0.0])
def test_a_level_that_says_nothing_is_refused(level: float) -> None:
    with pytest.raises(ValueError, match="level between"):
        paired_difference(np.ones(3), np.ones(3), level)


# Nights. A user's precision at 5 is five Bernoulli draws, some of which two models have in common.


@dataclass(frozen=True)
class Users:
    """Test users whose lists of five are right as often as `easy` says, at the start's quality.

    `own` is the share of the draws that a model does not have in common with others.
    """

    easy: Float64Array
    own: float

    @staticmethod
    def of(seed: int, own: float) -> Users:
        # With a mean of 0.47 and, with the draws, a standard deviation of 0.3, as on the sample.
        return Users(np.random.default_rng(seed).beta(1.87, 2.11, USERS).clip(0, 0.95), own)

    def night(self, qualities: list[float], generator: np.random.Generator) -> list[Float64Array]:
        """The precision of each user, for models of these true qualities relative to the start."""
        common = generator.random((USERS, 5))
        found = []
        for quality in qualities:
            drawn = np.where(
                generator.random((USERS, 5)) < self.own, generator.random((USERS, 5)), common
            )
            hit: BoolArray = drawn < self.easy[:, None] * quality
            found.append(hit.mean(axis=1))
        return found


def evidence(own: Float64Array, champion: Float64Array, reference: Float64Array | None) -> Evidence:
    return Evidence(
        own, np.zeros(USERS), champion, "", True, 1.0, 0.0, reference=reference
    )  # fmt: skip


def after(nights: int, step: float, users: Users, seed: int, limits: Gate = LIMITS) -> float:
    """The true quality that reigns after nights whose challengers are each `step` of the champion.

    The reference is replaced as the stage of the gate replaces it: by a champion that beats it.
    """
    generator = np.random.default_rng([seed, 1])
    champion = reference = 1.0
    for _ in range(nights):
        challenger = champion * step
        own, reigning, *rest = users.night(
            [challenger, champion, *({reference} - {champion})], generator
        )
        best = (rest[0] if rest else reigning) if limits.reference_nights else None
        if judge(evidence(own, reigning, best), limits).passed:
            champion = challenger
            ahead = compared(own, best, reference_level(limits))
            if ahead is not None and ahead.low > 0:
                reference = challenger
    return champion


def test_simulated_users_are_like_those_of_the_sample() -> None:
    users = Users.of(0, 0.2)
    first, second = users.night([1.0, 1.0], np.random.default_rng(0))
    assert first.mean() == pytest.approx(0.47, abs=0.02)
    assert first.std() == pytest.approx(0.3, abs=0.02)
    # Two models of a leaderboard are less alike than two configurations of one model.
    assert (first - second).std() == pytest.approx(0.17, abs=0.01)


def test_a_hundred_nights_of_slightly_worse_challengers_do_not_add_up() -> None:
    ends = [after(100, 0.99, Users.of(seed, 0.2), seed) for seed in range(20)]
    assert min(ends) >= 0.98
    # Without the reference, each is a small step from the one before, and they add up.
    alone = replace_limits(reference_nights=0)
    assert after(100, 0.99, Users.of(0, 0.2), 0, alone) < 0.9


def test_the_rule_of_not_being_significantly_worse_falls_through() -> None:
    """The rule before: the upper end of the 95 % interval at least 0."""
    users, generator, champion = Users.of(0, 0.2), np.random.default_rng(0), 1.0
    for _ in range(100):
        own, reigning = users.night([champion * 0.99, champion], generator)
        if paired_difference(own, reigning, 0.975).high >= 0:
            champion *= 0.99
    assert champion < 0.6


def passed(step: float, own: float, nights: int = 150) -> float:
    """The share of nights on which a challenger of this relative quality passes."""
    found = 0
    for seed in range(nights):
        generator = np.random.default_rng([seed, 2])
        challenger, champion = Users.of(seed, own).night([step, 1.0], generator)
        found += judge(evidence(challenger, champion, champion), LIMITS).passed
    return found / nights


def test_better_challengers_pass_nine_nights_in_ten() -> None:
    assert passed(1.03, 0.2) >= 0.98
    # Also where two models have three draws in four for themselves.
    assert passed(1.03, 0.5) >= 0.9


def test_what_loses_more_than_the_margin_passes_hardly_ever() -> None:
    assert passed(0.97, 0.2) == 0
    # Equal models of a kind have most draws in common.
    assert passed(1.0, 0.05) > 0.8


def test_student_and_bootstrap_agree_where_there_are_many_users() -> None:
    own, other = Users.of(3, 0.2).night([1.0, 0.98], np.random.default_rng(3))
    found = paired_difference(own, other, 0.975)
    again = paired_bootstrap(own, other, seed=0, samples=4000)
    assert (found.low, found.high) == pytest.approx((again.low, again.high), abs=3e-4)


def replace_limits(**changed: int) -> Gate:
    return Gate.model_validate(LIMITS.model_dump() | changed)
