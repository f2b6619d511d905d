"""The bundle on disk: what is saved is loaded unchanged, and whatever was changed is refused."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from recsys.base.errors import InputError, NotFoundError
from recsys.bundle import Bundle, Seen, bundle_digest, load_bundle, save_bundle
from recsys.data.idmap import IdMap
from recsys.ranking.factors import Factors
from tests.fixtures.bundles import write_bundle


@pytest.mark.parametrize("features", [False, True])
def test_every_file_is_checked(features: bool, tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle", features=features)
    for name in [path.name for path in folder.iterdir() if path.name != "manifest.json"]:
        path = folder / name
        content = path.read_bytes()
        path.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
        with pytest.raises(InputError, match=f"is damaged .*{name}"):
            load_bundle(folder)
        path.write_bytes(content)
    load_bundle(folder)


def test_every_bit_of_the_manifest_is_checked(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "bundle")
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
    folder = write_bundle(tmp_path / "bundle")
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
    folder = write_bundle(tmp_path / "bundle")
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
        load_bundle(write_bundle(tmp_path / name, names=name != "other"))
        for name in ("one", "same", "other")
    )
    assert bundle_digest(one.manifest) == bundle_digest(same.manifest)
    assert bundle_digest(one.manifest) != bundle_digest(other.manifest)
