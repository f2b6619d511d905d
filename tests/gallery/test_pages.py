"""The gallery's pages: exact contents of a small model, whatever its names, and refusals."""

from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pyarrow as pa
import pytest
from starlette.testclient import TestClient

from recsys.base.config import Config
from recsys.base.errors import InputError
from recsys.bundle import load_bundle, save_bundle
from recsys.data.idmap import IdMap
from recsys.gallery.cards import PageContext
from recsys.gallery.formatting import signed, tidy
from recsys.gallery.launch import gallery
from recsys.gallery.links import Links
from recsys.gallery.new_user_page import new_user_page
from recsys.gallery.opened_models import OpenedModel, OpenedModels
from recsys.gallery.pictures import Pictures
from recsys.gallery.site import Site
from recsys.gallery.tag_page import tag_page
from recsys.gallery.user_page import parts_of, user_page
from recsys.recommend.house_rules import read_rules
from recsys.recommend.recommender import Recommender
from tests.fixtures.bundles import write_bundle
from tests.fixtures.gallery_pages import Page, page

HOSTILE = {
    "markup": "<b>bold</b> & \"quoted\" 'too' </title></script>",
    "script": "<script>document.title = 'taken'</script><img src=x onerror=alert(1)>",
    "right to left": "\u202e\u05e9\u05dc\u05d5\u05dd\u202c \u2066x\u2069 \u0627\u0628",
    "emoji": "👩‍👩‍👧‍👦🏳️‍🌈 tail",
    "controls": "bell\x07 null\x00 line\nbreak\u2028end",
    "template": "{{ 7 * 7 }} {% raw %} ${x} %s {id}",
    "address": "../../a?b=c&d=e#f%2Fg/;h",
    "long": "w" * 9_990 + "</bdi><i>",
    "joined": "a\u0301" * 300,
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "fruit", features=True)


def site(folder: Path, pictures: Pictures | None = None) -> Site:
    return Site(OpenedModels(str(folder)), folder.parent / "kept", pictures or Pictures())


@pytest.fixture
def client(folder: Path) -> TestClient:
    return TestClient(site(folder).app)


@pytest.fixture
def context(folder: Path) -> PageContext:
    return PageContext(OpenedModel("", Recommender.load(folder)), Links(), Pictures())


def test_lists_of_users_follow_house_rules_and_the_models_own_are_offered(tmp_path: Path) -> None:
    folder = write_bundle(tmp_path / "fruit", features=True)
    (tmp_path / "rules.toml").write_text(
        '[[pin]]\nitem = "d"\n[[boost]]\ntags = ["green"]\nby = 9\n'
    )
    config = Config.model_validate(
        {"batch": {"rules": str(tmp_path / "rules.toml")}, "gallery": {"folder": str(tmp_path)}}
    )
    client = TestClient(gallery(str(folder), config, "testserver").app)
    shown = Recommender(load_bundle(folder), rules=read_rules(tmp_path / "rules.toml"))
    assert [row.id for row in shown.recommend("ann", 3)] == ["d", "c", "b"]
    for address in ("/user?id=ann", "/new?like=a"):
        ruled, own = client.get(address).text, client.get(f"{address}&own=1").text
        assert "boosts 1, pins 1" in ruled
        assert ruled.index("Date") < ruled.index("Cherry")
        assert "pinned" in ruled
        assert "boosted by green" in ruled
        assert f'href="{address.replace("&", "&amp;")}&amp;own=1"' in ruled
        assert "The model's own list, without house rules" in own.replace("&#39;", "'")
        assert "pinned" not in own
        assert f'href="{address}"' in own
    plain = TestClient(gallery(str(folder), Config(), "testserver").app).get("/user?id=ann").text
    assert "house rules" not in plain
    (tmp_path / "rules.toml").write_text("[[pin]]\nplace = 1\n")
    with pytest.raises(InputError, match="pin"):
        gallery(str(folder), config, "testserver")


@pytest.fixture
def hostile(tmp_path: Path) -> TestClient:
    """The same model with hostile ids, names, users and tags."""
    plain = load_bundle(write_bundle(tmp_path / "plain", features=True))
    texts = list(HOSTILE.values())
    assert plain.item_features is not None
    words = plain.item_features.vocabulary
    tags = sorted(f"tag_{text}" for text in texts[:4])
    vocabulary = replace(
        words,
        features=IdMap(pa.array(tags), "feature"),
        types=pa.array(["tag"] * 4),
        values=pa.array([tag[4:] for tag in tags]),
    )
    (tmp_path / "hostile").mkdir()
    save_bundle(
        tmp_path / "hostile",
        replace(
            plain,
            manifest={},
            items=IdMap(pa.array(texts[:5]), "item"),
            names=pa.array(texts[4:]),
            users=IdMap(pa.array(texts[7:]), "user"),
            item_features=replace(plain.item_features, vocabulary=vocabulary),
        ),
    )
    return TestClient(site(tmp_path / "hostile").app)


# --- What pages say ---------------------------------------------------------------------------


def test_an_item_with_what_the_recommender_says_of_it(client: TestClient) -> None:
    text = page(client, "/item?id=a&all=1").text
    # b lies along a: 1 / sqrt(1.01); c and e across.
    similar = text[text.index("Similar items") : text.index("Who would like it")]
    assert re.findall(r"(b|Cherry|Elderberry) (\d\.\d\d)", similar) == [
        ("b", "1.00"), ("Cherry", "0.00"), ("Elderberry", "0.00"),
    ]  # fmt: skip
    assert "both tag_red" in similar
    assert "red sweet" in text[: text.index("Similar items")]
    assert re.search(r"Who would like it bob likes", text)
    trained = page(client, "/item?id=a").text
    assert "Elderberry" not in trained[trained.index("Similar items") :]


def test_as_if_new_goes_by_tags_and_tells_who_likes_it_in_fact(client: TestClient) -> None:
    text = page(client, "/item?id=a&new=1").text
    assert "Shown from its tags alone" in text
    assert "1 of these 2 actually like it" in text
    assert re.search(r"ann actually likes it", text)


def test_a_suggested_tag_shows_what_it_would_change(client: TestClient) -> None:
    outline = page(client, "/item?id=b")
    tried = [link for link in outline.links if "add=" in link]
    assert tried[0] == "/item?id=b&add=tag_sweet"
    # b is red, (2, 0); with green, (0, 2) besides: c comes from a right angle to half of one.
    changed = page(client, "/item?id=b&add=tag_green").text
    before, after = re.split("With the tag", changed[changed.index("Now") :])
    scores = r"(Apple|Cherry) (-?\d\.\d\d)"
    assert re.findall(scores, before) == [("Apple", "1.00"), ("Cherry", "0.00")]
    assert re.findall(scores, after) == [("Apple", "0.71"), ("Cherry", "0.71")]
    page(client, "/item?id=b&add=tag_grey", 404)


def test_items_of_a_tag_and_those_without_it(client: TestClient, context: PageContext) -> None:
    found = tag_page(context, ["red"], [], every=True)
    assert [(card.id, card.lacks) for card in found.items.rows] == [
        ("a", False), ("b", False), ("c", True), ("e", True),
    ]  # fmt: skip
    assert found.having == 2
    text = page(client, "/tag?plus=red&all=1").text
    assert "2 of these 4 have it" in text
    assert text.count("does not have it") == 2


def test_tags_with_plus_and_minus(client: TestClient, context: PageContext) -> None:
    found = tag_page(context, ["tag_red"], ["tag_green"])
    # (1, -1) / sqrt 2 against (2, 0), (1, 0.1), (0, 3)
    assert [(card.id, card.score) for card in found.items.rows] == [
        ("a", pytest.approx(0.5**0.5)),
        ("b", pytest.approx(0.9 / np.sqrt(2.02))),
        ("c", pytest.approx(-(0.5**0.5))),
    ]
    assert found.turned["tag_red"] == "/tag?minus=tag_green&minus=tag_red"
    assert found.without["tag_green"] == "/tag?plus=tag_red"
    assert found.title == "red \u2212 green"
    assert (
        "/tag?plus=tag_red&plus=tag_sweet&minus=tag_green"
        in page(client, "/tag?plus=tag_red&minus=tag_green").links
    )
    # One on both sides is a plus; one twice counts once.
    assert tag_page(context, ["red", "tag_red"], ["tag_red"]).minus == []


def test_a_users_bars_add_up_to_the_score(context: PageContext) -> None:
    found = user_page(context, "bob")
    assert [card.id for card in sorted(found.liked, key=lambda card: card.id)] == ["b", "c"]
    scores = {row.id: row.score for row in context.opened.recommender.recommend("bob", 12)}
    assert [why.card.id for why in found.recommended] == list(scores)
    for why in found.recommended:
        assert sum(bar.value for bar in why.bars) == pytest.approx(scores[why.card.id], abs=1e-6)
        assert why.score == pytest.approx(scores[why.card.id])
        for bar in why.bars:
            assert -0.01 <= bar.start <= bar.start + bar.width <= 100.02
    # Half of a's vector is from red and sweet, (3, 1) / sqrt 2, and of its bias, -0.25 / sqrt 2.
    half = 0.5**0.5
    expected = {"taste": 2 - 1.5 * half, "item": half / 8, "tags": 1.375 * half, "user": 0.5}
    parts = parts_of(context.opened.recommender.explain("ann", "a"))
    assert parts == pytest.approx(expected, abs=1e-6)


def test_a_new_users_likes_are_in_the_address(client: TestClient, context: PageContext) -> None:
    found = new_user_page(context, ["a", "", "a", "zzz"])
    assert found.ids == ["a"]
    assert found.notes == ("1 unknown item left out",)
    # a folds in to (2, 0): b 2.25, d 1, c 0.
    assert [(card.id, card.score) for card in found.recommended.rows] == [
        ("b", 2.25), ("d", 1.0), ("c", 0.0),
    ]  # fmt: skip
    assert found.recommended.rows[0].href == "/new?like=a&like=b"
    assert found.liked[0].href == "/new"
    assert "/new?like=a&like=b" in page(client, "/new?like=a").links
    assert "What do you like?" in page(client, "/new").text
    page(client, "/new?" + "&".join(f"like={i}" for i in range(101)), 400)


def test_every_link_of_every_page_leads_to_a_page(client: TestClient) -> None:
    seen, waiting = set[str](), ["/"]
    while waiting:
        address = waiting.pop()
        if address in seen or not address.startswith("/") or address.startswith("/static"):
            continue
        seen.add(address)
        if len(seen) < 120:
            waiting += page(client, address).links
    paths = {address.split("?")[0] for address in seen}
    assert {"/", "/item", "/tag", "/user", "/new", "/map", "/run", "/compare"} <= paths


def test_a_model_without_features_has_pages_as_well(tmp_path: Path) -> None:
    client = TestClient(site(write_bundle(tmp_path / "plain")).app)
    for address in ("/", "/item?id=a", "/user?id=ann", "/new?like=a", "/find?q=a", "/run", "/map"):
        page(client, address)
    # d has no direction; its page says so where the others are.
    assert "neither likes nor known features" in page(client, "/item?id=d").text
    page(client, "/tag?plus=red", 400)


# --- Hostile names ----------------------------------------------------------------------------


def addresses() -> list[str]:
    texts = list(HOSTILE.values())
    items = [f"/item?id={quote(text)}" for text in texts[:5]]
    items += [f"{item}&new=1&all=1" for item in items[:4]]
    tags = [f"/tag?plus={quote('tag_' + text)}&all=1" for text in texts[:4]]
    users = [f"/user?id={quote(text)}" for text in texts[7:]]
    new = ["/new?" + "&".join(f"like={quote(text)}" for text in texts)]
    find = [f"/find?q={quote(text[:150])}" for text in texts]
    missing = [f"/{kind}={quote(text)}x" for text in texts for kind in ("item?id", "tag?plus")]
    return ["/", "/map", *items, *tags, *users, *new, *find, *missing]


@pytest.mark.parametrize("address", addresses(), ids=lambda address: address[:40])
def test_hostile_names_are_text(hostile: TestClient, address: str) -> None:
    answer = hostile.get(address)
    assert answer.status_code in (200, 400, 404)
    outline = Page(answer.text)
    assert not {"b", "i"} & set(outline.elements)
    assert not {name for name in outline.attributes if name.startswith("on")}
    assert not {"style"} & (outline.attributes | set(outline.elements))
    # Two files of ours at most, nothing between the tags.
    assert not re.search(r"<script(?![^>]* src=\"/static/)", answer.text)
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f\u2028]", "".join(outline.texts))
    assert len(answer.text) < 250_000


def test_a_hostile_name_is_shown_in_full(hostile: TestClient) -> None:
    name = HOSTILE["markup"]
    outline = page(hostile, f"/item?id={quote(HOSTILE['markup'])}")
    assert name in outline.text or name in " ".join(outline.texts)
    # The longest name is shortened in lists, and there in full on its own page.
    long = page(hostile, f"/item?id={quote(HOSTILE['emoji'])}").text
    assert HOSTILE["long"] in long


def test_names_are_tidied() -> None:
    assert tidy("a\x07b\u2028c") == "a\ufffdb c"
    assert tidy("  two\n words ") == "two words"
    assert tidy("x" * 200, 10) == "x" * 10 + "…"
    assert tidy("x" * 10, 10) == "x" * 10
    assert tidy("👩‍👩‍👧") == "👩‍👩‍👧"
    assert (signed(1.234), signed(-0.4), signed(-0.001)) == ("+1.23", "\u22120.40", "0.00")


# --- Type-ahead, errors, headers --------------------------------------------------------------


def test_the_type_ahead_finds_items_tags_and_users(client: TestClient) -> None:
    groups = client.get("/find.json?q=a").json()["groups"]
    found = {group["kind"]: [row["id"] for row in group["rows"]] for group in groups}
    assert found["item"][0] == "a"
    assert found["user"] == ["ann"]
    assert groups[0]["rows"][0] == {
        "id": "a", "name": "Apple", "href": "/item?id=a", "hint": "1 like",
    }  # fmt: skip
    tags = client.get("/find.json?q=RED&kind=tag").json()["groups"]
    assert [row["href"] for row in tags[0]["rows"]] == ["/tag?plus=tag_red"]
    assert client.get("/find.json?q=").json() == {"groups": []}
    assert "Did you mean tag_red" not in page(client, "/find?q=red").text
    assert "Did you mean green ?" in page(client, "/find?q=grean").text


@pytest.mark.parametrize(
    ("address", "status", "said"),
    [
        ("/nothing", 404, "no such page"),
        ("/item?id=x", 404, "no item 'x'"),
        ("/item", 400, "an address without id="),
        ("/user?id=anne", 404, "did you mean ann?"),
        ("/tag?plus=grean", 404, "did you mean tag_green"),
        ("/tag?plus=sweet", 400, "one of kind_sweet, tag_sweet"),
        ("/tag", 400, "no tag"),
        ("/item?id=a&v=2", 404, "version 2 of a bundle in a folder"),
    ],
)
def test_errors_are_pages_that_say_what_to_do(
    client: TestClient, address: str, status: int, said: str
) -> None:
    text = page(client, address, status).text
    assert said in text
    assert "Front page" in text


def test_a_fault_of_ours_is_a_page_with_headers_too(folder: Path) -> None:
    broken = site(folder)
    broken.models.champion().__dict__["name_search"] = None
    answer = TestClient(broken.app, raise_server_exceptions=False).get("/find?q=a")
    assert answer.status_code == 500
    assert "could not be made" in answer.text
    assert "script-src 'self'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("address", ["/", "/item?id=x", "/find.json?q=a", "/static/gallery.js"])
def test_a_browser_is_told_what_pages_may_do(client: TestClient, address: str) -> None:
    headers = client.get(address).headers
    policy = headers["content-security-policy"]
    assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self'")
    assert "unsafe" not in policy
    assert "img-src 'self';" in policy
    assert headers["x-content-type-options"] == "nosniff"


def test_other_hosts_names_and_verbs_are_refused(client: TestClient) -> None:
    assert client.get("/", headers={"host": "evil.example"}).status_code == 400
    assert client.post("/item?id=a").status_code == 405
    assert client.get("/static/../site.py").status_code == 404
