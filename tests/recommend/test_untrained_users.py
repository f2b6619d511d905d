"""Users and items below the core: each is answered, from what is known, and never with a like."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import pytest

from recsys.bundle import Bundle, Seen, load_bundle, save_bundle
from recsys.models.untrained import UntrainedWeights
from recsys.pipeline import batch
from recsys.pipeline.outcomes import Source
from recsys.ranking.neighbours import Neighbours
from recsys.recommend.queries import audience
from recsys.recommend.queries.cold_start import new_user, new_users
from recsys.recommend.queries.filters import Filters
from recsys.recommend.recommender import Recommender
from recsys.store.checksums import seal
from tests.fixtures.few_likes import few_likes_bundle, write_few_likes


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> tuple[Bundle, pd.DataFrame]:
    """The model, and the likes it was made from."""
    folder = tmp_path_factory.mktemp("few-likes")
    data = write_few_likes(folder / "data")
    (folder / "bundle").mkdir()
    save_bundle(folder / "bundle", few_likes_bundle(folder, data))
    return load_bundle(folder / "bundle"), pd.read_parquet(data.likes)


@pytest.fixture(scope="module")
def recommender(made: tuple[Bundle, pd.DataFrame]) -> Recommender:
    return Recommender(made[0])


def test_everybody_is_answered_and_a_note_says_from_what(recommender: Recommender) -> None:
    trained = recommender.bundle.trained_users
    assert (trained, len(recommender.users)) == (42, 42 + 36 + 3)
    for index, user in enumerate(recommender.users.ids.to_pylist()):
        answer = recommender.recommend(user, 3)
        assert len(answer) == 3, user
        if index < trained:
            assert answer.notes == ()
        elif user.startswith("n"):
            count = len(recommender.liked(user))
            likes = "1 like" if count == 1 else f"{count} likes"
            assert answer.notes == (f"not trained, for too few likes: answered from {likes}",)
        elif user in ("someone", "reader"):
            assert answer.notes[-1].endswith("answered from their features")
        else:
            assert answer.notes[-1].endswith("is known of this user: by popularity")


def test_likes_and_features_below_the_core_say_what_suits(recommender: Recommender) -> None:
    right = [
        row.id[:2] == f"g{user[1]}"
        for user in recommender.users.ids.to_pylist()
        if user.startswith("n")
        for row in recommender.recommend(user, 3)
    ]
    assert np.mean(right) > 0.9
    for user in ("someone", "reader"):
        assert {row.id[:2] for row in recommender.recommend(user, 3)} == {"g1"}
    popular = [row.id for row in recommender.popular(3)]
    assert [row.id for row in recommender.recommend("odd", 3)] == popular


@pytest.mark.parametrize("filters", [Filters(), Filters(include_untrained=True)])
def test_nothing_that_somebody_likes_is_recommended(
    filters: Filters, made: tuple[Bundle, pd.DataFrame], recommender: Recommender
) -> None:
    users = recommender.users.ids.to_pylist()
    answers = recommender.recommend_many(users, len(recommender.items), filters)
    liked = set(zip(made[1]["user"], made[1]["item"], strict=True))
    assert not {(u, row.id) for u, rows in zip(users, answers, strict=True) for row in rows} & liked
    for user, rows in zip(users, answers, strict=True):
        assert [row.id for row in rows] == [
            row.id for row in recommender.recommend(user, len(recommender.items), filters)
        ]


def test_who_likes_an_item_is_not_in_its_audience(
    made: tuple[Bundle, pd.DataFrame], recommender: Recommender
) -> None:
    everybody = len(recommender.users)
    for item in ("rare-0", "g1-3"):
        likers = set(made[1].loc[made[1]["item"] == item, "user"])
        assert likers
        found = {row.id for row in recommender.audience(item, everybody)}
        # Of `odd` nothing is known: nobody's audience.
        assert found == set(recommender.users.ids.to_pylist()) - likers - {"odd"}
    first = [row.id[1] for row in recommender.audience("rare-0", 10)]
    assert first.count("0") >= 8


def test_scores_are_explained_to_the_last_part(recommender: Recommender) -> None:
    for user in ("n0-01", "n2-05", "someone", "reader", "odd", "c1-00"):
        for row in recommender.recommend(user, 4, Filters(include_untrained=True)):
            found = recommender.explain(user, row.id)
            assert found.score == pytest.approx(row.score, abs=1e-5)
            assert sum(part.value for part in found.parts) == pytest.approx(row.score, abs=1e-5)
            assert found.notes == recommender.recommend(user, 1).notes
    for row in recommender.audience("g0-1", 60):
        assert recommender.explain(row.id, "g0-1").score == pytest.approx(row.score, abs=1e-4)


def test_a_rare_item_has_a_place_among_those_its_users_like(recommender: Recommender) -> None:
    assert recommender.items.index("rare-0") >= recommender.bundle.trained
    assert {row.id[:2] for row in recommender.similar_items("rare-0", 3)} == {"g0"}
    assert [row.id for row in recommender.liked("odd")] == ["lone"]


def test_somebody_new_is_answered_as_a_known_user_with_the_same_likes(
    recommender: Recommender,
) -> None:
    for user in ("n0-01", "n2-05"):
        likes = [row.id for row in recommender.liked(user)]
        known, new = recommender.recommend(user, 5), recommender.recommend_for(likes, 5)
        assert [row.id for row in known] == [row.id for row in new]
        assert [row.score for row in known] == pytest.approx([row.score for row in new], abs=1e-5)


@pytest.mark.parametrize("weights", [UntrainedWeights(), UntrainedWeights(2.0, 0.5)])
def test_a_batch_has_the_lists_of_single_questions(
    weights: UntrainedWeights, made: tuple[Bundle, pd.DataFrame], tmp_path: Path
) -> None:
    (tmp_path / "bundle").mkdir()
    save_bundle(tmp_path / "bundle", replace(made[0], untrained_weights=weights))
    product = batch.recommend(tmp_path, Source("m", "1", "b"), 5, tmp_path / "bundle")
    counts = product.outcome
    assert (counts.users, counts.users_trained, counts.users_by_likes) == (81, 42, 36)
    assert (counts.users_by_features, counts.users_by_popularity) == (2, 1)
    lists = dict(list(pq.read_table(product.file("users")).to_pandas().groupby("user")))
    recommender = Recommender.load(tmp_path / "bundle")
    assert set(lists) == set(recommender.users.ids.to_pylist())
    for user, rows in lists.items():
        single = recommender.recommend(user, 5)
        assert rows["score"].tolist() == pytest.approx([row.score for row in single], abs=1e-4)
        assert rows["item"].tolist() == [row.id for row in single]


def test_a_bundle_of_the_last_schema_is_still_read(
    made: tuple[Bundle, pd.DataFrame], tmp_path: Path
) -> None:
    whole = made[0]
    trained, items = whole.trained_users, whole.trained
    matrix = replace(whole.seen, indptr=whole.seen.indptr[: trained + 1])
    ends = matrix.indptr[-1]
    old = replace(
        whole,
        users=whole.users.select(np.arange(trained)),
        seen=replace(matrix, indices=np.minimum(matrix.indices[:ends], items - 1)),
        user_features=None,
    )
    save_bundle(tmp_path, old)
    path = tmp_path / "manifest.json"
    manifest = json.loads(path.read_text())
    del manifest["untrained_weights"], manifest["seal"]
    manifest["schema_version"] = 4
    path.write_text(json.dumps({**manifest, "seal": seal(manifest)}))
    recommender = Recommender.load(tmp_path)
    assert len(recommender.recommend("c0-00", 3)) == 3
    assert len(recommender.recommend_for(["g0-1"], 3)) == 3


@pytest.mark.parametrize("blended", [False, True])
@pytest.mark.parametrize("seen", [False, True])
def test_audiences_of_many_items_are_those_of_each(
    made: tuple[Bundle, pd.DataFrame], blended: bool, seen: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(audience, "_OTHERS", 13)  # several blocks of users
    generator = np.random.default_rng(2)
    bundle, n_users = made[0], len(made[0].users)
    n = bundle.trained
    columns = generator.random((n, n)).argsort(axis=1).astype(np.int32)
    rows = [
        np.sort(row[:count])
        for row, count in zip(columns, generator.integers(0, n, n), strict=True)
    ]
    indptr = np.concatenate([[0], np.cumsum([len(row) for row in rows])])
    weights = generator.normal(0, 0.5, indptr[-1]).astype(np.float32)
    hidden = np.minimum(np.arange(n_users + 1), 5), np.array([0, 1, 2, n, 3], np.int32)
    asked = Recommender(
        replace(
            bundle,
            neighbours=Neighbours(indptr, np.concatenate(rows), weights) if blended else None,
            untrained_weights=UntrainedWeights(1.5, 0.5),
            hidden=Seen(*hidden),
        )
    )
    items = [*asked.items.ids.to_pylist(), asked.items.id(1)]
    for filters in (Filters(include_seen=seen), Filters(exclude=[asked.users.id(4), "n1-04"])):
        together = asked.audience_many(items, n_users, filters)
        for item, found in zip(items, together, strict=True):
            alone = asked.audience(item, n_users, filters)
            assert len(found) == len(alone)
            scores = {row.id: row.score for row in alone}
            assert scores == pytest.approx({row.id: row.score for row in found}, abs=1e-5)
            reasons = {row.id: row.reason for row in alone}
            assert reasons == {row.id: row.reason for row in found}
            ordered = [row.score for row in found]
            assert ordered == sorted(ordered, reverse=True)
        first = asked.audience_many(items[:9], 3, filters)
        for few, longer in zip(first, together, strict=False):
            assert few.rows == longer.rows[:3]


def test_many_new_users_are_each_as_alone(recommender: Recommender) -> None:
    given = [["g0-0"], [], ["g1-1", "nowhere", "g1-1", "g2-0"], ["lone"], ["rare-0", "g0-3"]]
    for many, liked in zip(new_users(recommender.view, given), given, strict=True):
        alone = new_user(recommender.view, liked)
        assert (many.liked.tolist(), many.notes) == (alone.liked.tolist(), alone.notes)
        assert (many.bias, many.cosine, many.trained) == (alone.bias, alone.cosine, alone.trained)
        if alone.vector is None:
            assert many.vector is None
        else:
            np.testing.assert_allclose(many.vector, alone.vector, rtol=1e-5, atol=1e-6)
