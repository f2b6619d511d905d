"""The id map: both ways agree, unknown ids are named with what is close to them."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from recsys.base.errors import NotFoundError
from recsys.base.missing_words import MISSING_WORDS
from recsys.data.id_index import _hash
from recsys.data.idmap import IdMap
from recsys.data.interactions import InteractionColumns, read_interactions

TAGS = IdMap(pa.array(["anime", "animal", "robot", "7"]), "tag")
# Words for a missing value are no ids: hypothesis tries the constants that it finds in the code.
VALUES = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs"]), min_size=1, max_size=6
).filter(lambda value: value not in MISSING_WORDS)


@given(st.lists(VALUES, min_size=1, max_size=30))
def test_indices_are_those_of_the_sorted_distinct_ids(values: list[str]) -> None:
    frame = pd.DataFrame({"uid": values, "mid": "one"}, dtype="object")
    users = read_interactions(frame, InteractionColumns(name=None))[0].users
    codes, categories = pd.factorize(pd.Series(values, dtype="object"), sort=True)
    assert users.ids.to_pylist() == list(categories)
    assert users.indices(values).tolist() == codes.tolist()
    assert users.take(users.indices(values)) == values


def test_both_ways_agree() -> None:
    assert len(TAGS) == 4
    assert [TAGS.index(TAGS.id(index)) for index in range(4)] == [0, 1, 2, 3]
    assert TAGS.indices(["robot", "anime"]).tolist() == [2, 0]
    assert TAGS.indices(["robot"]).dtype == np.int32
    assert TAGS.take(np.array([2, 2, 0])) == ["robot", "robot", "anime"]


def test_a_number_is_compared_as_text() -> None:
    assert 7 in TAGS
    assert TAGS.index(7) == 3
    assert "07" not in TAGS


def test_a_part_has_indices_of_its_own() -> None:
    part = TAGS.select(np.array([2, 0]))
    assert part.ids.to_pylist() == ["robot", "anime"]
    assert part.index("anime") == 1
    assert part.kind == "tag"
    assert "animal" not in part


def test_an_unknown_id_is_said_with_the_closest_known() -> None:
    with pytest.raises(NotFoundError, match=r"no tag 'animee'.*4 known tags.*did you mean anime,"):
        TAGS.index("animee")
    with pytest.raises(NotFoundError, match=r"no tag 'xyz'.*check the spelling"):
        TAGS.indices(["robot", "xyz"])
    assert NotFoundError.exit_code == 4


@given(
    st.lists(st.text(st.characters(codec="utf-8"), max_size=6), unique=True), st.text(max_size=3)
)
def test_ids_are_found_where_they_stand(ids: list[str], other: str) -> None:
    given_ids = IdMap(pa.array([*ids, *ids[:2]], pa.string()).slice(0, len(ids)), "item")
    for position, one in enumerate(ids):
        assert given_ids.find(one) == position
    assert given_ids.indices(ids).tolist() == list(range(len(ids)))
    assert given_ids.take(np.arange(len(ids))) == ids
    assert given_ids.find(other) == (ids.index(other) if other in ids else None)
    assert (other in given_ids) == (other in ids)


def test_ids_with_one_hash_are_told_apart() -> None:
    # Words of Thue and Morse collide in every hash of this kind whose base is odd.
    word = ["ab"[number.bit_count() % 2] for number in range(2048)]
    one, other = "".join(word), "".join("ba"["ab".index(letter)] for letter in word)
    assert _hash(one.encode()) == _hash(other.encode())
    ids = IdMap(pa.array(["x", one, other]), "item")
    assert [ids.find(text) for text in (one, other, "x", "y")] == [1, 2, 0, None]
    assert ids.indices([other, one, "x"]).tolist() == [2, 1, 0]
    assert IdMap(pa.array([one]), "item").find(other) is None


def test_ids_that_no_table_can_have_are_unknown() -> None:
    ids = IdMap(pa.array(["?", "a"]), "item")
    assert "\ud800" not in ids
    with pytest.raises(NotFoundError):
        ids.indices(["a", "\ud800"])
