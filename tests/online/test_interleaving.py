"""Arms and interleaving: who gets which version, and lists merged by team draft."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.online.arms import Comparison, gets_challenger
from recsys.online.interleaving import team_draft

SPLIT = Comparison("fruit", "split", "4", "5", share=0.3)
LISTS = st.lists(st.sampled_from("abcdefgh"), unique=True, max_size=8)


def test_a_user_stays_in_an_arm_and_the_share_is_kept() -> None:
    users = [f"user {number}" for number in range(20_000)]
    first = [gets_challenger(SPLIT, user) for user in users]
    assert first == [gets_challenger(SPLIT, user) for user in users]
    assert sum(first) == pytest.approx(0.3 * 20_000, abs=4 * (20_000 * 0.3 * 0.7) ** 0.5)
    # More users by a larger share, and none of those who were there goes.
    more = [gets_challenger(replace(SPLIT, share=0.4), user) for user in users]
    assert not any(was and not now for was, now in zip(first, more, strict=True))


@pytest.mark.parametrize("change", [{"salt": "x"}, {"challenger": "6"}, {"model": "veg"}])
def test_another_comparison_splits_users_anew(change: dict[str, str]) -> None:
    other = replace(SPLIT, **change)
    users = [f"user {number}" for number in range(20_000)]
    both = sum(gets_challenger(SPLIT, user) and gets_challenger(other, user) for user in users)
    assert both == pytest.approx(0.09 * 20_000, abs=4 * (20_000 * 0.09 * 0.91) ** 0.5)
    assert other.key != SPLIT.key or "model" in change


def test_the_edges_of_the_share_are_all_and_nobody() -> None:
    users = [str(number) for number in range(1000)]
    assert not any(gets_challenger(replace(SPLIT, share=0.0), user) for user in users)
    assert all(gets_challenger(replace(SPLIT, share=1.0), user) for user in users)


def test_the_draft_of_the_article() -> None:
    """Both want b first; whoever goes first gets it, and the other its next."""
    own, other = ["b", "a", "c"], ["b", "d", "a"]
    assert team_draft(own, other, 4, lambda _: False) == [
        ("b", "champion"), ("d", "challenger"), ("a", "champion"), ("c", None),
    ]  # fmt: skip
    assert team_draft(own, other, 3, lambda _: True) == [
        ("b", "challenger"), ("a", "champion"), ("d", "challenger"),
    ]  # fmt: skip


def test_what_only_one_list_has_left_counts_for_neither() -> None:
    assert team_draft(["a"], [], 3, lambda _: True) == [("a", None)]
    assert team_draft(["a", "b"], ["a"], 3, lambda _: True) == [
        ("a", "challenger"), ("b", "champion"),
    ]  # fmt: skip


@given(LISTS, LISTS, st.integers(0, 10), st.lists(st.booleans(), min_size=20, max_size=20))
def test_a_draft_has_each_item_once_and_its_teams_are_as_large(
    own: list[str], other: list[str], n: int, coins: list[bool]
) -> None:
    drafted = team_draft(own, other, n, coins.__getitem__)
    items = [item for item, _ in drafted]
    assert len(items) == len(set(items)) == min(n, len({*own, *other}))
    teams = Counter(side for _, side in drafted)
    assert abs(teams["champion"] - teams["challenger"]) <= 1
    for side, of in (("champion", own), ("challenger", other)):
        picked = [item for item, whose in drafted if whose == side]
        assert picked == [item for item in of if item in picked]
    # Another coin, other teams: mirrored when the lists and the coin change places.
    mirrored = team_draft(other, own, n, lambda number: not coins[number])
    names = {"champion": "challenger", "challenger": "champion", None: None}
    credited = [(item, side) for item, side in drafted if side]
    assert [(item, names[side]) for item, side in mirrored if side] == credited
