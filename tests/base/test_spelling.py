"""Spelling: the names that are suggested are the closest ones."""

from __future__ import annotations

import difflib

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from recsys.base.spelling import CUTOFF, _similarity_bounds, closest

words = st.text(st.sampled_from("abcé-"), max_size=8)


@given(word=words.filter(bool), names=st.lists(words, min_size=1, max_size=30))
def test_what_is_not_compared_could_not_be_closer(word: str, names: list[str]) -> None:
    bounds = _similarity_bounds(word, pa.array(names, pa.string()))
    for name, bound in zip(names, bounds, strict=True):
        assert bound >= difflib.SequenceMatcher(None, name, word).ratio() - 1e-12
    # With fewer names than are compared, the answer is that of comparing all of them.
    found = closest(word, pa.array(names, pa.string()))
    assert found == difflib.get_close_matches(word, list(dict.fromkeys(names)), 3, CUTOFF)


def test_a_misspelt_name_is_found_among_many() -> None:
    names = pa.array([f"package-{n:05}" for n in range(2000)] + ["scikit-learn", "lightfm"])
    assert closest("scikit-lern", names)[0] == "scikit-learn"
    assert closest("ligthfm", names) == ["lightfm"]
    assert closest("", names) == []
    assert closest("x", pa.array([], pa.string())) == []
    assert closest("lightfm", names.slice(2001)) == ["lightfm"]
