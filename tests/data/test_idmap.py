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
