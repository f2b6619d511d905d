"""Expectations on the bundle that is worked out by hand, and files that are wrong."""

from __future__ import annotations

from pathlib import Path

import pytest

from recsys.base.errors import InputError, NotFoundError
from recsys.recommend.expectations import (
    Expectations,
    check_expectations,
    read_expectations,
)
from recsys.recommend.house_rules import HouseRules
from recsys.recommend.recommender import Recommender
from tests.fixtures.bundles import write_bundle


@pytest.fixture(scope="module")
def recommender(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    """Ann likes a, bob b and c; items b and a are red, c green; ann is from de."""
    folder = tmp_path_factory.mktemp("expectations")
    return Recommender.load(write_bundle(folder / "bundle", features=True))


def asked(recommender: Recommender, **kinds: object) -> tuple[bool, str]:
    (found,) = check_expectations(recommender, Expectations.model_validate(kinds))
    return found.met, found.found


def test_an_item_is_among_those_like_another(recommender: Recommender) -> None:
    # a and b lie together, c across.
    near = {"item": "a", "contains": ["b"], "first": 1}
    assert asked(recommender, similar=[near]) == (True, "b in place 1")
    far = {"item": "a", "contains": ["b", "c"], "first": 1}
    assert asked(recommender, similar=[far]) == (False, "c is not there")
    unknown = {"item": "a", "contains": ["x"]}
    assert asked(recommender, similar=[unknown]) == (False, "no item 'x'")
    assert asked(recommender, similar=[{"item": "x", "contains": ["a"]}]) == (False, "no item 'x'")


def test_a_tag_that_nobody_gets(recommender: Recommender) -> None:
    # Ann, who likes a, gets b before all: it is red.
    red = {"tags": ["tag_red"], "users": ["country_de"], "first": 1}
    assert asked(recommender, never=[red]) == (False, "1 of 1 users do; ann gets b")
    sweet = {"tags": ["tag_sweet"], "users": ["country_de"]}
    # The only sweet item is the one that she likes already.
    assert asked(recommender, never=[sweet]) == (True, "none of 1 users does")
    everybody = {"tags": ["tag_red", "tag_green"], "first": 3}
    met, found = asked(recommender, never=[everybody])
    assert (met, found) == (False, "2 of 2 users do; ann gets b")
    assert asked(recommender, never=[{"tags": ["tag_blue"]}]) == (False, "no feature 'tag_blue'")


def test_house_rules_count(recommender: Recommender) -> None:
    rules = HouseRules.model_validate({"exclude": [{"tags": ["tag_red"], "users": ["country_de"]}]})
    ruled = Recommender(recommender.bundle, rules=rules)
    red = {"tags": ["tag_red"], "users": ["country_de"], "first": 3}
    assert not asked(recommender, never=[red])[0]
    assert asked(ruled, never=[red]) == (True, "none of 1 users does")


def test_a_user_gets_so_many_items(recommender: Recommender) -> None:
    # Of four trained items, bob likes two.
    assert asked(recommender, at_least=[{"user": "bob", "n": 2}]) == (True, "2 items")
    assert asked(recommender, at_least=[{"user": "bob", "n": 3}])[0] is False
    assert asked(recommender, at_least=[{"user": "zoe", "n": 1}]) == (False, "no user 'zoe'")


def test_items_sorted_by_a_tag_have_it(recommender: Recommender) -> None:
    has = {"tag": "tag_red", "first": 2, "have": 2}
    assert asked(recommender, tag=[has]) == (True, "2 of 2")
    assert asked(recommender, tag=[has | {"first": 5, "have": 3}])[0] is False


def test_a_model_without_features_meets_nothing_of_them(tmp_path: Path) -> None:
    plain = Recommender.load(write_bundle(tmp_path / "bundle"))
    assert asked(plain, never=[{"tags": ["tag_red"]}]) == (
        False, "the model knows no features of items",
    )  # fmt: skip


def test_expectations_are_said_in_words(recommender: Recommender) -> None:
    given = Expectations.model_validate(
        {
            "tag": [{"tag": "tag_red", "have": 15}],
            "similar": [{"item": "a", "contains": ["b", "c"]}],
            "never": [{"tags": ["x"], "users": ["u", "v"]}, {"tags": ["x", "y"], "first": 5}],
            "at_least": [{"user": "ann", "n": 5}],
        }
    )
    assert len(given) == 5
    assert [one.expected for one in check_expectations(recommender, given)] == [
        "similar to a: b, c in the first 10",
        "never x in the first 10 for a user with u or v",
        "never x or y in the first 5 for anybody",
        "at least 5 items for ann",
        "15 of the first 20 for tag_red have it",
    ]


FAULTS = {
    "[[similar": "is no TOML",
    "[[like]]\nitem = 'a'\n": "like is no expectation; expected one of the documentation",
    "[[similar]]\nitem = 'a'\n": r"similar\.1\.contains; expected field required",
    "[[similar]]\nitem = 'a'\ncontains = []\n": r"similar\.1\.contains \(found \[\]\)",
    "[[at_least]]\nuser = 'a'\nn = 0\n": r"at_least\.1\.n \(found 0\)",
    "[[tag]]\ntag = 'a'\nhave = 21\n": "no more than the 20 of the list",
}


@pytest.mark.parametrize("text", FAULTS)
def test_a_wrong_file_is_explained(text: str, tmp_path: Path) -> None:
    file = tmp_path / "expected.toml"
    file.write_text(text)
    with pytest.raises(InputError, match=FAULTS[text]):
        read_expectations(file)
    with pytest.raises(NotFoundError, match="expected expectations"):
        read_expectations(tmp_path / "nowhere.toml")
