"""House rules: each of them alone, their order, what they say of rows, and files of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from recsys.base.errors import InputError, NotFoundError
from recsys.bundle import Bundle
from recsys.data.answers_log import KEPT_DAYS, AnswersLog, today
from recsys.recommend.availability import Availability
from recsys.recommend.house_rules import HouseRules, WatchedRules, read_rules
from recsys.recommend.queries.answers import Answer
from recsys.recommend.queries.filters import Filters
from recsys.recommend.queries.ruled import rules_of
from recsys.recommend.recommender import Recommender
from tests.fixtures.few_likes import few_likes_bundle, write_few_likes

USERS = ["c0-03", "c1-05", "n1-04", "reader", "odd"]


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("rules")
    return few_likes_bundle(folder, write_few_likes(folder / "data"))


def ruled(bundle: Bundle, **rules: Any) -> Recommender:
    return Recommender(bundle, rules=HouseRules.model_validate(rules))


def ids(answer: Answer) -> list[str]:
    return [row.id for row in answer]


@pytest.mark.parametrize("user", USERS)
def test_no_rule_changes_nothing(user: str, bundle: Bundle) -> None:
    plain, asked = Recommender(bundle), ruled(bundle)
    assert asked.recommend(user, 8) == plain.recommend(user, 8)
    weightless = ruled(bundle, diversity={"weight": 0})
    assert weightless.recommend(user, 8) == plain.recommend(user, 8)


def test_boosted_and_buried_items_move_and_say_so(bundle: Bundle) -> None:
    before = Recommender(bundle).recommend("c0-03", 10)
    assert not any(item.startswith("g2") for item in ids(before)[:3])
    found = ruled(bundle, boost=[{"tags": ["t2"], "by": 50}]).recommend("c0-03", 10)
    assert all(item.startswith("g2") for item in ids(found)[:9])
    assert found[0].reason.split(";")[0] == "boosted by t2"
    # The score is the model's, whatever rules do.
    assert found[0].score == Recommender(bundle).rank("c0-03", [found[0].id])[0].score
    first = before[0].id
    lower = ruled(bundle, bury=[{"items": [first], "by": 50}]).recommend("c0-03", 24)
    assert ids(lower)[-1] == first
    assert lower[-1].reason.startswith(f"buried by {first}")
    some = ruled(bundle, boost=[{"tags": ["t2"], "by": 50, "users": ["l1"]}])
    assert some.recommend("c0-03", 10) == before
    assert all(item.startswith("g2") for item in ids(some.recommend("c1-05", 10))[:9])


def test_pinned_items_have_their_places(bundle: Bundle) -> None:
    pins = [
        {"item": "g2-9", "place": 3},
        {"item": "lone", "place": 1},
        {"item": "g0-0", "place": 9},
    ]
    asked = ruled(bundle, pin=pins)
    found = asked.recommend("c0-03", 5)
    assert ids(found)[0] == "lone"
    assert ids(found)[2] == "g2-9"
    assert found[2].reason.startswith("pinned")
    assert len(set(ids(found))) == 5
    rest = [item for item in ids(found) if item not in ("lone", "g2-9")]
    assert rest == ids(Recommender(bundle).recommend("c0-03", 5))[:3]
    # Never what somebody likes already, or what may not be shown.
    liked = ids(Recommender(bundle).liked("c0-03"))[0]
    assert liked not in ids(ruled(bundle, pin=[{"item": liked}]).recommend("c0-03", 5))
    hidden = replace(asked, availability=Availability.of(["g2-1", "g2-2", "g1-1"]))
    assert set(ids(hidden.recommend("c0-03", 5))) == {"g2-1", "g2-2", "g1-1"}


@pytest.mark.parametrize("user", USERS)
def test_bounds_of_tags_and_of_new_items_hold(user: str, bundle: Bundle) -> None:
    most = [{"n": 2, "tag": "t0"}, {"n": 2, "tag": "t1"}, {"n": 3, "tag": "t2"}]
    found = ruled(bundle, at_most=most).recommend(user, 7)
    groups = [item.split("-")[0] for item in ids(found)]
    assert len(found) == 7
    assert (groups.count("g0"), groups.count("g1"), groups.count("g2")) == (2, 2, 3)
    # With a pin of one tag among them, and no place left for others of it.
    pinned = ruled(bundle, at_most=most[1:], pin=[{"item": "g1-0"}, {"item": "g1-1", "place": 2}])
    groups = [item.split("-")[0] for item in ids(pinned.recommend(user, 6))]
    assert groups.count("g1") <= 2
    least = ruled(bundle, at_least=[{"n": 1, "kind": "new"}]).recommend(user, 6)
    assert len(least) == 6
    if user != "odd":  # who is answered by popularity, where there is no vector
        assert least[-1].id in ("rare-0", "lone", "untagged")
        assert least[-1].reason.startswith("new")
    plain = ids(Recommender(bundle).recommend(user, 6))
    assert ids(least)[:5] == plain[:5]
    few = int(np.sort(bundle.likes[: bundle.trained])[3])
    rare = ruled(bundle, at_least=[{"n": 2, "kind": "rare", "likes": few}]).recommend(user, 6)
    counts = [int(bundle.likes[bundle.items.index(item)]) for item in ids(rare)]
    assert sum(count <= few for count in counts) >= 2 or user.startswith(("c", "n"))


def test_items_are_excluded_by_features_of_users(bundle: Bundle) -> None:
    asked = ruled(bundle, exclude=[{"tags": ["t1"], "users": ["country_l1"]}])
    for user in ("c1-05", "reader", "someone"):
        assert not any(item.startswith("g1") for item in ids(asked.recommend(user, 10)))
    new = asked.recommend_for(["g1-1"], 10, features=["l1"])
    assert not any(item.startswith("g1") for item in ids(new))
    plain = Recommender(bundle)
    assert asked.recommend("c0-03", 10) == plain.recommend("c0-03", 10)
    many = asked.recommend_many(["c1-05", "c0-03"] * 10, 10)
    for found, alone in zip(
        many, (asked.recommend("c1-05", 10), plain.recommend("c0-03", 10)), strict=False
    ):
        assert ids(found) == ids(alone)
        assert [row.reason for row in found] == [row.reason for row in alone]
        expected = [row.score for row in alone]
        assert [row.score for row in found] == pytest.approx(expected, abs=1e-5)


def test_what_was_shown_on_earlier_days_is_hidden(bundle: Bundle, tmp_path: Path) -> None:
    log = AnswersLog(tmp_path / "answers" / "few.sqlite")
    asked = replace(ruled(bundle, hide_shown={"days": 7}), answers=log)
    before = ids(asked.recommend("c0-03", 4))
    assert not log.shown_before("c0-03", 7)
    log.record([("c0-03", before[:2]), ("c1-05", before)], day=today() - 7)
    log.record([("c0-03", before[2:])])  # today's may be asked for again
    log.record([("c0-03", ["g2-0", "gone"])], day=today() - 8)
    after = ids(asked.recommend("c0-03", 4))
    assert after[:2] == before[2:]
    assert not set(after) & set(before[:2])
    log.record([("c0-03", ["g2-1"])], day=today() - KEPT_DAYS - 1)
    AnswersLog(tmp_path / "answers" / "few.sqlite").record([])
    assert "g2-1" not in log.shown_before("c0-03", 10 * KEPT_DAYS)
    assert log.forget("c0-03") == 6
    assert ids(asked.recommend("c0-03", 4)) == before
    assert all(b"c0-03" not in file.read_bytes() for file in (tmp_path / "answers").iterdir())


ALL_KINDS: dict[str, Any] = {
    "exclude": [{"items": ["g0-1"]}, {"tags": ["t1"], "users": ["country_l1"]}],
    "boost": [{"tags": ["t2"], "by": 1.5}, {"items": ["g0-3", "rare-0"], "by": 0.5}],
    "bury": [{"tags": ["t0"], "by": 0.5, "users": ["country_l1"]}],
    "diversity": {"weight": 0.4},
    "at_most": [{"tag": "t1", "n": 2}, {"tag": "t2", "n": 1}],
    "at_least": [{"kind": "new", "n": 1}, {"kind": "rare", "n": 2, "likes": 9}],
    "pin": [{"item": "g2-9", "place": 2}, {"item": "lone", "place": 4}, {"item": "g0-0"}],
    "hide_shown": {"days": 7},
}


EVERYTHING, FEW = Filters(include_untrained=True, must_not=["t0"]), Filters(only=["g1-1", "g2-9"])


@pytest.mark.parametrize(
    ("kinds", "filters"),
    [
        *(([kind], Filters()) for kind in ALL_KINDS),
        *((list(ALL_KINDS), filters) for filters in (Filters(), EVERYTHING, FEW)),
        (["boost", "at_least"], EVERYTHING),
    ],
)
@pytest.mark.parametrize("blended", [False, True])
def test_many_lists_are_those_of_each_user(
    kinds: list[str], filters: Filters, blended: bool, bundle: Bundle, tmp_path: Path
) -> None:
    everybody = bundle.users.ids.to_pylist()[::2]
    log = AnswersLog(tmp_path / "answers.sqlite")
    log.record([(user, ["g0-2", "g1-2"]) for user in everybody[::2]], day=today() - 1)
    model = bundle if blended else replace(bundle, neighbours=None, untrained_neighbours=None)
    asked = replace(ruled(model, **{kind: ALL_KINDS[kind] for kind in kinds}), answers=log)
    many = asked.recommend_many(everybody, 6, filters)
    for user, found in zip(everybody, many, strict=True):
        alone = asked.recommend(user, 6, filters)
        assert found.notes == alone.notes
        assert ids(found) == ids(alone), user
        assert [row.reason for row in found] == [row.reason for row in alone]
        expected = [row.score for row in alone]
        assert [row.score for row in found] == pytest.approx(expected, abs=1e-4)


def similarity(bundle: Bundle, found: Answer) -> float:
    """The mean cosine of two items of a list."""
    vectors = bundle.factors.item_factors[bundle.items.indices(ids(found))]
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = vectors @ vectors.T
    return float(cosines[np.triu_indices(len(found), 1)].mean())


def test_diverse_lists_are_those_of_maximal_marginal_relevance(bundle: Bundle) -> None:
    plain = Recommender(bundle).recommend("c0-03", 6)
    found = [ruled(bundle, diversity={"weight": w}).recommend("c0-03", 6) for w in (0.3, 0.7)]
    measured = [similarity(bundle, one) for one in (plain, *found)]
    assert measured == sorted(measured, reverse=True)
    assert measured[-1] < measured[0] - 0.1
    assert [one[0] for one in found] == [plain[0]] * 2
    late = [row for row in found[-1] if row.id not in ids(plain)]
    assert late
    assert all(row.reason.startswith("for diversity") for row in late)
    # By hand: relevance between 0 and 1, less the largest cosine to what is chosen already.
    everything = Recommender(bundle).recommend("c0-03", len(bundle.items))
    scores = np.array([row.score for row in everything])
    value = 0.3 * (scores - scores.min()) / (scores.max() - scores.min())
    vectors = bundle.factors.item_factors[bundle.items.indices(ids(everything))]
    vectors = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    picked = [0]
    while len(picked) < 6:
        alike = np.maximum(0, (vectors @ vectors[picked].T).max(axis=1))
        worth = value - 0.7 * alike
        worth[picked] = -np.inf
        picked.append(int(worth.argmax()))
    assert ids(found[-1]) == [everything[place].id for place in picked]


def test_rules_follow_their_file(bundle: Bundle, tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text('[[pin]]\nitem = "g2-1"\n')
    asked = Recommender(bundle, rules=WatchedRules(file))
    assert asked.recommend("c0-03", 3)[0].id == "g2-1"
    file.write_text('[[pin]]\nitem = "g2-22"\n[[pin]]\nitem = "g2-2"\nplace = 2\n')
    assert asked.recommend("c0-03", 3)[1].id == "g2-2"
    compiled = rules_of(asked.view)
    assert compiled is not None
    assert compiled.unknown == ["no item 'g2-22'"]
    file.write_text("not TOML, and longer than what was there before by a good measure, really")
    assert asked.recommend("c0-03", 3)[1].id == "g2-2"
    file.unlink()
    assert asked.recommend("c0-03", 3)[1].id == "g2-2"


def test_names_that_a_model_does_not_know_are_collected(bundle: Bundle) -> None:
    asked = ruled(
        bundle,
        boost=[{"tags": ["t9", "t1"], "items": ["nothing"]}],
        exclude=[{"items": ["g1-1"], "users": ["country_mars"]}],
    )
    compiled = rules_of(asked.view)
    assert compiled is not None
    said = " ".join(compiled.unknown)
    assert len(compiled.unknown) == 3
    assert "'t9'" in said
    assert "no item 'nothing'" in said
    assert "'country_mars'" in said
    # A rule for users of whom there are none is a rule for nobody.
    assert "g1-1" in ids(asked.recommend("c0-03", 24))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[[boost]]\nby = 1", "boost.1; expected tags or items"),
        ("[[boost]]\ntags = ['a']\nby = -1", "boost.1.by .found -1.; expected greater than 0"),
        ("[[lift]]\ntags = ['a']", "lift is no rule"),
        ("[[pin]]\nitem = 'a'\n[[pin]]\nitem = 'b'", "one item pinned to a place"),
        ("[diversity]\nweight = 2", "diversity.weight .found 2."),
        ("[[at_least]]\nn = 1\nkind = 'odd'", "at_least.1.kind .found 'odd'."),
        ("x =", "is no TOML"),
    ],
)
def test_a_wrong_file_is_said_in_one_line(text: str, message: str, tmp_path: Path) -> None:
    (tmp_path / "rules.toml").write_text(text)
    with pytest.raises(InputError, match=message):
        read_rules(tmp_path / "rules.toml")
    with pytest.raises(NotFoundError):
        read_rules(tmp_path / "nowhere.toml")


def test_lists_have_names(bundle: Bundle) -> None:
    lists = {"shop": Availability.of(["g1-1", "g1-2", "g2-7"]), "old": Availability.of(["g1-2"])}
    asked = Recommender(bundle, lists=lists)
    assert set(ids(asked.recommend("n1-04", 9, Filters(lists=["shop"])))) <= {
        "g1-1",
        "g1-2",
        "g2-7",
    }
    assert ids(asked.similar_items("g1-1", 9, Filters(lists=["shop", "old"]))) == ["g1-2"]
    with pytest.raises(NotFoundError, match=r"no list 'none'.*old, shop"):
        asked.recommend("n1-04", 9, Filters(lists=["none"]))
