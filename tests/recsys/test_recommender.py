"""The bundle: whole or refused; its answers worked out by hand."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from recsys.errors import InputError, NotFoundError
from recsys.factors import Factors
from recsys.idmap import IdMap
from recsys.recommender import Recommender, Seen, bundle_digest, save_bundle


def bundle(folder: Path, names: bool = True) -> Path:
    """Two users, four items in the plane: a and b lie together, c across, d nowhere."""
    folder.mkdir()
    factors = Factors(
        np.array([[1, 0], [0, 2]], np.float32),
        np.array([[2, 0], [1, 0.1], [0, 3], [0, 0]], np.float32),
        np.array([0.5, -0.5], np.float32),
        np.array([0, 0.25, 0, 1], np.float32),
    )
    seen = Seen(np.array([0, 1, 3]), np.array([0, 1, 2], np.int32))
    save_bundle(
        folder,
        factors,
        IdMap(pa.array(["ann", "bob"]), "user"),
        IdMap(pa.array(["a", "b", "c", "d"]), "item"),
        pa.array(["Apple", "", "Cherry", "Date"]) if names else None,
        seen,
        {"seed": 3},
    )
    return folder


@pytest.fixture
def recommender(tmp_path: Path) -> Recommender:
    return Recommender.load(bundle(tmp_path / "bundle"))


def test_scores_are_inner_products_and_biases_without_what_was_seen(
    recommender: Recommender,
) -> None:
    # ann: a 2.5 (seen), b 1 + 0.25 + 0.5, c 0.5, d 1.5
    rows = recommender.recommend("ann", 10)
    assert [(row.id, row.score) for row in rows] == [("b", 1.75), ("d", 1.5), ("c", 0.5)]
    everything = recommender.recommend("ann", 2, include_seen=True)
    assert [row.id for row in everything] == ["a", "b"]


def test_an_item_without_a_name_goes_by_its_id(recommender: Recommender, tmp_path: Path) -> None:
    assert [row.name for row in recommender.recommend("ann", 2)] == ["b", "Date"]
    nameless = Recommender.load(bundle(tmp_path / "nameless", names=False))
    assert nameless.recommend("ann", 1)[0].name == "b"


def test_similar_is_the_cosine_of_vectors_biases_left_out(recommender: Recommender) -> None:
    rows = recommender.similar("a", 10)
    assert [row.id for row in rows] == ["b", "c", "d"]
    assert rows[0].score == pytest.approx(1 / np.sqrt(1.01))
    assert rows[1].score == rows[2].score == 0


def test_liked_and_popular(recommender: Recommender) -> None:
    assert [row.id for row in recommender.liked("bob")] == ["c", "b"]
    assert [(row.id, row.score) for row in recommender.popular(2)] == [("a", 1), ("b", 1)]


def test_unknown_ids_are_answered_with_the_closest(recommender: Recommender) -> None:
    with pytest.raises(NotFoundError, match=r"no user 'anne'.*did you mean ann"):
        recommender.recommend("anne")
    with pytest.raises(NotFoundError, match="no item 'zzzz'"):
        recommender.similar("zzzz")


def test_every_file_is_checked(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "bundle")
    for name in [path.name for path in folder.iterdir() if path.name != "manifest.json"]:
        path = folder / name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(InputError, match=f"is damaged .*{name}"):
            Recommender.load(folder)
        path.write_bytes(content)
    Recommender.load(folder)


def test_a_manifest_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "bundle")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["../secret"] = {"bytes": 1, "checksum": "0"}
    (tmp_path / "secret").write_text("x")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"\.\./secret lies outside"):
        Recommender.load(folder)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"schema_version": 99}, "schema version 99"),
        ({"files": {}}, "does not list a bundle's files"),
        ({"files": 3}, "does not list a bundle's files"),
        ({"schema_version": "new"}, "no readable manifest"),
    ],
)
def test_a_foreign_manifest_is_refused(
    change: dict[str, object], said: str, tmp_path: Path
) -> None:
    folder = bundle(tmp_path / "bundle")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | change))
    with pytest.raises(InputError, match=said):
        Recommender.load(folder)


def test_no_folder_and_no_bundle_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no folder"):
        Recommender.load(tmp_path / "nothing")
    with pytest.raises(InputError, match="no readable manifest"):
        Recommender.load(tmp_path)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_model_that_is_not_finite_is_not_written(number: float, tmp_path: Path) -> None:
    vectors, biases = np.ones((2, 2), np.float32), np.array([0, number], np.float32)
    ids = IdMap(pa.array(["a", "b"]), "item")
    seen = Seen(np.array([0, 0, 0]), np.empty(0, np.int32))
    with pytest.raises(InputError, match="not finite"):
        save_bundle(tmp_path, Factors(vectors, vectors, biases, biases), ids, ids, None, seen, {})
    assert list(tmp_path.iterdir()) == []


def test_equal_bundles_have_equal_digests(tmp_path: Path) -> None:
    one, same, other = (
        Recommender.load(bundle(tmp_path / name, names=name != "other"))
        for name in ("one", "same", "other")
    )
    assert bundle_digest(one.manifest) == bundle_digest(same.manifest)
    assert bundle_digest(one.manifest) != bundle_digest(other.manifest)
