"""Finding: what is typed first is found first, whatever is typed; tiles and colours of items."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.bundle import Bundle, Seen, load_bundle
from recsys.data.idmap import IdMap
from recsys.gallery.colours import HUES, OTHER, colours
from recsys.gallery.name_search import NameSearch, lowered
from recsys.gallery.placeholders import Placeholders
from recsys.ranking.factors import Factors
from recsys.recommend.queries.view import BundleView
from tests.fixtures.bundles import vocabulary, write_bundle

NAMES = [
    "light", "skylight", "Lighthouse", "the light of day", "delight-light", "LIGHT",
    "\ufb01re light", "",
]  # fmt: skip


def named(names: list[str]) -> BundleView:
    """Items i0, i1, … with these names; nobody likes anything."""
    n = len(names)
    factors = Factors(
        np.zeros((1, 2), np.float32), np.ones((n, 2), np.float32),
        np.zeros(1, np.float32), np.zeros(n, np.float32),
    )  # fmt: skip
    ids = IdMap(pa.array([f"i{i}" for i in range(n)]), "item")
    seen = Seen(np.array([0, 0]), np.empty(0, np.int32))
    users = IdMap(pa.array(["somebody"]), "user")
    return BundleView(Bundle(factors, users, ids, pa.array(names), seen, {}, trained=n))


def found(finder: NameSearch, query: str, n: int = 10) -> list[str]:
    return [hit.name for hit in finder.find(query, n, ["item"]).get("item", [])]


def test_the_very_name_then_beginnings_then_words_then_parts() -> None:
    finder = NameSearch(named(NAMES))
    assert found(finder, "light") == [
        "light", "LIGHT", "Lighthouse", "the light of day", "delight-light",
        "\ufb01re light", "skylight",
    ]  # fmt: skip
    assert found(finder, "LIGHT", 3) == ["light", "LIGHT", "Lighthouse"]
    # Every word has to be there, in any order; letters that only look joined are found.
    assert found(finder, "day light") == ["the light of day"]
    assert found(finder, "fire") == ["\ufb01re light"]
    assert found(finder, "  ") == []
    assert found(finder, "dark") == []
    # An item without a name goes by its id.
    assert found(finder, "i7") == ["i7"]


def test_more_likes_go_first_among_equals(tmp_path: Path) -> None:
    finder = NameSearch(BundleView(load_bundle(write_bundle(tmp_path / "fruit", features=True))))
    assert [hit.id for hit in finder.find("e")["item"]][:2] == ["e", "a"]  # Apple has a like
    assert [hit.id for hit in finder.find("swee")["tag"]] == ["tag_sweet", "kind_sweet"]
    assert [hit.weight for hit in finder.find("bob")["user"]] == [2]
    assert finder.near("swet") == ["sweet"]


@settings(max_examples=40)
@given(st.lists(st.text(max_size=12), min_size=1, max_size=8), st.text(max_size=6))
def test_whatever_is_typed(names: list[str], query: str) -> None:
    """Nothing breaks; what is found has every word of what was typed, and nothing else has."""
    texts = [name.encode("utf-8", "replace").decode() for name in names]
    typed = query.encode("utf-8", "replace").decode()
    words = lowered(pa.array([typed]))[0].as_py().split()
    compared = lowered(pa.array(texts)).to_pylist()
    hits = NameSearch(named(texts)).find(typed, 50, ["item"]).get("item", [])
    expected = {
        i
        for i, text in enumerate(compared)
        if words and any(all(word in part for word in words) for part in (text, f"i{i}"))
    }
    assert {hit.index for hit in hits} == expected


@pytest.mark.parametrize("place", range(len(NAMES) - 1))
def test_every_name_finds_itself_first(place: int) -> None:
    wanted = NAMES[place]
    assert wanted.lower() == found(NameSearch(named(NAMES)), wanted)[0].lower()


def test_items_are_coloured_by_what_most_have_one_of(tmp_path: Path) -> None:
    rich = load_bundle(write_bundle(tmp_path / "fruit", features=True))
    # a is red and sweet, b red, c and e green: no type is a category, so by the most frequent tag.
    by_tag = colours(rich)
    assert by_tag.title == "most frequent tag"
    assert by_tag.names == ("green", "red", "sweet")
    assert [by_tag.label(item) for item in range(5)] == ["red", "red", "green", "", "green"]
    assert by_tag.hues.tolist() == [1, 1, 0, OTHER, 0]
    assert rich.item_features is not None
    words = vocabulary(
        "tag_blue", "category_green", "category_red", "tag_sweet", support=[0, 2, 2, 1]
    )
    by_category = colours(
        replace(rich, item_features=replace(rich.item_features, vocabulary=words))
    )
    assert by_category.title == "category"
    assert by_category.names == ("green", "red")
    assert [by_category.label(item) for item in range(5)] == ["red", "red", "green", "", "green"]
    plain = colours(load_bundle(write_bundle(tmp_path / "plain")))
    assert plain.names == ()
    assert set(plain.hues.tolist()) == {OTHER}
    assert len(by_tag.names) <= HUES


def test_tiles_are_alike_where_items_are(tmp_path: Path) -> None:
    source = BundleView(load_bundle(write_bundle(tmp_path / "fruit", features=True)))
    a, b, c, d, e = Placeholders(source).dots(np.arange(5))

    def apart(one: tuple, other: tuple) -> float:
        return sum(abs(p.r - q.r) for p, q in zip(one, other, strict=True))

    assert len(a) == 24
    assert apart(a, b) < apart(a, c)
    assert apart(c, e) == 0  # the same direction
    assert d == ()
    assert all(1.2 <= dot.r <= 8.4 and 0 < dot.x < 120 and 0 < dot.y < 80 for dot in a)
