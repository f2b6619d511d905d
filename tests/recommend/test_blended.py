"""Bundles with neighbours: every query adds their part, and all of them add the same."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
import scipy.sparse as sp

from recsys.base.arrays import Float32Array
from recsys.base.errors import InputError
from recsys.bundle import Bundle, Seen, bundle_digest, load_bundle, save_bundle
from recsys.data.idmap import IdMap
from recsys.models.ease import Ease
from recsys.models.foldin import FoldIn
from recsys.ranking.factors import Factors
from recsys.ranking.neighbours import Neighbours
from recsys.recommend.queries.filters import Filters
from recsys.recommend.queries.recommendation import FEW
from recsys.recommend.recommender import Recommender
from recsys.store.checksums import seal
from tests.fixtures.bundles import NEIGHBOURS, write_bundle

USERS, TRAINED, CATALOGUE, COMPONENTS = 30, 50, 56, 5
ALL = Filters(include_seen=True)


def made() -> Bundle:
    """Random factors and likes, and EASE of these likes; the last items were never trained."""
    generator = np.random.default_rng(3)

    def normal(*shape: int) -> Float32Array:
        return generator.normal(0, 1, shape).astype(np.float32)

    factors = Factors(
        normal(USERS, COMPONENTS), normal(CATALOGUE, COMPONENTS), normal(USERS), normal(CATALOGUE)
    )
    likes = sp.csr_matrix((generator.random((USERS, TRAINED)) < 0.15).astype(np.float32))
    found = Ease(2.0, 0.1, kept=12).neighbours(likes)
    return Bundle(
        factors,
        IdMap(pa.array([f"u{user}" for user in range(USERS)]), "user"),
        IdMap(pa.array([f"i{item}" for item in range(CATALOGUE)]), "item"),
        pa.array([f"Item {item}" for item in range(CATALOGUE)]),
        Seen(likes.indptr, likes.indices),
        {"seed": 3},
        trained=TRAINED,
        user_foldin=FoldIn(np.eye(COMPONENTS, dtype=np.float32)),
        # As far apart as the factors' scores, so that both parts matter.
        neighbours=replace(found, weights=found.weights * np.float32(20)),
    )


def neighbour_part(bundle: Bundle) -> Float32Array:
    """What neighbours add for all users and the whole catalogue, as a product of matrices."""
    assert bundle.neighbours is not None
    neighbours, seen = bundle.neighbours, bundle.seen
    weights = sp.csr_matrix(
        (neighbours.weights, neighbours.indices, neighbours.indptr), (TRAINED, TRAINED)
    )
    likes = sp.csr_matrix(
        (np.ones(len(seen.indices), np.float32), seen.indices, seen.indptr), (USERS, TRAINED)
    )
    found = np.zeros((USERS, CATALOGUE), np.float32)
    found[:, :TRAINED] = (likes @ weights).toarray()
    return found


def factor_part(factors: Factors) -> Float32Array:
    found: Float32Array = factors.user_factors @ factors.item_factors.T + factors.item_biases
    return found + factors.user_biases[:, None]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    folder = tmp_path_factory.mktemp("blended") / "bundle"
    folder.mkdir()
    save_bundle(folder, made())
    return Recommender.load(folder)


@pytest.fixture(scope="module")
def scores(model: Recommender) -> Float32Array:
    """The sum that every query should come to: float32 (n_users, n_catalogue)."""
    return factor_part(model.factors) + neighbour_part(model.bundle)


@pytest.fixture
def fruit(tmp_path: Path) -> Recommender:
    return Recommender.load(write_bundle(tmp_path / "fruit", neighbours=True))


def test_a_small_bundle_by_hand(fruit: Recommender, tmp_path: Path) -> None:
    # ann likes a, which adds 0.5 to b's 1.75 and 2 to d's 1.5.
    assert [(row.id, row.score) for row in fruit.recommend("ann")] == [
        ("d", 3.5), ("b", 2.25), ("c", 0.5),
    ]  # fmt: skip
    # bob likes b and c, which add 1.25 and 0.5 to a's -0.5, and take 1 from d's 0.5.
    assert [(row.id, row.score) for row in fruit.recommend("bob")] == [("a", 1.25), ("d", -0.5)]
    alone = Recommender.load(write_bundle(tmp_path / "alone"))
    assert [row.id for row in alone.recommend("ann")] == ["b", "d", "c"]
    assert [row.id for row in alone.recommend("bob")] == ["d", "a"]


@pytest.mark.parametrize(
    "filters",
    [
        Filters(),
        ALL,
        Filters(include_untrained=True),
        Filters(exclude=["i3", "i20", "i41"]),
        Filters(include_untrained=True, include_seen=True, exclude=["i50"]),
    ],
)
@pytest.mark.parametrize("n", [1, 10, 100])
def test_one_user_or_many_in_a_block_or_not_get_the_sum_of_both_parts(
    model: Recommender, scores: Float32Array, n: int, filters: Filters
) -> None:
    users = [f"u{user}" for user in range(USERS)]
    assert len(users) > FEW
    together = model.recommend_many(users, n, filters)
    for user, in_block in enumerate(together):
        expected = scores[user].copy()
        if not filters.include_untrained:
            expected[TRAINED:] = -np.inf
        if not filters.include_seen:
            expected[model.seen.of(user)] = -np.inf
        expected[model.items.indices(list(filters.exclude))] = -np.inf
        best = [item for item in np.argsort(-expected, kind="stable") if expected[item] > -np.inf]
        alone = model.recommend(users[user], n, filters)
        for found in (alone, model.recommend_many([users[user]], n, filters)[0], in_block):
            assert [row.id for row in found] == [f"i{item}" for item in best[:n]]
            assert [row.score for row in found] == pytest.approx(expected[best[:n]], abs=1e-5)
            assert [row.reason for row in found] == [row.reason for row in alone]


def test_neighbours_change_what_is_recommended(model: Recommender) -> None:
    """Otherwise the comparisons here would hold without them."""
    alone = Recommender(replace(model.bundle, neighbours=None))
    users = [f"u{user}" for user in range(USERS)]
    pairs = zip(model.recommend_many(users), alone.recommend_many(users), strict=True)
    assert sum([r.id for r in one] != [r.id for r in other] for one, other in pairs) > USERS / 2


def test_what_is_liked_is_never_recommended(model: Recommender) -> None:
    for user in range(USERS):
        liked = {row.id for row in model.liked(f"u{user}")}
        assert liked == {f"i{item}" for item in model.seen.of(user)}
        found = {row.id for row in model.recommend(f"u{user}", 1000)}
        assert found == {f"i{item}" for item in range(TRAINED)} - liked


def test_an_explanations_parts_add_up_to_the_score_recommended(model: Recommender) -> None:
    assert model.bundle.neighbours is not None
    filters = Filters(include_seen=True, include_untrained=True)
    named = 0
    for user in range(0, USERS, 3):
        liked = {f"i{item}": f"Item {item}" for item in model.seen.of(user)}
        for row in model.recommend(f"u{user}", 1000, filters):
            found = model.explain(f"u{user}", row.id)
            assert sum(part.value for part in found.parts) == pytest.approx(found.score, abs=1e-5)
            assert found.score == pytest.approx(row.score, abs=1e-5)
            likes = {part.id: part for part in found.parts if part.kind == "like"}
            assert all(liked[name] == part.name for name, part in likes.items())
            item = model.items.index(row.id)
            weights = model.bundle.neighbours.contributions(model.seen.of(user), item)
            assert len(likes) == np.count_nonzero(weights)
            sizes = [abs(part.value) for part in likes.values()]
            assert sizes == sorted(sizes, reverse=True)
            named += len(likes)
    assert named > 500


def test_an_explanation_by_hand(fruit: Recommender) -> None:
    parts = fruit.explain("bob", "a").parts
    assert [(part.kind, part.id, part.name, part.value) for part in parts] == [
        ("user", "bob", "bob", -0.5),
        ("item", "a", "Apple", 0),
        ("like", "b", "b", 1.25),
        ("like", "c", "Cherry", 0.5),
    ]


def test_features_and_likes_add_up_too(tmp_path: Path) -> None:
    both = Recommender.load(write_bundle(tmp_path / "both", features=True, neighbours=True))
    filters = Filters(include_seen=True, include_untrained=True)
    kinds = set()
    for user in ("ann", "bob"):
        for row in both.recommend(user, 10, filters):
            found = both.explain(user, row.id)
            kinds |= {part.kind for part in found.parts}
            assert sum(part.value for part in found.parts) == pytest.approx(row.score, abs=1e-5)
    assert kinds == {"user", "item", "feature", "like"}


def test_an_audience_has_the_scores_that_its_users_are_recommended_with(
    model: Recommender, scores: Float32Array
) -> None:
    items = [f"i{item}" for item in range(CATALOGUE)]
    for filters in (Filters(), ALL):
        together = model.audience_many(items, 1000, filters)
        for item, found in enumerate(together):
            likers = set() if filters.include_seen else {
                f"u{user}" for user in range(USERS) if item in model.seen.of(user)
            }  # fmt: skip
            assert {row.id for row in found} == {f"u{u}" for u in range(USERS)} - likers
            expected = [scores[model.users.index(row.id), item] for row in found]
            assert [row.score for row in found] == pytest.approx(expected, abs=1e-5)
            assert np.all(np.diff([row.score for row in found]) <= 0)
            alone = model.audience(items[item], 1000, filters)
            assert [row.id for row in alone] == [row.id for row in found]
            assert [row.score for row in alone] == pytest.approx(expected, abs=1e-5)
            assert [row.reason for row in alone] == [row.reason for row in found]


def test_what_a_user_likes_has_the_score_it_would_be_recommended_with(
    model: Recommender, scores: Float32Array
) -> None:
    for user in range(USERS):
        for row in model.liked(f"u{user}"):
            expected = scores[user, model.items.index(row.id)]
            assert row.score == pytest.approx(expected, abs=1e-5)


def test_a_new_users_likes_count_each_of_them(model: Recommender) -> None:
    bundle = model.bundle
    assert bundle.neighbours is not None
    assert bundle.user_foldin is not None
    seen_lists = []
    for liked in ([4], [4, 17], [4, 17, 33]):
        found = model.recommend_for([f"i{item}" for item in liked], 100)
        vector = bundle.user_foldin.user(bundle.factors.item_factors, np.array(liked))
        expected = bundle.factors.item_factors[:TRAINED] @ vector
        expected += bundle.factors.item_biases[:TRAINED]
        for item in liked:
            expected += bundle.neighbours.scores(np.array([item]))
        assert {row.id for row in found} == {f"i{i}" for i in range(TRAINED) if i not in liked}
        for row in found:
            assert row.score == pytest.approx(expected[model.items.index(row.id)], abs=1e-4)
        seen_lists.append([row.id for row in found[:10]])
    assert len({tuple(one) for one in seen_lists}) == 3


def test_one_more_like_moves_what_its_neighbours_are(model: Recommender) -> None:
    """With a fold-in that knows nothing, all that likes can change comes from neighbours."""
    nothing = FoldIn(np.zeros((COMPONENTS, COMPONENTS), np.float32))
    asked = Recommender(replace(model.bundle, user_foldin=nothing))
    before = {row.id: row.score for row in asked.recommend_for(["i4"], 100)}
    after = {row.id: row.score for row in asked.recommend_for(["i4", "i17"], 100)}
    assert asked.bundle.neighbours is not None
    added = asked.bundle.neighbours.scores(np.array([17]))
    for name, score in after.items():
        expected = before[name] + added[asked.items.index(name)]
        assert score == pytest.approx(expected, abs=1e-5)
    assert [*before] != [*after]


def test_many_new_users_get_what_each_gets(model: Recommender) -> None:
    liked = [
        [f"i{(7 * user + step) % TRAINED}" for step in range(user % 5 + 1)] for user in range(20)
    ]
    together = model.recommend_for_many(liked, 12)
    for names, in_block in zip(liked, together, strict=True):
        alone = model.recommend_for(names, 12)
        assert [row.id for row in alone] == [row.id for row in in_block]
        assert [row.score for row in alone] == pytest.approx(
            [row.score for row in in_block], abs=1e-4
        )


def test_likes_of_untrained_items_say_nothing_to_neighbours(model: Recommender) -> None:
    nothing = FoldIn(np.zeros((COMPONENTS, COMPONENTS), np.float32))
    asked = Recommender(replace(model.bundle, user_foldin=nothing))
    cold = asked.recommend_for(["i4", f"i{CATALOGUE - 1}"], 100)
    assert [(row.id, row.score) for row in cold] == [
        (row.id, row.score) for row in asked.recommend_for(["i4"], 100)
    ]


def test_untrained_items_get_the_factors_part_alone(model: Recommender) -> None:
    alone = factor_part(model.factors)
    filters = Filters(include_untrained=True)
    for user in range(USERS):
        rows = {row.id: row.score for row in model.recommend(f"u{user}", 100, filters)}
        for item in range(TRAINED, CATALOGUE):
            assert rows[f"i{item}"] == pytest.approx(alone[user, item], abs=1e-5)
            parts = model.explain(f"u{user}", f"i{item}").parts
            assert [part.kind for part in parts] == ["user", "item"]


def test_the_approximate_index_finds_what_neighbours_alone_bring(tmp_path: Path) -> None:
    pytest.importorskip("faiss")
    generator = np.random.default_rng(1)
    n_items, brought = 4_000, 77
    centres = 4 * generator.normal(0, 1, (20, 8))
    items = centres[np.arange(n_items) % 20] + generator.normal(0, 0.3, (n_items, 8))
    users = centres[np.arange(40) % 20] + generator.normal(0, 0.3, (40, 8))
    # Far on the other side of the first user: no search for their vector comes near.
    items[brought] = -users[0]
    counts = np.zeros(n_items + 1, np.int64)
    counts[11:] = 1
    factors = Factors(
        users.astype(np.float32), items.astype(np.float32),
        np.zeros(40, np.float32), np.zeros(n_items, np.float32),
    )  # fmt: skip
    bundle = Bundle(
        factors,
        IdMap(pa.array([str(user) for user in range(40)]), "user"),
        IdMap(pa.array([str(item) for item in range(n_items)]), "item"),
        None,
        Seen(np.minimum(np.arange(41), 1), np.array([10], np.int32)),
        {},
        trained=n_items,
        neighbours=Neighbours(counts, np.array([brought], np.int32), np.array([1e4], np.float32)),
    )
    (tmp_path / "bundle").mkdir()
    save_bundle(tmp_path / "bundle", bundle)
    asked = Recommender.load(tmp_path / "bundle")
    index = asked.build_index()
    assert brought not in index.for_user(factors.user_factors[0], 50)
    found = asked.recommend("0", 5, approximate=True)
    assert "approximate" in found.notes[-1]
    assert found[0].id == str(brought)
    exact = asked.recommend("0", 5)
    assert [row.id for row in found] == [row.id for row in exact]
    assert [row.score for row in found] == pytest.approx([row.score for row in exact], rel=1e-5)
    # And for somebody without likes nothing is added.
    assert str(brought) not in [row.id for row in asked.recommend("20", 5, approximate=True)]


def test_a_bundle_read_and_written_again_is_the_same_bytes(tmp_path: Path) -> None:
    first = write_bundle(tmp_path / "first", features=True, neighbours=True)
    opened = load_bundle(first)
    assert opened.neighbours is not None
    for part in ("indptr", "indices", "weights"):
        np.testing.assert_array_equal(getattr(opened.neighbours, part), getattr(NEIGHBOURS, part))
    again = tmp_path / "again"
    again.mkdir()
    save_bundle(again, replace(opened, manifest={"seed": 3}))
    assert {path.name: path.read_bytes() for path in first.iterdir()} == {
        path.name: path.read_bytes() for path in again.iterdir()
    }
    alone = write_bundle(tmp_path / "alone", features=True)
    assert bundle_digest(load_bundle(alone).manifest) != bundle_digest(opened.manifest)


def test_a_bundle_of_the_schema_before_has_no_neighbours_and_still_opens(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "old", features=True)
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["seal"]
    manifest["schema_version"] = 3
    path.write_text(json.dumps({**manifest, "seal": seal(manifest)}))
    opened = Recommender.load(folder)
    assert opened.manifest["schema_version"] == 3
    assert opened.bundle.neighbours is None
    assert opened.bundle.scorer is opened.factors
    assert [row.id for row in opened.recommend("ann")] == ["b", "d", "c"]


@pytest.mark.parametrize("number", [np.nan, np.inf, -np.inf])
def test_weights_that_are_not_finite_are_not_written(number: float, tmp_path: Path) -> None:
    weights = NEIGHBOURS.weights.copy()
    weights[3] = number
    whole = load_bundle(write_bundle(tmp_path / "whole", neighbours=True))
    (tmp_path / "broken").mkdir()
    with pytest.raises(InputError, match="not finite"):
        save_bundle(
            tmp_path / "broken", replace(whole, neighbours=replace(NEIGHBOURS, weights=weights))
        )
    assert list((tmp_path / "broken").iterdir()) == []


@pytest.mark.parametrize("part", ["indptr", "indices", "weights"])
def test_neighbours_are_checked_like_every_file(part: str, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle", neighbours=True)
    path = folder / f"neighbours_{part}.npy"
    content = path.read_bytes()
    path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    with pytest.raises(InputError, match=f"is damaged .*neighbours_{part}"):
        load_bundle(folder)
