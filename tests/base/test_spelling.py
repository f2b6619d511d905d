"""Spelling: the names that are suggested are the closest ones."""

from __future__ import annotations

import difflib
from collections import Counter

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.base.spelling import CUTOFF, _similarity_bounds, closest

words = st.text(st.sampled_from("abcé-日😀"), max_size=8) | st.text(
    "ab", min_size=250, max_size=280
)


def similarity(word: str, name: str) -> float:
    return difflib.SequenceMatcher(None, name, word).ratio()


@given(word=words.filter(bool), names=st.lists(words, min_size=1, max_size=30))
def test_what_is_not_compared_could_not_be_closer(word: str, names: list[str]) -> None:
    known = pa.array(["", *names], pa.string()).slice(1)
    for name, bound in zip(names, _similarity_bounds(word, known), strict=True):
        shared = Counter(name) & Counter(word)
        assert bound == pytest.approx(2 * shared.total() / (len(name) + len(word)))
        assert bound >= similarity(word, name) - 1e-12
    # With fewer names than are compared, no others are closer, whichever are named of equals.
    found = closest(word, known)
    best = difflib.get_close_matches(word, list(dict.fromkeys(names)), 3, CUTOFF)
    assert len(set(found)) == len(found)
    assert [similarity(word, name) for name in found] == [similarity(word, name) for name in best]


def test_a_misspelt_name_is_found_among_many() -> None:
    names = pa.array([f"package-{n:05}" for n in range(2000)] + ["scikit-learn", "lightfm"])
    assert closest("scikit-lern", names)[0] == "scikit-learn"
    assert closest("ligthfm", names) == ["lightfm"]
    assert closest("", names) == []
    assert closest("x", pa.array([], pa.string())) == []
    assert closest("lightfm", names.slice(2001)) == ["lightfm"]
