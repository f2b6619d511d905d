"""The recommender: its answers worked out by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from recsys.base.errors import InputError, NotFoundError
from recsys.recommend.queries.answers import Ranked
from recsys.recommend.queries.filters import Filters
from recsys.recommend.recommender import Recommender
from tests.fixtures.bundles import write_bundle


@pytest.fixture
def plain(tmp_path: Path) -> Recommender:
    """Without features or fold-in, as bundles of the first schema are."""
    return Recommender.load(write_bundle(tmp_path / "plain"))


@pytest.fixture
def rich(tmp_path: Path) -> Recommender:
    return Recommender.load(write_bundle(tmp_path / "rich", features=True))


def scores(rows: Sequence[Ranked]) -> dict[str, float]:
    return {row.id: row.score for row in rows}


def whys(rows: Sequence[Ranked]) -> dict[str, str]:
    return {row.id: row.reason for row in rows}


def test_scores_are_inner_products_and_biases_without_what_was_seen(plain: Recommender) -> None:
    # ann: a 2.5 (seen), b 1 + 0.25 + 0.5, c 0.5, d 1.5
    rows = plain.recommend("ann", 10)
    assert [(row.id, row.score) for row in rows] == [("b", 1.75), ("d", 1.5), ("c", 0.5)]
    everything = plain.recommend("ann", 2, Filters(include_seen=True))
    assert [row.id for row in everything] == ["a", "b"]


def test_a_reason_is_the_nearest_liked_item(rich: Recommender) -> None:
    # b lies along a, which ann likes; d nowhere; c at a right angle.
    assert whys(rich.recommend("ann")) == {"b": "like Apple", "d": "", "c": ""}
    # Bob likes b and c; a itself is no reason for a.
    seen = whys(rich.recommend("bob", filters=Filters(include_seen=True)))
    assert seen == {"c": "like b", "b": "like Cherry", "a": "like b", "d": ""}


def test_an_item_without_a_name_goes_by_its_id(plain: Recommender, tmp_path: Path) -> None:
    assert [row.name for row in plain.recommend("ann", 2)] == ["b", "Date"]
    nameless = Recommender.load(write_bundle(tmp_path / "nameless", names=False))
    assert nameless.recommend("ann", 1)[0].name == "b"


def test_untrained_items_are_recommended_when_asked_for(rich: Recommender) -> None:
    # ann: e 0 + 0.5 + 0.5
    asked = rich.recommend("ann", filters=Filters(include_untrained=True))
    assert scores(asked) == {"b": 1.75, "d": 1.5, "e": 1.0, "c": 0.5}
    assert "e" not in scores(rich.recommend("ann"))


def test_a_new_user_is_folded_in(rich: Recommender) -> None:
    # a folds in to (2, 0): b 2 + 0.25, d 1, c 0; a itself is liked.
    found = rich.recommend_for(["a", "nonsense"])
    assert scores(found) == {"b": 2.25, "d": 1, "c": 0}
    assert found.notes[:-1] == ("1 unknown item ignored: nonsense",)
    assert found[0].reason == "like Apple"
    # a tag counts as an item: (2, 2) / sqrt 2 folds in to (sqrt 2, sqrt 2 / 2)
    found = rich.recommend_for(["a"], tags=[("tag", "green")])
    root = 2**0.5
    expected = {"c": 1.5 * root, "b": 1.05 * root + 0.25, "d": 1}
    assert scores(found) == pytest.approx(expected)
    assert whys(found) == {"c": "suits tag_green", "b": "like Apple", "d": ""}


def test_a_new_user_with_features(rich: Recommender) -> None:
    found = rich.recommend_for(features=["de"])
    expected = {"c": 3.5, "a": 2.5, "b": 1.85, "d": 1.5}
    assert list(scores(found)) == list(expected)
    assert scores(found) == pytest.approx(expected)
    assert found[0].reason == "suits country_de"
    # One like, strength 1: half (2, 0), half (1, 1), and the bias 0.5.
    blended = scores(rich.recommend_for(["a"], features=["country_de"]))
    assert blended == pytest.approx({"b": 2.3, "c": 2, "d": 1.5})


def test_nothing_known_is_popularity_and_says_so(rich: Recommender, plain: Recommender) -> None:
    nobody = rich.recommend_for()
    assert [(row.id, row.score, row.reason) for row in nobody][:2] == [
        ("a", 1, "1 like"), ("b", 1, "1 like"),
    ]  # fmt: skip
    assert nobody.notes[:-1] == ("nothing is known of this user: by popularity",)
    stranger = rich.recommend_for(["x"], tags=["tag_rad"], features=["country_fr"])
    assert stranger.notes[-2] == "nothing else is known of this user: by popularity"
    assert "1 unknown feature ignored: tag_rad (did you mean tag_red?)" in stranger.notes
    assert "by popularity" in plain.recommend_for(features=["country_de"]).notes[-2]


def test_without_fold_in_it_goes_by_likeness(plain: Recommender) -> None:
    found = plain.recommend_for(["a"])
    assert found.notes[:-1] == ("this model has no fold-in: by likeness to what is liked",)
    assert scores(found) == pytest.approx({"b": 1 / np.sqrt(1.01), "c": 0})


def test_similar_is_the_cosine_of_vectors_biases_left_out(rich: Recommender) -> None:
    rows = rich.similar_items("a", 10)
    assert scores(rows) == pytest.approx({"b": 1 / np.sqrt(1.01), "c": 0, "e": 0})
    assert [row.id for row in rows] == ["b", "c", "e"]  # of equals the first; d has no direction
    assert whys(rows) == {"b": "both tag_red", "c": "", "e": ""}
    trained = rich.similar_items("a", filters=Filters(include_untrained=False))
    assert [row.id for row in trained] == ["b", "c"]


def test_a_new_item_by_tags_by_likes_and_by_both(rich: Recommender) -> None:
    by_tag = rich.similar_items(features=["tag_green", "tag_grean"])
    assert [row.id for row in by_tag][:2] == ["c", "e"]
    assert by_tag.notes[:-1] == ("1 unknown feature ignored: tag_grean (did you mean tag_green?)",)
    # ann's vector (1, 0) folds in to (2, 0).
    assert rich.similar_items(liked_by=["ann", "eve"])[0].id == "a"
    # One like against strength 2: a third of (2, 0), two thirds of (0, 2).
    both = rich.similar_items(features=["green"], liked_by=["ann"])
    assert scores(both)["a"] == pytest.approx(1 / np.sqrt(5))
    assert scores(both)["c"] == pytest.approx(2 / np.sqrt(5))


def test_a_new_item_of_which_nothing_is_known_is_refused(
    rich: Recommender, plain: Recommender
) -> None:
    with pytest.raises(NotFoundError, match=r"no feature 'tag_grean'.*did you mean tag_green"):
        rich.similar_items(features=["tag_grean"])
    for unknown in ({}, {"liked_by": ["eve"]}, {"features": ["kind_sweet"]}):
        with pytest.raises(InputError, match="new item"):
            rich.audience(**unknown)  # type: ignore[arg-type]
    with pytest.raises(InputError, match="knows no item features"):
        plain.similar_items(features=["tag_red"])
    with pytest.raises(InputError, match="neither likes nor known features"):
        rich.similar_items("d")
    with pytest.raises(InputError, match="give one of them"):
        rich.similar_items("a", features=["tag_red"])


def test_items_for_a_tag(rich: Recommender) -> None:
    red = rich.items_for_tag("red")
    assert scores(red) == pytest.approx({"a": 1, "b": 1 / np.sqrt(1.01), "c": 0, "e": 0})
    assert whys(red)["b"] == "has tag_red"
    assert whys(red)["c"] == "not tag_red"


def test_items_for_several_tags_with_weights(rich: Recommender) -> None:
    # Directions (1, 0) and (0, 1); their lengths of 2 do not count.
    found = rich.items_for_tag({"tag_red": 1, "tag_green": -1, "tag_blue": 3})
    expected = {"a": 0.5**0.5, "b": 0.9 / np.sqrt(2.02), "c": -(0.5**0.5), "e": -(0.5**0.5)}
    assert scores(found) == pytest.approx(expected)
    assert whys(found)["c"] == "has tag_green, not tag_red"
    assert found.notes[0].startswith("1 unknown feature ignored: tag_blue")
    heavy = scores(rich.items_for_tag({"tag_red": 3, "tag_green": 4}))
    assert heavy["a"] == pytest.approx(0.6)
    with pytest.raises(InputError, match="cancel"):
        rich.items_for_tag({"tag_red": 1, "red": -1})
    with pytest.raises(InputError, match="without a direction"):
        rich.items_for_tag("kind_sweet")


def test_features_are_named_in_several_ways(rich: Recommender, plain: Recommender) -> None:
    names = "tag_red", "TAG_Red", ("tag", "red"), ("Tag", "RED"), "red"
    answers = {rich.items_for_tag(name) for name in names}
    assert len(answers) == 1
    with pytest.raises(InputError, match="one of kind_sweet, tag_sweet"):
        rich.items_for_tag("sweet")
    with pytest.raises(NotFoundError, match="did you mean tag_red"):
        rich.items_for_tag("redd")
    with pytest.raises(InputError, match="knows no item features"):
        plain.items_for_tag("red")


def test_suggested_tags_are_votes_of_items_alike(rich: Recommender) -> None:
    # Like b: a by the mean of 1 / sqrt 2 and 1 / sqrt 1.01, c and e by half of 0.1 / sqrt 1.01.
    near, far = (0.5**0.5 + 1 / np.sqrt(1.01)) / 2, 0.05 / np.sqrt(1.01)
    found = rich.suggest_tags("b")
    # In shares of the greatest vote; and a, the only other red one, is sweet: a tenth for company.
    assert scores(found) == pytest.approx({"tag_sweet": 1.1, "tag_green": 2 * (far / near) ** 3})
    assert found[0] == Ranked("tag_sweet", "sweet", found[0].score, "on 1 item like it")
    assert found[1].reason == "on 2 items like it"
    assert not rich.suggest_tags("b", kind="kind")
    assert [row.id for row in rich.suggest_tags("b", exclude=["tag_sweet"])] == ["tag_green"]
    assert rich.suggest_tags(features=["red"])[0].id == "tag_sweet"
    with pytest.raises(NotFoundError, match=r"no features of type 'colour'.*kind, tag"):
        rich.suggest_tags("b", kind="colour")


def test_similar_tags(rich: Recommender) -> None:
    found = rich.similar_tags("red")
    assert scores(found) == pytest.approx({"tag_sweet": 0.5**0.5, "tag_green": 0})
    assert found[0].reason == "on 1 item"
    with pytest.raises(InputError, match="on no trained item"):
        rich.similar_tags("kind_sweet")


def test_the_audience_of_an_item(rich: Recommender) -> None:
    everybody = rich.audience("c", filters=Filters(include_seen=True))
    assert scores(everybody) == {"bob": 5.5, "ann": 0.5}
    # Bob likes c already, and b, a little of which points that way; ann's apple does not.
    assert whys(everybody) == {"bob": "likes b", "ann": ""}
    assert scores(rich.audience("c")) == {"ann": 0.5}
    # A new green item: (0, 2) and the bias 0.5.
    assert scores(rich.audience(features=["green"])) == {"bob": 4, "ann": 1}
    german = Filters(must=["country_de"])
    assert list(scores(rich.audience(features=["green"], filters=german))) == ["ann"]


def test_an_explanation_worked_out_by_hand(rich: Recommender) -> None:
    # Half of a's features is in its vector: red (2, 0) and sweet (1, 1), weighed 1 / sqrt 2.
    found = rich.explain("ann", "a")
    half = 0.5 * 0.5**0.5
    parts = {part.id: (part.vector, part.bias) for part in found.parts}
    assert parts["ann"] == (0, 0.5)
    assert parts["tag_red"] == pytest.approx((2 * half, -0.5 * half))
    assert parts["tag_sweet"] == pytest.approx((half, 0.25 * half))
    assert parts["a"] == pytest.approx((2 - 3 * half, 0.25 * half))
    assert [part.id for part in found.parts] == ["ann", "a", "tag_red", "tag_sweet"]
    assert found.score == 2.5
    assert found.nearest == ()  # ann likes a alone
    (near,) = rich.explain("ann", "b").nearest
    assert (near.id, near.score) == ("a", pytest.approx(1 / np.sqrt(1.01)))


def test_filters(rich: Recommender) -> None:
    def ids(**options: object) -> list[str]:
        return [row.id for row in rich.items_for_tag("red", filters=Filters(**options))]  # type: ignore[arg-type]

    assert ids(must=["red"]) == ["a", "b"]
    assert ids(must=["red", "tag_sweet"]) == ["a"]
    assert ids(must_not=["red"]) == ["c", "e"]
    assert ids(must_not=["red"], include_untrained=False) == ["c"]
    assert ids(exclude=["a", "e"]) == ["b", "c"]
    with pytest.raises(NotFoundError, match="did you mean tag_red"):
        ids(must=["tag_rad"])
    with pytest.raises(InputError, match="square brackets"):
        ids(must="red")
    said = rich.recommend("ann", filters=Filters(must_not=["tag_rad"], exclude=["zz"])).notes[:-1]
    assert said == (
        "1 unknown item to leave out: zz",
        "1 unknown feature ignored: tag_rad (did you mean tag_red?)",
    )


def test_filters_by_features_need_features(plain: Recommender) -> None:
    with pytest.raises(InputError, match="knows none"):
        plain.recommend("ann", filters=Filters(must=["tag_red"]))


def test_answers_as_tables(rich: Recommender) -> None:
    answer = rich.recommend("ann", 1)
    row = {"id": "b", "name": "b", "score": 1.75, "reason": "like Apple"}
    assert answer.as_dicts() == [row]
    assert answer.to_frame().to_dict("records") == [row]
    empty = rich.recommend("ann", filters=Filters(exclude=["b", "c", "d"])).to_frame()
    assert (list(empty.columns), len(empty)) == (list(row), 0)
    parts = rich.explain("ann", "a").to_frame()
    assert parts["value"].sum() == pytest.approx(2.5)


def test_liked_and_popular(plain: Recommender) -> None:
    assert [row.id for row in plain.liked("bob")] == ["c", "b"]
    assert [(row.id, row.score) for row in plain.popular(2)] == [("a", 1), ("b", 1)]


def test_unknown_ids_are_answered_with_the_closest(plain: Recommender) -> None:
    with pytest.raises(NotFoundError, match=r"no user 'anne'.*did you mean ann"):
        plain.recommend("anne")
    with pytest.raises(NotFoundError, match="no item 'zzzz'"):
        plain.similar_items("zzzz")
    with pytest.raises(InputError, match="n = 0"):
        plain.recommend("ann", 0)


def test_a_short_answer_says_that_it_is_one(rich: Recommender) -> None:
    everything = Filters(include_seen=True)
    assert rich.recommend("ann", 4, everything).notes == ()
    few = rich.recommend("ann", 1000, everything)
    assert len(few) == 4
    assert few.notes == ("only 4 of 1,000 asked for: all else is known or left out",)


def test_who_knows_everything_gets_an_empty_answer_that_says_so(rich: Recommender) -> None:
    bob = rich.recommend("bob", 5, Filters(exclude=["a", "d"]))
    assert list(bob) == []
    assert bob.notes == ("an empty answer: all else is known or left out",)
    assert rich.audience("b", 1, Filters(exclude=["ann"])).notes == bob.notes
    many = rich.recommend_many(["ann", "bob"], 5, Filters(exclude=["a", "b", "c", "d"]))
    assert [found.notes for found in many] == [bob.notes] * 2
