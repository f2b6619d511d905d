"""The preparing stages, from files to folders, on the sample and on faulty input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from recsys import preparation, products
from recsys.config import Data, Encode, Split, Threshold
from recsys.errors import InputError
from tests.conftest import ROOT, Prepared, prepare
from tests.planted import write_planted

SKETCHFAB = ROOT / "data" / "raw" / "sketchfab"


def test_the_sample_has_its_known_counts(sample: Prepared) -> None:
    data, core = sample.data.counts, sample.core.counts
    assert (data["interactions"], data["users"], data["items"]) == (273_795, 34_278, 23_102)
    assert (data["item_features"], data["item_feature_pairs"]) == (558, 52_857)
    assert (core["users"], core["items"], core["interactions"]) == (19_921, 5_183, 204_373)
    assert core["passes"] == 4
    assert core["catalogue"] == 23_102
    assert sample.features.counts["core_item_feature_pairs"] == 16_076
    assert sample.features.counts["item_features"] == 438
    ledger = sample.core.read_json("ledger.json")
    assert sum(entry["interactions_removed"] for entry in ledger) == 273_795 - 204_373


def test_citeulike_has_its_known_counts(citeulike: Prepared) -> None:
    data, core = citeulike.data.counts, citeulike.core.counts
    assert (data["users"], data["items"], data["interactions"]) == (5_551, 16_980, 204_986)
    assert (core["users"], core["items"], core["interactions"]) == (5_536, 15_429, 200_180)


def test_the_founding_data_have_the_published_counts(tmp_path: Path) -> None:
    likes, features = SKETCHFAB / "model_likes_anon.psv", SKETCHFAB / "model_feats.psv"
    if not likes.exists():
        pytest.skip("the founding data are not here: recsys train --dataset sketchfab fetches them")
    found = prepare(Data(likes=str(likes), features=str(features)), tmp_path)
    start, end = found.core.counts["start"], found.core.counts["end"]
    assert (start["users"], start["items"], round(start["sparsity"], 3)) == (62_583, 28_806, 0.035)
    assert (end["users"], end["items"], end["interactions"]) == (15_274, 25_655, 547_477)
    assert round(end["sparsity"], 3) == 0.140
    assert found.holdouts.counts["validation_users"] == 3_054
    assert found.features.counts["item_features"] == 20_352
    assert found.features.counts["core_item_feature_pairs"] == 161_510


def test_the_core_leads_the_catalogue_and_the_cut_keep_their_features(sample: Prepared) -> None:
    core = preparation.load_core(sample.core)
    catalogue = products.load_ids(Path(sample.core.path) / "catalogue.parquet", "item")
    assert catalogue.ids.slice(0, len(core.items)).equals(core.items.ids)
    encoded = products.load_encoded(Path(sample.features.path), "item")
    assert encoded is not None
    assert encoded.matrix.shape == (len(catalogue), 438)
    assert np.diff(encoded.matrix.indptr)[len(core.items) :].max() > 0


def test_nothing_of_the_holdouts_is_in_train(sample: Prepared) -> None:
    parts = products.load_split(Path(sample.holdouts.path))
    assert parts.train.multiply(parts.validation).nnz == 0
    assert parts.train.multiply(parts.test).nnz == 0
    assert parts.train.nnz + parts.validation.nnz + parts.test.nnz == 204_373


def test_items_with_features_only_end_the_catalogue(tmp_path: Path) -> None:
    likes, features = write_planted(tmp_path / "in")
    with features.open("a") as stream:
        stream.write("unliked|tag|group 1\n")
    found = prepare(Data(likes=str(likes), features=str(features)), tmp_path / "interim")
    catalogue = products.load_ids(Path(found.core.path) / "catalogue.parquet", "item")
    assert catalogue.id(len(catalogue) - 1) == "unliked"
    encoded = products.load_encoded(Path(found.features.path), "item")
    assert encoded is not None
    assert encoded.matrix[len(catalogue) - 1].nnz == 1


def test_weights_timestamps_and_user_features_go_through(tmp_path: Path) -> None:
    likes, _ = write_planted(tmp_path / "in")
    frame = pd.read_csv(likes, sep="|")
    frame["stars"], frame["when"] = 2.5, np.arange(len(frame)) * 10
    frame.to_csv(likes, sep="|", index=False)
    users = pd.DataFrame({"uid": frame.uid.unique(), "type": "Group"})
    users["value"] = users.uid.str[:2].str.upper()
    users.to_csv(tmp_path / "in" / "users.psv", sep="|", index=False)
    data = Data(
        likes=str(likes),
        user_features=str(tmp_path / "in" / "users.psv"),
        weight_column="stars",
        timestamp_column="when",
    )
    interim = tmp_path / "interim"
    ingested = preparation.ingest(interim, data, preparation.sources_of(data))
    core = preparation.threshold(interim, ingested, Threshold())
    parts = preparation.split(interim, ingested, core, Split(method="last", n=3), 1)
    encoded = products.load_encoded(
        Path(preparation.encode(interim, ingested, core, Encode()).path), "user"
    )
    assert encoded is not None
    assert encoded.names.to_pylist() == [f"group_g{g}" for g in range(6)]
    assert encoded.matrix.sum(axis=1).min() == 1
    assert set(products.load_split(Path(parts.path)).train.data) == {2.5}


def spoil(name: str, folder: Path) -> Data:
    """A configuration with one thing wrong."""
    likes, features = write_planted(folder / "in")
    data = Data(likes=str(likes), features=str(features))
    if name == "missing likes":
        likes.unlink()
    elif name == "missing features":
        features.unlink()
    elif name == "duplicates":
        row = likes.read_text().splitlines()[1]
        likes.write_text("modelname|mid|uid\n" + f"{row}\n" * 50)
    elif name == "thin":
        likes.write_text("\n".join(likes.read_text().splitlines()[::13]) + "\n")
        likes.write_text("modelname|mid|uid\n" + likes.read_text().split("\n", 1)[1])
    elif name == "strangers":
        features.write_text("mid|type|value\nnobody|tag|x\n")
    elif name == "features without rows":
        features.write_text("mid|type|value\n")
    elif name == "column":
        data = data.model_copy(update={"user_column": "person"})
    return data


FAULTS = {
    "missing likes": "no file or folder .*likes.psv",
    "missing features": "no file or folder .*feats.psv",
    "duplicates": "no interaction of 1 is left",
    "thin": "no interaction of .* is left after dropping",
    "strangers": "none of the 1 items in .*feats.psv .*nobody",
    "features without rows": "feats.psv has no usable row",
    "column": "expected a column person",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_input_is_one_error_and_leaves_nothing_half_written(fault: str, tmp_path: Path) -> None:
    data = spoil(fault, tmp_path)
    interim = tmp_path / "interim"
    with pytest.raises(InputError, match=FAULTS[fault]) as raised:
        prepare(data, interim)
    assert "\n" not in str(raised.value)
    left = [path.name for path in interim.iterdir()] if interim.exists() else []
    assert not [name for name in left if name.startswith(".")]
    assert {name.split("-")[0] for name in left} <= {"ingest"}
