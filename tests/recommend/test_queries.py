"""Queries by their properties: on bundles of any shape, with names of any kind."""

from __future__ import annotations

import io
import random
from contextlib import nullcontext

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rich.console import Console

from recsys.base.errors import InputError, NotFoundError
from recsys.base.spelling import closest
from recsys.bundle import Bundle, Seen
from recsys.cli.tables import answer, plain
from recsys.data.idmap import IdMap
from recsys.models.content import Profiles, suggest_features
from recsys.models.foldin import FoldIn
from recsys.models.mapping import Mapping
from recsys.models.side import SideInformation, Vocabulary
from recsys.ranking.factors import Factors
from recsys.recommend.queries.answers import Answer, Ranked
from recsys.recommend.queries.feature_lookup import FeatureLookup
from recsys.recommend.queries.filters import Filters
from recsys.recommend.queries.scoring import best, inverse_lengths, products
from recsys.recommend.recommender import Recommender
from recsys.serving.questions import QUERIES, answer_all, read_question


def world(seed: int, whole: bool = False, **sizes: int) -> Recommender:
    """A bundle of random numbers; with `whole`, of whole ones, whose sums are exact."""
    rng = np.random.default_rng(seed)
    shape = {"users": 20, "items": 30, "features": 8, "d": 4} | sizes
    n_users, n_items, n_features, d = (shape[k] for k in ("users", "items", "features", "d"))

    def numbers(*dimensions: int) -> np.ndarray:
        drawn = rng.integers(-3, 4, dimensions) if whole else rng.normal(0, 1, dimensions)
        return drawn.astype(np.float32)

    trained = max(1, n_items - n_items // 5)
    seen = rng.random((n_users, trained)) < 0.2
    has = rng.random((n_items, n_features)) < 0.3
    data = has / np.sqrt(np.maximum(1, has.sum(axis=1, keepdims=True)))
    names = [f"tag_{'abcdefghijklmnop'[i]}" for i in range(n_features)]
    items = SideInformation(
        Vocabulary(
            IdMap(pa.array(names), "feature"), pa.array(["tag"] * n_features),
            pa.array([name[4:] for name in names]), has.sum(axis=0).astype(np.int32),
        ),
        Profiles(*rows(has), data[has].astype(np.float32), np.ones(n_features, np.float32)),
        Mapping(numbers(n_features, d), numbers(n_features), float(rng.integers(2) * 2)),
        rng.random(n_items).astype(np.float32),
        2.0,
    )  # fmt: skip
    return Recommender(
        Bundle(
            Factors(numbers(n_users, d), numbers(n_items, d), numbers(n_users), numbers(n_items)),
            IdMap(pa.array([f"u{i}" for i in range(n_users)]), "user"),
            IdMap(pa.array([f"i{i}" for i in range(n_items)]), "item"),
            None,
            Seen(*rows(seen)),
            {},
            trained,
            item_features=items,
            user_foldin=FoldIn(numbers(d, d)),
            item_foldin=FoldIn(numbers(d, d)),
        )
    )


def rows(flags: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    indptr = np.concatenate([[0], np.cumsum(flags.sum(axis=1))])
    return indptr, np.nonzero(flags)[1].astype(np.int32)


def ids(found: Answer) -> list[str]:
    return [row.id for row in found]


seeds = st.integers(0, 10_000)


@settings(max_examples=60)
@given(seeds)
def test_an_explanation_adds_up_to_the_recommended_score(seed: int) -> None:
    model = world(seed)
    everything = Filters(include_seen=True, include_untrained=True)
    for row in model.recommend("u3", 30, everything):
        found = model.explain("u3", row.id)
        assert sum(part.value for part in found.parts) == pytest.approx(found.score, abs=1e-4)
        assert found.score == pytest.approx(row.score, abs=1e-4)
        tags = {part.id for part in found.parts if part.kind == "feature"}
        index = model.items.index(row.id)
        assert tags == {f"tag_{'abcdefgh'[f]}" for f in model.view.features_of(index)}


@settings(max_examples=25)
@given(seeds, st.integers(1, 40))
def test_a_batch_answers_as_single_questions_do(seed: int, n: int) -> None:
    model = world(seed, whole=True)
    users, items = list(model.users.ids.to_pylist()), list(model.items.ids.to_pylist())
    for filters in (
        Filters(),
        Filters(must_not=["a"], exclude=["i2", "i5"], include_seen=True, include_untrained=True),
    ):
        assert model.recommend_many(users, n, filters) == [
            model.recommend(user, n, filters) for user in users
        ]
    people = Filters(exclude=["u1"])
    assert model.audience_many(items, n, people) == [
        model.audience(item, n, people) for item in items
    ]
    with_direction = [i for i in items if model.factors.item_factors[model.items.index(i)].any()]
    single = [model.similar_items(item, n) for item in with_direction]
    for one, many in zip(single, model.similar_items_many(with_direction, n), strict=True):
        assert [row.score for row in many] == pytest.approx([row.score for row in one], abs=1e-6)
        assert {row.id: row.reason for row in one}.items() >= {
            row.id: row.reason for row in many if row.score > one[-1].score + 1e-5
        }.items()


def test_new_users_in_a_batch_are_answered_as_alone() -> None:
    model = world(3)
    lists = [[f"i{i}", f"i{2 * i}", "strange"] for i in range(12)] + [[], ["strange"]]
    for liked, found in zip(lists, model.recommend_for_many(lists, 5), strict=True):
        alone = model.recommend_for(liked, 5)
        assert (ids(found), found.notes) == (ids(alone), alone.notes)
        assert [r.score for r in found] == pytest.approx([r.score for r in alone], abs=1e-5)


@settings(max_examples=40)
@given(
    seeds,
    st.lists(st.sampled_from("abcdefgh"), max_size=2),
    st.lists(st.sampled_from("abcdefgh"), max_size=2),
    st.lists(st.integers(0, 29), max_size=5),
    st.booleans(),
    st.sampled_from([None, True, False]),
)
def test_filters_hold(
    seed: int,
    must: list[str],
    must_not: list[str],
    exclude: list[int],
    seen: bool,
    untrained: bool | None,
) -> None:
    model = world(seed)
    filters = Filters(must, must_not, [f"i{i}" for i in exclude], seen, untrained)
    liked = {row.id for row in model.liked("u0")}

    def fits(item: int) -> bool:
        has = {"abcdefgh"[f] for f in model.view.features_of(item)}
        return set(must) <= has and not has & set(must_not) and item not in exclude

    fitting = {f"i{i}" for i in range(30) if fits(i)}
    trained = {f"i{i}" for i in range(model.bundle.trained)}
    expected = fitting if untrained else fitting & trained
    assert set(ids(model.recommend("u0", 30, filters))) == expected - (set() if seen else liked)
    for found, itself in (
        (model.similar_items("i4", 30, filters), {"i4"}),
        (model.items_for_tag("a", 30, filters), set()),
    ):
        assert set(ids(found)) == (fitting & trained if untrained is False else fitting) - itself


def test_an_audience_leaves_out_who_likes_it() -> None:
    model = world(5)
    for item in range(model.bundle.trained):
        likers = {f"u{u}" for u in range(20) if item in model.seen.of(u)}
        assert set(ids(model.audience(f"i{item}", 20))) == set(model.users.ids.to_pylist()) - likers


def test_suggestions_are_those_that_were_measured() -> None:
    model = world(6)
    side = model.bundle.item_features
    assert side is not None
    vectors = model.factors.item_factors
    directions = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for item in range(30):
        votes = suggest_features(
            side.profiles, model.view.features_of(item), vectors[item], directions,
            leave_out=item,
        )  # fmt: skip
        found = {row.id: row.score for row in model.suggest_tags(f"i{item}", 8)}
        expected = {f"tag_{'abcdefgh'[f]}": v for f, v in enumerate(votes) if v > 0}
        assert found == pytest.approx(expected, rel=1e-4)


@given(st.lists(st.sampled_from([0, 1, 2, np.nan, np.inf, -np.inf, -0.0]), max_size=12)
       | st.lists(st.sampled_from([0, 1, 2, 3.5, np.nan, -np.inf]), min_size=90, max_size=300),
       st.integers(1, 14))  # fmt: skip
def test_the_best_are_finite_and_ties_go_by_index(values: list[float], n: int) -> None:
    finite = [i for i, value in enumerate(values) if np.isfinite(value)]
    expected = sorted(finite, key=lambda i: (-values[i], i))[:n]
    assert best(np.array(values, np.float32), n).tolist() == expected


def test_equal_rows_have_equal_products_wherever_they_stand() -> None:
    rng = np.random.default_rng(0)
    row, vector = rng.normal(size=(2, 101)).astype(np.float32)
    found = products(np.tile(row, (1003, 1)), vector)
    assert len(np.unique(found)) == 1
    assert found[0] == pytest.approx(float(row.astype(float) @ vector), abs=1e-4)


def test_inverse_lengths() -> None:
    vectors = np.array([[3, 4], [0, 0]], np.float32)
    np.testing.assert_allclose(inverse_lengths(vectors), [0.2, 0])


def test_the_closest_names_are_difflibs() -> None:
    names = pa.array([f"lib{a}{b}-dev" for a in "abcdef" for b in ("", "foo", "bar", "tls")])
    assert closest("libafo-dev", names)[0] == "libafoo-dev"
    assert closest("libafoo-dve", names.slice(1))[0] == "libafoo-dev"
    assert closest("zzzz", names) == []
    assert closest("", names) == closest("x", pa.array([], pa.string())) == []
    assert closest("köln", pa.array(["köln2", "bonn", ""])) == ["köln2"]


def test_two_types_may_share_a_value_but_not_a_pair() -> None:
    words = FeatureLookup(
        Vocabulary(
            IdMap(pa.array(["a_b_c", "x_c"]), "feature"), pa.array(["a_b", "x"]),
            pa.array(["c", "c"]), np.ones(2, np.int32),
        )
    )  # fmt: skip
    assert words.find(("a_b", "c")) == 0
    with pytest.raises(NotFoundError):
        words.find(("a", "b_c"))
    with pytest.raises(InputError, match="one of a_b_c, x_c"):
        words.find("c")


STRANGE = (
    "\u202e\u2066\u2069\u05d0\u05d1\u062c\u062f\U0001f469\u200d\U0001f680\U0001f1e9\U0001f1ea"
    "[bold]/]\\[link=x]\x1b\x07\n\t\0\u0301\U0001d518\ufdfd|'\"{}%\xe9"
)
"""Right to left, emoji, marks, markup, what moves a terminal's cursor."""


def strange_names(n: int) -> list[str]:
    generator = random.Random(8)
    made = ("".join(generator.choices(STRANGE, k=generator.randint(1, 12))) for _ in range(9 * n))
    return list(dict.fromkeys(made))[:n]


def test_ten_thousand_strange_names_are_answered_shown_and_refused() -> None:
    names = strange_names(10_000)
    assert len(names) == 10_000
    plainer = world(1, items=10_000, users=3, features=8)
    model = Recommender(
        Bundle(
            plainer.factors, plainer.users, IdMap(pa.array(names), "item"), pa.array(names),
            plainer.seen, {}, 10_000,
        )
    )  # fmt: skip
    found = model.similar_items(names[0], 9_999)
    assert {row.name for row in found} == set(names[1:])
    console = Console(file=io.StringIO(), width=120)
    with console.capture() as shown:
        console.print(answer(names[1], Answer(found[:2000], ("note " + names[2],))))
    for unruly in "\x1b\x07\0\u202e\u2066":
        assert unruly not in shown.get()
    for name in names[::100]:
        with pytest.raises(NotFoundError):
            model.similar_items(name + "☃")
        assert plain(name).plain == plain(plain(name).plain).plain
        assert not plain(name).spans


def test_markup_in_names_is_text() -> None:
    console = Console(file=io.StringIO(), width=80)
    with console.capture() as shown:
        row = Ranked("[red]", "[/bold] \\[x]", 1.0, "[blink]")
        console.print(answer("[bold]", Answer((row,), ("[i]",))))
    for text in ("[red]", "[/bold] \\[x]", "[blink]", "[bold]", "[i]"):
        assert text in shown.get()


def test_questions_as_records_answer_as_methods_do() -> None:
    model = world(2)
    records = [
        {"query": "recommend", "id": "u1", "n": 3},
        {"query": "recommend", "id": "u2", "n": 3, "liked": None, "type": float("nan")},
        {"query": "recommend", "liked": ["i1"], "tags": np.array(["a"])},
        {"query": "similar", "id": "i1", "must": ["a"]},
        {"query": "similar", "tags": ["a"], "liked_by": ["u1"]},
        {"query": "tag", "tags": ["a", "b"], "weights": [1.0, -1.0]},
        {"query": "suggest-tags", "id": "i1", "type": "tag", "exclude": ["tag_a"]},
        {"query": "similar-tags", "id": "a"},
        {"query": "audience", "id": "i1", "include_seen": True},
        {"query": "explain", "id": "u1", "item": "i1"},
        {"query": "rank", "id": "u1", "items": ["i2", "i1"]},
    ]
    assert {record["query"] for record in records} == set(QUERIES)
    answers = answer_all(model, [read_question(r) for r in records], lambda _: nullcontext())
    assert ids(answers[0]) == ids(model.recommend("u1", 3))
    assert ids(answers[1]) == ids(model.recommend("u2", 3))
    expected = [
        model.recommend_for(["i1"], tags=["a"]),
        model.similar_items("i1", filters=Filters(must=["a"])),
        model.similar_items(features=["a"], liked_by=["u1"]),
        model.items_for_tag({"a": 1, "b": -1}),
        model.suggest_tags("i1", kind="tag", exclude=["a"]),
        model.similar_tags("a"),
        model.audience("i1", filters=Filters(include_seen=True)),
    ]
    assert answers[2:9] == expected
    explained = model.explain("u1", "i1", 10)
    parts = [row for row in answers[9] if row.reason.startswith("part")]
    assert sum(row.score for row in parts) == pytest.approx(explained.score, abs=1e-5)
    assert answers[9].rows[len(parts) :] == explained.nearest
    assert answers[10] == model.rank("u1", ["i2", "i1"])


@pytest.mark.parametrize(
    "record",
    [
        {"query": "divine"},
        {},
        {"query": "recommend", "id": "u1", "n": 0},
        {"query": "recommend", "id": "u1", "n": 1001},
        {"query": "similar", "tags": "a"},
        {"query": "tag", "tags": ["a"], "weights": [1.0, 2.0]},
    ],
)
def test_a_record_that_makes_no_sense_is_refused(record: dict[str, object]) -> None:
    with pytest.raises(InputError):
        read_question(record)
