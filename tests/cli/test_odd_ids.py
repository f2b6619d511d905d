"""Ids and tags that are hard to type: a known name goes before any syntax, or is shown how."""

from __future__ import annotations

import unicodedata
from dataclasses import replace
from pathlib import Path

import pyarrow as pa
import pytest

from recsys.bundle import load_bundle, save_bundle
from recsys.data.idmap import IdMap
from tests.fixtures.bundles import vocabulary, write_bundle
from tests.fixtures.terminal import Terminal

NAME = "Beyoncé"
NFC, NFD = (unicodedata.normalize(form, NAME) for form in ("NFC", "NFD"))


@pytest.fixture
def odd(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Terminal:
    """The small bundle with names that nobody wants: -7 and -x like what ann and bob do."""
    monkeypatch.setenv("COLUMNS", "120")
    made = load_bundle(write_bundle(tmp_path / "plain", features=True))
    assert made.item_features is not None
    tags = vocabulary("kind_sweet", "tag_green", "tag_lanes=2", "tag_sweet", support=[0, 1, 2, 1])
    (tmp_path / "odd").mkdir()
    save_bundle(
        tmp_path / "odd",
        replace(
            made,
            users=IdMap(pa.array(["-7", "-x"]), "user"),
            items=IdMap(pa.array(["a ", NFD, "c#1", "d/e", "e=2"]), "item"),
            item_features=replace(made.item_features, vocabulary=tags),
        ),
    )
    return Terminal(tmp_path / "odd", monkeypatch, capsys)


def test_a_number_below_zero_is_an_id(odd: Terminal) -> None:
    assert odd.ids("recommend", "-7", "-n", "2") == [NFD, "d/e"]
    assert odd.ids("similar", "c#1", "-n", "1") == ["e=2"]
    assert odd.ids("recommend", "-7", "-n", "1", "--exclude", NFD) == ["d/e"]
    assert odd("explain", "-7", "a ")[0] == 0


def test_another_dash_is_said_how_to_give(odd: Terminal) -> None:
    code, out, err = odd("recommend", "-x")
    assert (code, out) == (2, "")
    assert "an id that begins with a dash goes to the end, behind --: -- -x" in " ".join(
        err.replace("│", " ").split()
    )
    code, _, err = odd("recommend", "--modle", "a")
    assert (code, "--model" in err) == (2, True)


def test_a_tag_that_is_known_has_no_weight_in_it(odd: Terminal) -> None:
    known = odd.rows("tag", "lanes=2", "-n", "2")
    assert known == odd.rows("tag", "tag_lanes=2", "-n", "2")
    weighted = odd.rows("tag", "green=2", "tag_sweet=0.5", "-n", "2")
    assert [row["id"] for row in weighted] != [row["id"] for row in known]
    # And what is known may be weighed as any other.
    assert odd.rows("tag", "lanes=2=1", "-n", "2") == known


def test_both_forms_of_an_accent_are_one_id(odd: Terminal) -> None:
    assert NFC != NFD
    assert odd.rows("similar", NFC) == odd.rows("similar", NFD)
    composed = IdMap(pa.array([NFC, "b"]), "item")
    assert (composed.index(NFD), NFD in composed, composed.find("é")) == (0, True, None)
    both = IdMap(pa.array([NFC, NFD]), "item")  # as they are in the data, they differ
    assert (both.index(NFC), both.index(NFD)) == (0, 1)


def test_blanks_at_the_end_are_shown(odd: Terminal) -> None:
    code, _, err = odd("similar", "a")
    assert (code, "did you mean 'a '" in err) == (4, True)
    assert odd.ids("similar", "a ", "-n", "1")
