"""The layout: near where the model holds things alike; kept by bundle, made again if damaged."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from recsys.bundle import Bundle, Seen, save_bundle
from recsys.data.idmap import IdMap
from recsys.gallery import layout as layouts
from recsys.gallery.layout import Layout, Layouts, lay_out
from recsys.gallery.opened_models import OpenedModels
from recsys.gallery.site import Site
from recsys.ranking.factors import Factors
from recsys.recommend.queries.view import BundleView
from recsys.recommend.recommender import Recommender
from tests.fixtures.bundles import write_bundle

GROUPS, EACH = 5, 40


def clustered(folder: Path) -> Recommender:
    """Items of five directions, forty of each; item 3 is liked once, the last is untrained."""
    rng = np.random.default_rng(3)
    centres = np.eye(GROUPS, 8)
    vectors = np.repeat(centres, EACH, axis=0) + rng.normal(0, 0.05, (GROUPS * EACH, 8))
    n = len(vectors)
    factors = Factors(
        np.ones((1, 8), np.float32), vectors.astype(np.float32),
        np.zeros(1, np.float32), np.zeros(n, np.float32),
    )  # fmt: skip
    folder.mkdir()
    items = IdMap(pa.array([f"i{i:03d}" for i in range(n)]), "item")
    users = IdMap(pa.array(["u"]), "user")
    seen = Seen(np.array([0, 1]), np.array([3], np.int32))
    save_bundle(folder, Bundle(factors, users, items, None, seen, {}, trained=n - 1))
    return Recommender.load(folder)


@pytest.fixture(scope="module")
def recommender(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    return clustered(tmp_path_factory.mktemp("layout") / "bundle")


@pytest.fixture(scope="module")
def laid(recommender: Recommender) -> Layout:
    return lay_out(recommender.view)


def near_its_own(layout: Layout) -> float:
    """The share of items whose nearest other one is of their group."""
    away = ((layout.points[:, None] - layout.points[None]) ** 2).sum(axis=2)
    np.fill_diagonal(away, np.inf)
    return float((layout.items[away.argmin(axis=1)] // EACH == layout.items // EACH).mean())


def test_alike_is_near(laid: Layout) -> None:
    assert near_its_own(laid) > 0.95
    assert laid.items[0] == 3  # the most liked first
    assert len(laid.items) == GROUPS * EACH - 1  # without the untrained one
    assert laid.points.min() >= 0
    assert laid.points.max() <= 1


def test_it_is_the_same_every_time(recommender: Recommender, laid: Layout) -> None:
    np.testing.assert_array_equal(lay_out(recommender.view).points, laid.points)


def test_items_that_are_not_laid_out_go_to_their_like(
    recommender: Recommender, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(layouts, "LAID_OUT", 60)
    monkeypatch.setattr(layouts, "_BLOCK", 7)
    assert near_its_own(lay_out(recommender.view)) > 0.95


def test_few_items_and_tags(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "fruit", features=True)
    found = lay_out(BundleView(Recommender.load(folder).bundle))
    assert found.items.tolist() == [0, 1, 2]  # d has no direction, e is untrained
    assert np.isfinite(found.tag_points).all()
    # The commonest tag is red; kind_sweet is on nothing and has no direction.
    assert found.tags.tolist() == [2, 1, 3]


def test_it_is_kept_and_made_again_if_damaged(
    recommender: Recommender, laid: Layout, tmp_path: Path
) -> None:
    made = Layouts(tmp_path).wait("digest", recommender.view)
    np.testing.assert_array_equal(made.points, laid.points)
    (path,) = tmp_path.iterdir()
    again = Layouts(tmp_path).get("digest", recommender.view)
    assert again is not None  # read, not made
    np.testing.assert_array_equal(again.points, made.points)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    damaged = Layouts(tmp_path)
    assert damaged.get("digest", recommender.view) is None
    np.testing.assert_array_equal(damaged.wait("digest", recommender.view).points, made.points)
    assert Layouts(tmp_path).get("digest", recommender.view) is not None


def test_a_folder_that_cannot_be_written_costs_the_cache_alone(
    recommender: Recommender, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("")
    made = Layouts(tmp_path / "file" / "maps").wait("digest", recommender.view)
    assert len(made.items) == GROUPS * EACH - 1


def test_the_map_comes_when_it_is_ready(tmp_path: Path) -> None:
    clustered(tmp_path / "bundle")
    client = TestClient(Site(OpenedModels(str(tmp_path / "bundle")), tmp_path / "kept").app)
    assert "is being computed" in client.get("/map").text
    deadline = time.monotonic() + 60
    while client.get("/map.json").status_code == 202 and time.monotonic() < deadline:
        time.sleep(0.1)
    answer = client.get("/map.json")
    assert answer.status_code == 200
    assert answer.headers["content-encoding"] == "gzip"
    found = answer.json()
    assert found["items"]["id"][0] == "i003"
    assert found["items"]["n"][:2] == [1, 0]
    assert set(found["items"]["name"]) == {""}  # the ids say it
    assert all(0 <= x <= 10_000 for x in found["items"]["x"] + found["items"]["y"])
    assert {len(found["items"][part]) for part in found["items"]} == {GROUPS * EACH - 1}
    assert 'data-map="/map.json' in client.get("/map").text
