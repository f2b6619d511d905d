"""Users with few likes: one of these is hidden, weights are chosen on some, the others measured."""

from __future__ import annotations

from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pytest

from recsys.bundle import Bundle, Seen, save_bundle
from recsys.evaluation.few_likes import (
    Served,
    _everybodys_likes,
    choose,
    hide_likes,
    measure_few_likes,
)
from recsys.evaluation.metric_names import few_likes_metrics
from recsys.models.itemknn import ItemKnn
from recsys.models.untrained import UntrainedWeights
from recsys.ranking.neighbours import Neighbours
from recsys.recommend.recommender import Recommender
from tests.fixtures.few_likes import few_likes_bundle, write_few_likes


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    folder = tmp_path_factory.mktemp("few-likes")
    return few_likes_bundle(folder, write_few_likes(folder / "data", newcomers=60))


def test_one_like_of_each_user_is_hidden(bundle: Bundle) -> None:
    held = hide_likes(bundle, seed=1)
    trained = bundle.trained_users
    counts = np.diff(bundle.seen.indptr)[trained:]
    assert len(held.hidden) == np.count_nonzero((counts >= 2) & (counts <= 4)) == 120
    for row, item in enumerate(held.hidden.tolist()):
        user = held.bundle.users.id(trained + row)
        before = set(bundle.seen.of(bundle.users.index(user)).tolist())
        after = set(held.bundle.seen.of(trained + row).tolist())
        assert before - after == {item}
        assert after < before
    for user in range(trained):
        assert held.bundle.seen.of(user).tolist() == bundle.seen.of(user).tolist()
    assert len(hide_likes(bundle, seed=1, most=7).hidden) == 7
    assert hide_likes(bundle, seed=2).hidden.tolist() != held.hidden.tolist()


def test_the_model_finds_what_was_hidden_where_groups_say_it(bundle: Bundle) -> None:
    served, figures = measure_few_likes(bundle, ItemKnn(), seed=1)
    assert figures["users"] == 80
    assert figures["weights"] == asdict(served.weights)
    # Three groups of ten items: ten at random would show a third of what was hidden.
    assert figures["model"]["mean"] > 0.85
    assert figures["model"]["mean"] >= figures["itemknn"]["mean"]
    assert figures["model"]["mean"] > 2 * figures["popularity"]["mean"]
    assert figures["answered"] == {
        "trained": 42, "by_likes": 180, "by_features": 2, "by_popularity": 1,
    }  # fmt: skip
    named = few_likes_metrics(figures)
    assert named["few_likes/hit_rate_at_10"] == figures["model"]["mean"]
    assert named["answered/by_likes"] == pytest.approx(180 / 225)
    assert sum(named[name] for name in named if name.startswith("answered/")) == pytest.approx(1)


def test_what_hits_most_is_chosen(bundle: Bundle) -> None:
    held = hide_likes(bundle, seed=1)
    users = np.arange(len(held.hidden))
    nothing = Neighbours(np.zeros(31, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))
    chosen = choose(held, users, nothing)
    usual = Served(UntrainedWeights())
    assert held.hits(users, chosen).mean() >= held.hits(users, usual).mean()
    assert chosen.neighbours is None
    # Where the fold-in says the opposite of what is liked, it must not count.
    assert bundle.user_foldin is not None
    matrix = -bundle.user_foldin.matrix
    wrong = replace(bundle, user_foldin=replace(bundle.user_foldin, matrix=matrix))
    assert choose(hide_likes(wrong, seed=1), users, nothing).weights.foldin == 0


def test_walks_go_over_what_everybody_likes_but_for_what_is_hidden(bundle: Bundle) -> None:
    held = hide_likes(bundle, seed=1, most=50)
    likes = _everybodys_likes(bundle, held)
    assert likes.shape == (len(bundle.users), bundle.trained)
    hidden = dict(zip(held.users.tolist(), held.hidden.tolist(), strict=True))
    for user in range(len(bundle.users)):
        expected = set(bundle.seen.of(user).tolist()) - {hidden.get(user)}
        expected = {item for item in expected if item < bundle.trained}
        assert set(likes[user].indices.tolist()) == expected


def test_walks_give_way_only_to_what_hits_more_by_a_standard_error(bundle: Bundle) -> None:
    held = hide_likes(bundle, seed=1)
    users = np.arange(len(held.hidden))
    empty = Neighbours(np.zeros(31, np.int64), np.empty(0, np.int32), np.empty(0, np.float32))
    assert bundle.user_foldin is not None
    matrix = np.zeros_like(bundle.user_foldin.matrix)
    silent = replace(held.bundle, user_foldin=replace(bundle.user_foldin, matrix=matrix))
    # By biases alone, a third of what is hidden is found; the bundle's own neighbours find most.
    assert choose(replace(held, bundle=silent), users, empty, [empty]).name == "own"
    # Where both are the same, the walks are taken.
    assert bundle.neighbours is not None
    assert choose(held, users, empty, [bundle.neighbours]).name == "rp3beta"
    assert choose(held, users, empty, [empty, bundle.neighbours]).neighbours is bundle.neighbours


def test_itemknn_answers_where_it_is_better_than_what_was_trained(bundle: Bundle) -> None:
    held = hide_likes(replace(bundle, neighbours=None), seed=1)
    assert bundle.neighbours is not None
    chosen = choose(held, np.arange(len(held.hidden)), bundle.neighbours)
    assert chosen.name == "itemknn"
    assert chosen.neighbours is bundle.neighbours


def test_neighbours_that_are_better_replace_the_bundles(bundle: Bundle, tmp_path: Path) -> None:
    plain = replace(bundle, neighbours=None)
    served, figures = measure_few_likes(plain, ItemKnn(), seed=1)
    assert figures["neighbours"] == "rp3beta"
    assert figures["model"]["mean"] >= figures["itemknn"]["mean"]
    save_bundle(tmp_path, served.applied_to(plain))
    recommender = Recommender.load(tmp_path)
    user = recommender.recommend("n0-02", 3)
    for row in user:
        found = recommender.explain("n0-02", row.id)
        assert found.score == pytest.approx(row.score, abs=1e-5)
        assert "like" in {part.kind for part in found.parts}
    assert "like" not in {part.kind for part in recommender.explain("c0-00", "g0-1").parts}
    for row in recommender.audience("g0-1", 225):
        assert recommender.explain(row.id, "g0-1").score == pytest.approx(row.score, abs=1e-4)


def test_without_such_users_only_the_shares_are_said(bundle: Bundle) -> None:
    trained = bundle.trained_users
    core = replace(
        bundle,
        users=bundle.users.select(np.arange(trained)),
        seen=Seen(bundle.seen.indptr[: trained + 1], bundle.seen.indices),
    )
    served, figures = measure_few_likes(core, ItemKnn(), seed=1)
    assert served == Served(UntrainedWeights())
    assert list(figures) == ["answered"]
    assert "few_likes/hit_rate_at_10" not in few_likes_metrics(figures)
