"""Features against the article's DictVectorizer, and the options on cases worked by hand."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
import scipy.sparse as sp
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.feature_extraction import DictVectorizer

from recsys.base.errors import InputError
from recsys.data.features import FeatureColumns, encode, read_features, with_identity
from recsys.data.idmap import IdMap

ITEMS = IdMap(pa.array(["a", "b", "c", "d"]), "item")
ROWS = st.lists(
    st.tuples(
        st.sampled_from(["a", "b", "c", "d", "elsewhere"]),
        st.sampled_from(["tag", "category"]),
        st.sampled_from(["x", "X", "y", "two words", "É", "z|q"]),
    ),
    min_size=1,
    max_size=40,
)


def frame(rows: list[tuple[str, str, str]]) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=["mid", "type", "value"])


def hand() -> pd.DataFrame:
    return frame(
        [("a", "tag", "Red"), ("a", "tag", "red"), ("a", "tag", "big"), ("b", "tag", "red"),
         ("d", "category", "toys"), ("zz", "tag", "lost")]
    )  # fmt: skip


@settings(max_examples=100)
@given(ROWS)
def test_it_is_the_articles_one_hot_encoding(rows: list[tuple[str, str, str]]) -> None:
    inside = [row for row in rows if row[0] != "elsewhere"]
    if not inside:
        return
    dictionaries: list[dict[str, int]] = [{} for _ in range(len(ITEMS))]
    for item, kind, value in inside:
        dictionaries[ITEMS.index(item)][f"{kind}_{value.lower()}"] = 1
    peer = DictVectorizer()
    expected = peer.fit_transform(dictionaries)
    encoded = encode(read_features(frame(rows))[0], ITEMS, normalisation="none")
    assert encoded.names.to_pylist() == peer.get_feature_names_out().tolist()
    assert (encoded.matrix.toarray() == expected.toarray()).all()
    stacked = sp.hstack((sp.eye(len(ITEMS)), expected))
    assert (with_identity(encoded.matrix).toarray() == stacked.toarray()).all()


def test_lower_case_makes_one_feature_and_duplicates_count_once() -> None:
    features, rejected = read_features(hand())
    assert features.names.to_pylist() == ["category_toys", "tag_big", "tag_lost", "tag_red"]
    assert rejected == {"duplicate": 1}


def test_support_counts_only_the_owners_that_count() -> None:
    features = read_features(hand())[0]
    encoded = encode(features, ITEMS, counted=2, normalisation="none")
    # toys is on item d alone, which does not count; red is on a and b.
    assert encoded.names.to_pylist() == ["tag_big", "tag_red"]
    assert encoded.support.tolist() == [1, 2]
    assert encode(features, ITEMS, min_support=2).names.to_pylist() == ["tag_red"]


def test_rows_are_normalised_then_weighted() -> None:
    features = read_features(hand())[0]
    l1 = encode(features, ITEMS, normalisation="l1", weight=3).matrix
    assert l1.toarray()[0] == pytest.approx([0, 1.5, 1.5])
    l2 = encode(features, ITEMS, normalisation="l2").matrix.toarray()
    assert np.linalg.norm(l2[0]) == pytest.approx(1)
    assert l2[2].tolist() == [0, 0, 0]  # an item without features stays without


def test_weights_are_kept_and_bad_ones_rejected() -> None:
    rows = hand().assign(w=[2.0, 9.0, -1.0, float("nan"), 0.5, 1.0])
    features, rejected = read_features(rows, FeatureColumns(weight="w"))
    matrix = encode(features, ITEMS, normalisation="none").matrix.toarray()
    assert matrix[0].tolist() == [0, 9.0]
    assert rejected == {"weight not a positive number": 2, "duplicate": 1}


def test_two_features_with_one_name_are_refused() -> None:
    rows = [("a", "age", "group_1"), ("b", "age_group", "1")]
    with pytest.raises(InputError, match=r"age, group_1.*age_group, 1.*'age_group_1'"):
        read_features(frame(rows))


def test_features_of_strangers_are_refused() -> None:
    with pytest.raises(InputError, match="none of the 1 items with features"):
        encode(read_features(frame([("zz", "tag", "x")]))[0], ITEMS)


def test_letters_are_lowered_as_the_article_lowers_them() -> None:
    values = ["ΟΔΟΣ", "İstanbul", "ẞ", "ǅ"]
    features = read_features(frame([("a", "Tag", value) for value in values]))[0]
    assert features.names.to_pylist() == sorted(f"Tag_{value}".lower() for value in values)


def test_every_rejected_row_is_counted_by_its_reason() -> None:
    rows = frame([("a", "tag", "x"), ("", "tag", "x"), ("a", "", "x"), ("a", "tag", ""),
                  ("a", "TAG", "X")])  # fmt: skip
    rows.loc[len(rows)] = [None, "tag", "x"]
    features, rejected = read_features(rows)
    assert rejected == {"no owner": 2, "no type": 1, "no value": 1, "duplicate": 1}
    assert len(features) == 1


def test_a_name_shared_by_type_and_value_of_one_feature_is_no_collision() -> None:
    rows = [("a", "age_group", "1"), ("b", "AGE_group", "1"), ("b", "age", "x_1")]
    names = read_features(frame(rows))[0].names.to_pylist()
    assert names == ["age_group_1", "age_x_1"]


def test_rows_follow_the_owners_and_the_order_of_the_file_is_nothing() -> None:
    backwards = IdMap(pa.array(["d", "c", "b", "a"]), "item")
    features = read_features(hand())[0]
    shuffled = read_features(hand()[::-1])[0]
    matrix = encode(features, ITEMS).matrix
    assert (encode(features, backwards).matrix != matrix[::-1]).nnz == 0
    assert (encode(shuffled, ITEMS).matrix != matrix).nnz == 0
    assert matrix.dtype == np.float32
    assert matrix.has_sorted_indices


def test_user_features_are_read_the_same_way() -> None:
    rows = pd.DataFrame([("u1", "country", "CH")], columns=["uid", "type", "value"])
    features = read_features(rows, FeatureColumns(owner="uid"), kind="user")[0]
    assert features.owners.kind == "user"
    assert features.names.to_pylist() == ["country_ch"]
    with pytest.raises(InputError, match="users with features"):
        encode(features, IdMap(pa.array(["u2"]), "user"))


def test_a_support_nobody_has_is_said_with_the_best_there_is() -> None:
    with pytest.raises(InputError, match=r"on 3 or more items \(the commonest is on 2\)"):
        encode(read_features(hand())[0], ITEMS, min_support=3)


def test_a_table_without_a_usable_row_is_refused() -> None:
    with pytest.raises(InputError, match=r"the DataFrame has no usable row \(no type: 1\)"):
        read_features(frame([("a", "", "x")]))
