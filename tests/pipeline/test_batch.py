"""Batches: the lists that single questions give, in files that are whole or not there."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp

from recsys.bundle import Bundle, Seen, load_bundle, save_bundle
from recsys.data.idmap import IdMap
from recsys.models.ease import Ease
from recsys.pipeline import batch
from recsys.pipeline.outcomes import Source
from recsys.ranking.factors import Factors
from recsys.recommend.recommender import Recommender
from tests.fixtures.paths import ROOT


def random_bundle(folder: Path, users: int, items: int, trained: int, d: int = 8) -> Path:
    """A model of random numbers; the last item has no direction."""
    generator = np.random.default_rng(5)

    def draw(*shape: int) -> np.ndarray:
        return generator.standard_normal(shape, np.float32)

    vectors = draw(items, d)
    vectors[-1] = 0
    likes = [np.sort(generator.choice(trained, 3, replace=False)) for _ in range(users)]
    made = Bundle(
        Factors(draw(users, d), vectors, draw(users), draw(items)),
        IdMap(pa.array([f"u{index:05d}" for index in range(users)]), "user"),
        IdMap(pa.array([f"i{index:05d}" for index in range(items)]), "item"),
        None,
        Seen(np.arange(0, 3 * users + 1, 3), np.concatenate(likes).astype(np.int32)),
        {"seed": 5},
        trained=trained,
    )
    folder.mkdir(parents=True)
    save_bundle(folder, made)
    return folder


SOURCE = Source("m", "1", "digest")


def read(folder: Path, owner: str) -> dict[str, pd.DataFrame]:
    """All files of one kind, by owner."""
    table = pd.concat([pd.read_parquet(path) for path in sorted(folder.glob("*.parquet"))])
    return dict(list(table.groupby(owner)))


def test_lists_are_those_of_single_questions(tmp_path: Path) -> None:
    bundle = random_bundle(tmp_path / "bundle", users=50, items=40, trained=40)
    made = batch.recommend(tmp_path, SOURCE, 6, bundle)
    recommender = Recommender.load(bundle)
    lists = read(made.file("users"), "user")
    assert len(lists) == 50
    for user, rows in lists.items():
        expected = recommender.recommend(user, 6)
        assert rows["rank"].tolist() == [1, 2, 3, 4, 5, 6]
        assert rows["item"].tolist() == [row.id for row in expected]
        assert rows["score"].tolist() == pytest.approx([row.score for row in expected], rel=1e-5)
    similar = read(made.file("items"), "item")
    # An item without a direction is like nothing.
    assert len(similar) == 39
    for item, rows in similar.items():
        expected = recommender.similar_items(item, 6)
        assert rows["similar"].tolist() == [row.id for row in expected]
        assert rows["score"].tolist() == pytest.approx([row.score for row in expected], abs=1e-6)


def test_lists_of_a_bundle_with_neighbours_are_those_of_single_questions(tmp_path: Path) -> None:
    plain = load_bundle(random_bundle(tmp_path / "plain", users=50, items=40, trained=36))
    ones = np.ones(len(plain.seen.indices), np.float32)
    likes = sp.csr_matrix((ones, plain.seen.indices, plain.seen.indptr), (50, 36))
    weights = Ease(1.0, 0.0).neighbours(likes)
    weights = replace(weights, weights=weights.weights * np.float32(20))
    (tmp_path / "bundle").mkdir()
    save_bundle(tmp_path / "bundle", replace(plain, neighbours=weights))
    made = batch.recommend(tmp_path, SOURCE, 6, tmp_path / "bundle")
    blended, alone = Recommender.load(tmp_path / "bundle"), Recommender(plain)
    lists = read(made.file("users"), "user")
    assert len(lists) == 50
    changed = 0
    for user, rows in lists.items():
        expected = blended.recommend(user, 6)
        assert rows["item"].tolist() == [row.id for row in expected]
        assert rows["score"].tolist() == pytest.approx([row.score for row in expected], abs=1e-5)
        changed += rows["item"].tolist() != [row.id for row in alone.recommend(user, 6)]
    assert changed > 25


def test_only_trained_items_are_on_lists_and_all_items_have_one(tmp_path: Path) -> None:
    bundle = random_bundle(tmp_path / "bundle", users=20, items=30, trained=22)
    made = batch.recommend(tmp_path, SOURCE, 25, bundle)
    users = pq.read_table(made.file("users")).to_pandas()
    items = pq.read_table(made.file("items")).to_pandas()
    trained = {f"i{index:05d}" for index in range(22)}
    assert set(users["item"]) <= trained
    assert set(items["similar"]) <= trained
    assert not (items["item"] == items["similar"]).any()
    # All but the 3 liked; 21 others of the 22 for a trained item, all 22 for one that is not.
    assert set(users.groupby("user").size()) == {19}
    sizes = items.groupby("item").size()
    assert set(sizes[list(trained)]) == {21}
    assert set(sizes.drop(list(trained))) == {22}
    assert len(sizes) == 29


def test_counts_manifest_and_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle = random_bundle(tmp_path / "bundle", users=100, items=30, trained=30)
    whole = batch.recommend(tmp_path / "whole", SOURCE, 5, bundle)
    monkeypatch.setattr(batch, "BLOCK", 16)
    monkeypatch.setattr(batch, "FILE_ROWS", 100)
    parted = batch.recommend(tmp_path / "parted", SOURCE, 5, bundle, workers=2)
    names = sorted(path.name for path in parted.file("users").iterdir())
    # A file ends with the block that fills it: 16 lists of 5 are 80 rows, two blocks 160.
    assert names == [f"part-{number:05d}.parquet" for number in range(4)]
    assert pq.ParquetFile(parted.file("users") / names[0]).metadata.num_row_groups == 2
    expected = {
        "model": "m", "version": "1", "bundle": "digest", "n": 5,
        "users": 100, "users_rows": 500, "items": 29, "items_rows": 145,
        "users_trained": 100, "users_by_likes": 0, "users_by_features": 0, "users_by_popularity": 0,
    }  # fmt: skip
    assert parted.counts() == whole.counts() == expected
    for kind in ("users", "items"):
        one, other = (pq.read_table(made.file(kind)) for made in (whole, parted))
        assert one.drop_columns("score").equals(other.drop_columns("score"))
        # Blocks of another size add in another order.
        scores = (table.column("score").to_numpy() for table in (one, other))
        np.testing.assert_allclose(*scores, rtol=1e-5, atol=1e-6)
        assert one.num_rows == expected[f"{kind}_rows"]
    manifest = json.loads((Path(parted.path) / "manifest.json").read_text())
    assert manifest["counts"] == expected
    assert set(manifest["files"]) >= {f"users/{name}" for name in names}


def test_the_same_batch_has_the_same_name_and_another_version_another(tmp_path: Path) -> None:
    key = batch.recommend.key(SOURCE, 5, Path("here"))
    assert key == batch.recommend.key(SOURCE, 5, Path("there"), workers=2)
    assert key != batch.recommend.key(replace(SOURCE, version="2"), 5, Path("here"))
    assert key != batch.recommend.key(SOURCE, 6, Path("here"))


def test_the_newest_batch_is_where_the_link_leads(tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        batch.point(tmp_path / "latest", tmp_path / name)
        assert (tmp_path / "latest").resolve() == tmp_path / name
    assert sorted(path.name for path in tmp_path.iterdir()) == ["latest", "one", "two"]


PROGRAM = """
import sys, time
from pathlib import Path
from recsys.pipeline import batch
from recsys.pipeline.outcomes import Source
batch.BLOCK = 64
slow = batch._table
def one_by_one(*arguments):
    time.sleep(0.02)
    return slow(*arguments)
batch._table = one_by_one
folder = Path(sys.argv[1])
batch.recommend(folder / "out", Source("m", "1", "b"), 5, folder / "bundle")
"""


def test_a_batch_killed_in_the_middle_leaves_nothing_that_looks_whole(tmp_path: Path) -> None:
    random_bundle(tmp_path / "bundle", users=20_000, items=30, trained=30)
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(tmp_path)],
        cwd=ROOT, env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    while not list(tmp_path.glob("out/.recommend-*/users/*.parquet")):
        assert process.poll() is None
        time.sleep(0.01)
    time.sleep(0.2)
    os.kill(process.pid, signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    # Its folder, and the lock that says whether it lives; the next one removes both.
    assert {path.name[0] for path in (tmp_path / "out").iterdir()} == {"."}
    made = batch.recommend(tmp_path / "out", Source("m", "1", "b"), 5, tmp_path / "bundle")
    assert not list((tmp_path / "out").glob(".*"))
    assert batch.recommend.load(Path(made.path)).outcome.users_rows == 100_000
    assert load_bundle(tmp_path / "bundle").manifest["seed"] == 5
