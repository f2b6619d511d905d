"""What is gone of a model's users, items and tags, on bundles of two users and a few items."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pyarrow as pa

from recsys.bundle import load_bundle
from recsys.data.idmap import IdMap
from recsys.evaluation.gone import Gone, find_gone
from tests.fixtures.bundles import write_bundle

TAGS = pa.array(["kind_sweet", "tag_green", "tag_red", "tag_sweet"])


def test_nothing_is_gone_from_itself(tmp_path: Path) -> None:
    bundle = load_bundle(write_bundle(tmp_path / "b", features=True))
    found = find_gone(bundle, bundle, {"item": TAGS, "user": pa.array(["country_de"])})
    assert found == dict.fromkeys(("users", "items", "tags", "user features"), Gone(0.0))


def test_renamed_ids_are_gone_whatever_their_number(tmp_path: Path) -> None:
    before = load_bundle(write_bundle(tmp_path / "b", features=True))
    after = replace(
        before,
        users=IdMap(pa.array(["ann", "BOB"]), "user"),
        items=IdMap(pa.array(["A", "B", "c", "D", "e"]), "item"),
    )
    found = find_gone(before, after, {"item": pa.array(["tags_red", "tag_green"]), "user": None})
    assert found == {
        "users": Gone(0.5, ("bob",)),
        # Item e was never trained; a and b are liked, d is not.
        "items": Gone(0.75, ("a", "b", "d")),
        # On two items, on one and one.
        "tags": Gone(0.75, ("tag_red", "tag_sweet", "kind_sweet")),
        "user features": Gone(1.0, ("country_de",)),
    }
    assert str(found["users"]) == "-50.0% (gone: bob)"


def test_what_was_trained_and_is_no_more_is_gone(tmp_path: Path) -> None:
    before = load_bundle(write_bundle(tmp_path / "b"))
    # The same ids, the last of them below the core.
    after = replace(before, trained=3)
    assert find_gone(before, after, {})["items"] == Gone(0.25, ("d",))
