"""Questions in the terminal: tables a person reads, JSON a program reads, one line for a fault."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.fixtures.terminal import Terminal


def test_recommend(recsys: Terminal) -> None:
    first = {"id": "b", "name": "b", "score": 1.75, "reason": "like Apple"}
    assert recsys.rows("recommend", "ann", "-n", "1") == [first]
    assert recsys.ids("recommend", "ann", "--include-untrained") == ["b", "d", "e", "c"]
    assert recsys.ids("recommend", "ann", "--include-seen", "--must", "red") == ["a", "b"]
    assert recsys.ids("recommend", "ann", "--must-not", "red", "--exclude", "c") == ["d"]


def test_recommend_for_somebody_new(recsys: Terminal) -> None:
    assert recsys.ids("recommend", "--liked", "a") == ["b", "d", "c"]
    assert recsys.ids("recommend", "--liked", "a", "--liked", "b", "--tag", "green")[0] == "c"
    assert recsys.ids("recommend", "--feature", "country_de")[0] == "c"
    code, out, err = recsys("recommend", "--liked", "zzz", "--json")
    assert (code, json.loads(out)[0]["reason"]) == (0, "1 like")
    assert "note: 1 unknown item ignored: zzz" in err
    assert "by popularity" in err
    assert "by popularity" in recsys("recommend")[1]
    code, _, err = recsys("recommend", "ann", "--feature", "country_de")
    assert (code, "give one of them" in err) == (2, True)


def test_similar(recsys: Terminal) -> None:
    code, out, _ = recsys("similar", "a")
    assert code == 0
    for said in ("like Apple", "both tag_red", "Cherry", "0.995"):
        assert said in out
    assert recsys.ids("similar", "--tag", "green") == ["c", "e", "b", "a"]
    assert recsys.ids("similar", "--tag", "green", "--trained") == ["c", "b", "a"]
    assert recsys.ids("tag", "green", "--trained") == ["c", "b", "a"]
    assert recsys.ids("similar", "--liked-by", "ann")[0] == "a"
    code, _, err = recsys("similar")
    assert (code, "new item" in err) == (3, True)


def test_tag(recsys: Terminal) -> None:
    code, out, _ = recsys("tag", "red")
    assert (code, "has tag_red" in out, "not tag_red" in out) == (0, True, True)
    weighted = {row["id"]: row["score"] for row in recsys.rows("tag", "red=3", "green=4")}
    assert weighted["a"] == pytest.approx(0.6)
    against = {row["id"]: row["score"] for row in recsys.rows("tag", "tag_red=-1")}
    assert against["a"] == pytest.approx(-1)
    code, _, err = recsys("tag", "redd")
    assert (code, "did you mean tag_red" in err) == (4, True)
    code, _, err = recsys("tag", "color=blue")
    assert (code, "'color=blue'" in err) == (4, True)


def test_tags_for_items_and_for_tags(recsys: Terminal) -> None:
    assert recsys.ids("suggest-tags", "b") == ["tag_sweet", "tag_green"]
    assert recsys.ids("suggest-tags", "b", "--exclude", "tag_sweet") == ["tag_green"]
    assert recsys.rows("suggest-tags", "b", "--type", "kind") == []
    assert recsys.ids("suggest-tags", "--tag", "red")[0] == "tag_sweet"
    assert recsys.ids("similar-tags", "red") == ["tag_sweet", "tag_green"]


def test_audience(recsys: Terminal) -> None:
    assert recsys.ids("audience", "c") == ["ann"]
    assert recsys.ids("audience", "--tag", "green") == ["bob", "ann"]


def test_explain(recsys: Terminal) -> None:
    code, out, _ = recsys("explain", "ann", "b")
    assert code == 0
    for said in ("b for ann: 1.750", "the user", "the item itself", "tag_red", "Apple (1.00)"):
        assert said in out
    code, out, _ = recsys("explain", "ann", "a", "--json")
    found = json.loads(out)
    assert sum(part["value"] for part in found["parts"]) == pytest.approx(found["score"])


def test_unknown_ids_name_the_closest(recsys: Terminal) -> None:
    code, out, err = recsys("recommend", "anne")
    assert (code, out) == (4, "")
    assert "did you mean ann" in err
    assert len(err.splitlines()) == 1


def test_expectations_are_checked_on_any_model(recsys: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "expected.toml"
    file.write_text("[[similar]]\nitem = 'a'\ncontains = ['b']\nfirst = 1\n")
    assert recsys("expect", "check", str(file))[:2] == (
        0, "✓ similar to a: b in the first 1: b in place 1\n",
    )  # fmt: skip
    file.write_text(file.read_text() + "[[never]]\ntags = ['tag_red']\nusers = ['country_de']\n")
    code, out, err = recsys("expect", "check", str(file))
    assert code == 3
    assert "✗ never tag_red in the first 10 for a user with country_de: 1 of 1 users do" in out
    assert "does not meet 1 of 2 expectations" in err
    rules = tmp_path / "rules.toml"
    rules.write_text("[[exclude]]\ntags = ['tag_red']\n")
    assert recsys("expect", "check", str(file), "--rules", str(rules))[0] == 0
