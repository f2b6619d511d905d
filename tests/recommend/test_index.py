"""The approximate index: finds nearly what the exact scan finds, and is never a stale one."""

from __future__ import annotations

import importlib.util
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from recsys.base.errors import ConfigError, InputError, NotFoundError
from recsys.bundle import Bundle, Seen, save_bundle
from recsys.data.idmap import IdMap
from recsys.ranking.factors import Factors
from recsys.ranking.neighbours import Neighbours
from recsys.recommend.index import FOLDER, build_index, load_index
from recsys.recommend.queries.filters import Filters
from recsys.recommend.recommender import Recommender
from tests.fixtures.bundles import write_bundle
from tests.fixtures.terminal import Terminal

needs_faiss = pytest.mark.skipif(not importlib.util.find_spec("faiss"), reason="needs faiss-cpu")


def clustered(
    folder: Path, n_items: int = 20_000, d: int = 16, neighbours: Neighbours | None = None
) -> Recommender:
    rng = np.random.default_rng(0)
    centres = rng.normal(0, 1, (40, d))
    users, items = (centres[rng.integers(40, size=n)] + rng.normal(0, 0.5, (n, d))
                    for n in (300, n_items))  # fmt: skip
    items[7] = 0
    biases = rng.normal(0, 1, 300), rng.normal(0, 1, n_items)
    parts = [part.astype(np.float32) for part in (users, items, *biases)]
    seen = Seen(np.arange(301) * 5, np.sort(rng.integers(0, n_items, (300, 5))).ravel())
    folder.mkdir()
    save_bundle(
        folder,
        Bundle(
            Factors(*parts), ids(300), ids(n_items), None,
            Seen(seen.indptr, seen.indices.astype(np.int32)), {}, n_items - 1000,
            neighbours=neighbours,
        ),
    )  # fmt: skip
    return Recommender.load(folder)


def ids(n: int) -> IdMap:
    return IdMap(pa.array([str(i) for i in range(n)]), "item")


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Recommender:
    pytest.importorskip("faiss")
    made = clustered(tmp_path_factory.mktemp("clustered") / "bundle")
    made.build_index()
    return made


def test_it_finds_nearly_what_the_exact_scan_finds(model: Recommender) -> None:
    assert max(model.index.cells.values()) < 200  # far from all 512
    hits = {"recommend": 0, "similar": 0}
    for i in range(0, 300, 3):
        pairs = {
            "recommend": [model.recommend(i, approximate=a) for a in (False, True)],
            "similar": [model.similar_items(60 * i + 1, approximate=a) for a in (False, True)],
        }
        for kind, (exact, found) in pairs.items():
            assert "approximate" in found.notes[-1]
            scores = {row.id: row.score for row in exact}
            both = [row for row in found if row.id in scores]
            hits[kind] += len(both)
            assert [row.score for row in both] == pytest.approx(
                [scores[row.id] for row in both], abs=1e-5
            )
    assert min(hits.values()) > 950  # of 1000


def test_what_was_seen_and_filtered_stays_away(model: Recommender) -> None:
    for user in range(40):
        exact = model.recommend(user, 10)
        filters = Filters(exclude=[row.id for row in exact[:5]])
        found = {row.id for row in model.recommend(user, 10, filters, approximate=True)}
        assert len(found) == 10
        assert not found & {row.id for row in exact[:5]}
        assert not found & {row.id for row in model.liked(user)}
        assert all(int(item) < model.bundle.trained for item in found)
    assert "20" not in {row.id for row in model.similar_items(20, 50, approximate=True)}


def test_where_it_finds_too_few_the_answer_is_exact(model: Recommender) -> None:
    filters = Filters(exclude=[str(i) for i in range(3, 20_000)])
    found = model.recommend(0, 3, filters, approximate=True)
    assert {row.id for row in found} == {"0", "1", "2"}
    assert "exact: the index found too few" in found.notes[-1]
    whole = model.recommend(0, 3, Filters(include_untrained=True), approximate=True)
    assert "exact" in whole.notes[-1]


def test_an_index_that_is_not_this_bundles_is_refused(model: Recommender, tmp_path: Path) -> None:
    other = Recommender.load(write_bundle(tmp_path / "other"))
    with pytest.raises(NotFoundError, match="recsys index"):
        other.recommend("ann", approximate=True)
    assert model.folder is not None
    with pytest.raises(InputError, match="another bundle"):
        load_index(other.bundle, model.folder / FOLDER)
    mine = tmp_path / "mine"
    build_index(other.bundle, mine)
    load_index(other.bundle, mine)
    path = mine / "similar.faiss"
    path.write_bytes(path.read_bytes()[:-1] + b"x")
    with pytest.raises(InputError, match=r"damaged \(similar.faiss"):
        load_index(other.bundle, mine)
    (mine / "index.json").write_text("{}")
    with pytest.raises(InputError, match="cannot be read"):
        load_index(other.bundle, mine)


def test_a_bundle_with_an_index_inside_is_still_whole(model: Recommender) -> None:
    assert model.folder is not None
    Recommender.load(model.folder)


@needs_faiss
def test_it_is_built_and_asked_from_the_terminal(recsys: Terminal) -> None:
    code, out, err = recsys("index")
    assert (code, "recall_at_10 1.000" in out) == (0, True), err
    assert recsys.ids("similar", "a", "--approximate", "-n", "1") == ["b"]
    assert recsys.ids("recommend", "ann", "--approximate", "-n", "1") == ["b"]


def test_without_faiss_it_says_what_to_install(
    recsys: Terminal, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "faiss", None)  # as if it were not installed
    code, _, err = recsys("index")
    assert (code, "faiss-cpu" in err) == (ConfigError.exit_code, True)
    assert recsys.ids("similar", "a", "-n", "1") == ["b"]


@needs_faiss
def test_the_recall_of_a_blend_is_that_of_blended_lists(tmp_path: Path) -> None:
    """Neighbours that outweigh the vectors: what they bring up lies in cells anywhere."""
    n, kept = 3_000, 20
    rng = np.random.default_rng(4)
    columns = np.stack([np.sort(rng.choice(n, kept, replace=False)) for _ in range(n)])
    weights = rng.exponential(5, n * kept).astype(np.float32)
    neighbours = Neighbours(np.arange(n + 1) * kept, columns.ravel().astype(np.int32), weights)
    model = clustered(tmp_path / "bundle", n_items=n + 1000, neighbours=neighbours)
    model.build_index()
    assert model.index is not None
    hits, users = 0, [str(user) for user in range(0, 300, 5)]
    for user in users:
        exact = {row.id for row in model.recommend(user)}
        near = model.recommend(user, approximate=True)
        hits += len(exact & {row.id for row in near})
    assert model.index.recall["recommend"] == pytest.approx(hits / (10 * len(users)), abs=0.02)
    assert model.index.recall["recommend"] > 0.97
