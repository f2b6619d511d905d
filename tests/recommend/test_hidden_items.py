"""Hidden items: what a user disliked, or liked before the window, is on no list of theirs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd

import recsys
from recsys.bundle import Seen, load_bundle, save_bundle
from recsys.evaluation.lists import top_lists
from recsys.recommend.queries.filters import Filters
from recsys.recommend.recommender import Recommender
from tests.fixtures.bundles import write_bundle


def test_hidden_items_are_on_no_list_of_their_user(tmp_path: Path) -> None:
    plain = load_bundle(write_bundle(tmp_path / "plain"))
    hidden = Seen(np.array([0, 1, 1]), np.array([2], np.int32))
    (tmp_path / "hidden").mkdir()
    save_bundle(tmp_path / "hidden", replace(plain, manifest={}, hidden=hidden))
    bundle = load_bundle(tmp_path / "hidden")
    assert bundle.manifest["schema_version"] == 6
    assert plain.manifest["schema_version"] == 5
    assert bundle.not_listed.of(0).tolist() == [0, 2]
    assert top_lists(bundle, np.arange(2), 4).items.tolist() == [[1, 3, -1, -1], [3, 0, -1, -1]]
    ask = Recommender(bundle)
    assert [row.id for row in ask.recommend("ann", n=4)] == ["b", "d"]
    assert [row.id for row in ask.recommend_many(["ann", "bob"], n=4)[0]] == ["b", "d"]
    assert [row.id for row in ask.audience("c", n=4)] == []
    assert [row.id for row in Recommender(plain).audience("c", n=4)] == ["ann"]


def test_what_was_disliked_is_not_recommended_in_a_notebook_either() -> None:
    rng = np.random.default_rng(8)
    rows = [(u, i, 5) for u in range(30) for i in range(12) if rng.random() < 0.5]
    frame = pd.DataFrame(rows, columns=["user", "item", "rating"])
    other = next(i for i in range(12) if not ((frame.user == 3) & (frame.item == i)).any())
    frame.loc[len(frame)] = (3, other, 1)
    data = recsys.read_interactions(frame, liked_from=4, disliked_to=2).kcore(2, 2)
    train, _ = recsys.split(data, n=1)
    ask = recsys.Recommender.from_model(recsys.fit(train, "lightfm", no_components=4, epochs=1))
    assert str(other) not in {
        row.id for row in ask.recommend("3", n=12, filters=Filters(include_seen=True))
    }
    assert str(other) in {
        row.id for row in ask.recommend("4", n=12, filters=Filters(include_seen=True))
    }
