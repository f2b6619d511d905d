"""The bundle on disk: whole or refused, equal where the model is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from recsys.base.errors import InputError, NotFoundError
from recsys.bundle import Bundle, Seen, bundle_digest, load_bundle, read_manifest, save_bundle
from recsys.data.idmap import IdMap
from recsys.models.content import Profiles
from recsys.models.foldin import FoldIn
from recsys.models.mapping import Mapping
from recsys.models.side import SideInformation, Vocabulary
from recsys.ranking.factors import Factors


def bundle(folder: Path, names: bool = True, features: bool = False) -> Path:
    """Two users, four items in the plane: a and b lie together, c across, d nowhere.

    With features, an item e besides that nobody likes, and tags: a is red and sweet, b red, c and e
    green; sweet is a kind as well; ann is from de.
    """
    folder.mkdir()
    factors = Factors(
        np.array([[1, 0], [0, 2]], np.float32),
        np.array([[2, 0], [1, 0.1], [0, 3], [0, 0]], np.float32),
        np.array([0.5, -0.5], np.float32),
        np.array([0, 0.25, 0, 1], np.float32),
    )
    seen = Seen(np.array([0, 1, 3]), np.array([0, 1, 2], np.int32))
    made = Bundle(
        factors,
        IdMap(pa.array(["ann", "bob"]), "user"),
        IdMap(pa.array(["a", "b", "c", "d"]), "item"),
        pa.array(["Apple", "", "Cherry", "Date"]) if names else None,
        seen,
        {"seed": 3},
        trained=4,
    )
    save_bundle(folder, with_features(made) if features else made)
    return folder


def with_features(plain: Bundle) -> Bundle:
    factors = plain.factors
    more = Factors(
        factors.user_factors,
        np.vstack([factors.item_factors, [[0, 2]]]).astype(np.float32),
        factors.user_biases,
        np.append(factors.item_biases, np.float32(0.5)),
    )
    assert plain.names is not None
    half = 0.5**0.5
    items = SideInformation(
        vocabulary("kind_sweet", "tag_green", "tag_red", "tag_sweet", support=[0, 1, 2, 1]),
        Profiles(
            np.array([0, 2, 3, 4, 4, 5]),
            np.array([2, 3, 2, 1, 1], np.int32),
            np.array([half, half, 1, 1, 1], np.float32),
            np.ones(4, np.float32),
        ),
        Mapping(
            np.array([[0, 0], [0, 2], [2, 0], [1, 1]], np.float32),
            np.array([0, 0.5, -0.5, 0.25], np.float32),
            length=0,
        ),
        share=np.array([0.5, 0, 1, 0, 1], np.float32),
        blending=2,
    )
    users = SideInformation(
        vocabulary("country_de", support=[1]),
        Profiles(np.array([0, 1, 1]), np.array([0], np.int32), *np.ones((2, 1), np.float32)),
        Mapping(np.ones((1, 2), np.float32), np.array([0.5], np.float32), length=0),
        share=np.array([1, 0], np.float32),
        blending=1,
    )
    return replace(
        plain,
        factors=more,
        items=IdMap(pa.array(["a", "b", "c", "d", "e"]), "item"),
        names=pa.array([*plain.names.to_pylist(), "Elderberry"]),
        item_features=items,
        user_features=users,
        user_foldin=FoldIn(np.array([[1, 0], [0, 0.5]], np.float32)),
        item_foldin=FoldIn(np.array([[2, 0], [0, 1]], np.float32)),
    )


def vocabulary(*names: str, support: list[int]) -> Vocabulary:
    types, values = zip(*(name.split("_") for name in names), strict=True)
    ids = IdMap(pa.array(names), "feature")
    return Vocabulary(ids, pa.array(types), pa.array(values), np.array(support, np.int32))


def test_configurations_of_earlier_releases_come_under_todays_names(tmp_path: Path) -> None:
    old = {"no_components": 8, "leaning": 1.0, "pooling": 0.25, "strength": 2, "epochs": 9}
    new = {
        "no_components": 8, "content_blending": 1.0, "user_blending": 0.25, "cold_blending": 2,
        "epochs": 9,
    }  # fmt: skip
    plain = load_bundle(bundle(tmp_path / "bundle"))
    about = {"configuration": old, "started_from": [{"pooling": 0.5}, {}]}
    (tmp_path / "old").mkdir()
    save_bundle(tmp_path / "old", replace(plain, manifest=about))
    for manifest in (load_bundle(tmp_path / "old").manifest, read_manifest(tmp_path / "old")):
        assert manifest["configuration"] == new
        assert manifest["started_from"] == [{"user_blending": 0.5}, {}]


def test_a_manifest_is_read_alone_and_not_if_it_was_changed(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "bundle")
    (folder / "item_factors.npy").unlink()
    assert read_manifest(folder)["seed"] == 3
    text = (folder / "manifest.json").read_text()
    (folder / "manifest.json").write_text(text.replace('"seed": 3', '"seed": 4'))
    with pytest.raises(InputError, match="does not match its seal"):
        read_manifest(folder)


@pytest.mark.parametrize("features", [False, True])
def test_every_file_is_checked(features: bool, tmp_path: Path) -> None:
    folder = bundle(tmp_path / "bundle", features=features)
    for name in [path.name for path in folder.iterdir() if path.name != "manifest.json"]:
        path = folder / name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(InputError, match=f"is damaged .*{name}"):
            load_bundle(folder)
        path.write_bytes(content)
    load_bundle(folder)


def test_every_bit_of_the_manifest_is_checked(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "bundle")
    path = folder / "manifest.json"
    content = path.read_bytes()
    whole = json.loads(content)
    for position in range(len(content)):
        changed = bytearray(content)
        changed[position] ^= 1 << position % 7
        path.write_bytes(changed)
        try:
            same = json.loads(changed) == whole  # a blank that became another one says the same
        except ValueError:
            same = False
        if not same:
            with pytest.raises(InputError):
                load_bundle(folder)
    path.write_bytes(content[:-2])
    with pytest.raises(InputError, match="no readable manifest"):
        load_bundle(folder)


def test_a_manifest_cannot_lead_out_of_its_folder(tmp_path: Path) -> None:
    folder = bundle(tmp_path / "bundle")
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["../secret"] = {"bytes": 1, "checksum": "0"}
    (tmp_path / "secret").write_text("x")
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(InputError, match=r"\.\./secret lies outside"):
        load_bundle(folder)


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
        load_bundle(folder)


def test_no_folder_and_no_bundle_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(NotFoundError, match="no folder"):
        load_bundle(tmp_path / "nothing")
    with pytest.raises(InputError, match="no readable manifest"):
        load_bundle(tmp_path)


@pytest.mark.parametrize("number", [np.nan, np.inf])
def test_a_model_that_is_not_finite_is_not_written(number: float, tmp_path: Path) -> None:
    vectors, biases = np.ones((2, 2), np.float32), np.array([0, number], np.float32)
    ids = IdMap(pa.array(["a", "b"]), "item")
    seen = Seen(np.array([0, 0, 0]), np.empty(0, np.int32))
    with pytest.raises(InputError, match="not finite"):
        save_bundle(
            tmp_path, Bundle(Factors(vectors, vectors, biases, biases), ids, ids, None, seen, {}, 2)
        )
    assert list(tmp_path.iterdir()) == []


def test_equal_bundles_have_equal_digests(tmp_path: Path) -> None:
    one, same, other = (
        load_bundle(bundle(tmp_path / name, names=name != "other"))
        for name in ("one", "same", "other")
    )
    assert bundle_digest(one.manifest) == bundle_digest(same.manifest)
    assert bundle_digest(one.manifest) != bundle_digest(other.manifest)
