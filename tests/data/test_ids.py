"""Ids are one text whatever they come as, words for none are none, what looks wrong is said."""

from __future__ import annotations

import json
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from recsys.base.config import Data
from recsys.base.errors import InputError
from recsys.data.accounts import left_out, similar_ids, unmatched
from recsys.data.columns import ValueFormat
from recsys.data.dialects import TextFormat
from recsys.data.features import FeatureColumns, read_feature_table
from recsys.data.idmap import IdMap
from recsys.data.ids import id_text
from recsys.data.interactions import (
    InteractionColumns,
    read_interaction_table,
)
from recsys.data.outcomes import Ingested
from recsys.data.signals import InteractionRules
from recsys.pipeline.preparation import ingest, sources_of
from recsys.store.stages import Stage

IDS = [1042, 7, 0, -3, 2**53 - 1]
TYPES: dict[str, Any] = {
    "int": IDS,
    "int32": np.array(IDS[:4], np.int32),
    "float": np.array(IDS, float),
    "float with gaps": [*map(float, IDS), None],
    "decimal": [Decimal(f"{i}.00") for i in IDS],
    "text": list(map(str, IDS)),
    "text of floats": [f"{i}.0" for i in IDS],
    "mixed": [1042, 7.0, "0", Decimal("-3"), 2**53 - 1],
    "category": pd.Categorical(list(map(str, IDS))),
}


@pytest.mark.parametrize("kind", TYPES)
def test_a_whole_number_is_one_id_in_every_type(kind: str) -> None:
    frame = pd.DataFrame({"user": pd.Series(TYPES[kind]), "item": "a"})
    found = read_interaction_table(frame).interactions
    assert set(found.users.ids.to_pylist()) == set(map(str, IDS[: len(found.users)]))


@pytest.mark.parametrize("asked", [1042, 1042.0, np.int32(1042), np.float64(1042), "1042"])
def test_it_is_asked_for_in_every_type(asked: object) -> None:
    ids = IdMap(pa.array(["1042", "7"]), "user")
    assert ids.index(asked) == 0
    assert asked in ids
    assert ids.indices([asked, Decimal("7.0")]).tolist() == [0, 1]
    assert ids.index(json.loads("1042.0")) == 0


def test_what_is_no_whole_number_stays_what_it_is() -> None:
    assert [id_text(value) for value in (1.5, float("nan"), "1.0", "007", True)] == [
        "1.5", "nan", "1.0", "007", "True",
    ]  # fmt: skip
    frame = pd.DataFrame({"user": ["1.0", "2.0b"], "item": "a"})
    assert read_interaction_table(frame).interactions.users.ids.to_pylist() == ["1.0", "2.0b"]


@pytest.mark.parametrize("kind", [np.float64, np.float32])
def test_numbers_that_are_exact_no_more_are_a_stop(kind: type) -> None:
    large = 2.0**53 if kind is np.float64 else 2.0**24
    frame = pd.DataFrame({"user": np.array([1, large], kind), "item": "a"})
    with pytest.raises(InputError, match="too large to be exact"):
        read_interaction_table(frame)


WORDS = ["\\N", "NULL", "null", "nan", "NaN", "None", "NA", "<NA>", ""]


@pytest.mark.parametrize("column", ["user", "item"])
def test_words_for_a_missing_value_are_no_ids(column: str, tmp_path: Path) -> None:
    other = "item" if column == "user" else "user"
    rows = [*WORDS, "Nullah", "nano", "Nonesuch"]
    path = tmp_path / "likes.tsv"
    path.write_text(
        f"{column}\t{other}\n" + "".join(f"{word}\tx{n}\n" for n, word in enumerate(rows))
    )
    found = read_interaction_table(path)
    assert found.rows == len(rows) == len(found.interactions) + sum(found.left_out().values())
    assert len(found.interactions) == 3
    assert found.rejected == {f"no {column}": 1}
    assert list(found.set_aside.values()) == [len(WORDS) - 1]
    assert "'NULL'" in found.notes[0]
    assert "data.missing" in found.notes[0]
    kept = InteractionRules(ValueFormat(missing=()))
    every = read_interaction_table(path, InteractionColumns(), TextFormat(), kept)
    assert len(every.interactions) == len(rows) - 1


def test_missing_words_are_no_features_and_no_names() -> None:
    frame = pd.DataFrame({"item": ["a", "a", "b"], "type": "tag", "value": ["NULL", "red", "nan"]})
    found = read_feature_table(frame)
    assert found.features.names.to_pylist() == ["tag_red"]
    assert found.rejected == {"no value": 2}
    names = pd.DataFrame({"user": "u", "item": ["a", "b"], "title": ["None", "B"]})
    table = read_interaction_table(names)
    assert table.names is not None
    assert table.names.to_pylist() == ["", "B"]


def test_ids_that_look_alike_are_said_with_an_example() -> None:
    ids = IdMap(
        pa.array(sorted(["Ann", "ann", "bob ", "bob", "caf\u00e9", "cafe\u0301", "d"])), "user"
    )
    number, (note,) = similar_ids(ids)
    assert number == 3
    assert "'Ann' and 'ann'" in note
    assert similar_ids(IdMap(pa.array(["a", "b"]), "user")) == (0, [])


def made(folder: Path, likes: str, features: str, **settings: Any) -> Stage[Ingested]:
    (folder / "likes.csv").write_text(likes)
    (folder / "items.csv").write_text(features)
    data = Data(likes=str(folder / "likes.csv"), features=str(folder / "items.csv"), **settings)
    return ingest(folder / "interim", data, sources_of(data))


def test_zeros_lost_in_one_of_two_files_are_said(tmp_path: Path) -> None:
    likes = "user,item\n" + "".join(f"u{n % 5},{n % 10:04}\n" for n in range(50))
    features = "item,type,value\n" + "".join(f"{n or '0000'},tag,t{n % 3}\n" for n in range(10))
    told = made(tmp_path, likes, features).outcome.told()
    assert any("9 of the 10 items" in note and "'1' there, '0001' in the" in note for note in told)
    with pytest.raises(InputError, match=r"none of the 9 items .* without zeros in front"):
        made(tmp_path, likes, features.replace("0000,tag,t0\n", ""))


def test_features_that_match_few_items_are_said() -> None:
    owners = IdMap(pa.array([f"a{n:02}" for n in range(30)]), "item")
    known = IdMap(pa.array([f"a{n:02}" for n in range(25, 60)]), "item")
    (note,) = unmatched(owners, known, "items.csv")
    assert note.startswith("only 5 of the 30 items of items.csv")
    assert unmatched(owners, owners, "items.csv") == []


def test_rows_left_out_are_said_from_one_in_a_hundred_and_stop_a_run_from_one_in_five() -> None:
    assert left_out("likes.csv", 1000, {"no user": 10}, {}, 0.2) == []
    (note,) = left_out("likes.csv", 1000, {"no user": 11}, {"rating below 4": 5}, 0.2)
    assert "11 of the 1,000 rows of likes.csv (1.1%)" in note
    assert "data.user_column" in note
    (note,) = left_out("likes.csv", 1000, {}, {"rating below 4": 500}, 0.2)
    assert "500 of the 1,000 rows" in note
    with pytest.raises(InputError, match=r"201 of the 1,000 rows.*data\.largest_left_out.*data"):
        left_out("likes.csv", 1000, {"wrong number of fields": 201}, {}, 0.2)


def test_a_run_stops_where_most_rows_are_unusable_and_says_which_setting(tmp_path: Path) -> None:
    likes = "user,item,plays\n" + "".join(f"u{n % 5},i{n % 10},{n % 3}\n" for n in range(60))
    features = "item,type,value\n" + "".join(f"i{n},tag,t{n % 3}\n" for n in range(10))
    with pytest.raises(InputError, match=r"20 of the 60 rows .*33\.3%.*data\.weight_column"):
        made(tmp_path, likes, features, weight_column="plays")
    read = made(tmp_path, likes, features, weight_column="plays", largest_left_out=0.4).outcome
    assert read.rows == {"likes": 60, "item features": 10}
    assert read.interactions + sum(read.rejected["likes"].values()) == 60
    assert any("20 of the 60 rows" in note for note in read.told())


def test_columns_of_a_file_of_features_are_known_too(tmp_path: Path) -> None:
    rows = "isbn;kind;genre\n" + "".join(f"i{n};tag;t{n % 3}\n" for n in range(10))
    (tmp_path / "tags.csv").write_text(rows)
    found = read_feature_table(tmp_path / "tags.csv", FeatureColumns())
    assert found.features.names.to_pylist() == ["tag_t0", "tag_t1", "tag_t2"]


@pytest.mark.parametrize("form", ["{:.1E}", "{:.5E}", "{:.0e}"])
@pytest.mark.parametrize("column", ["user", "item"])
def test_ids_that_were_rounded_to_scientific_notation_are_a_stop(
    form: str, column: str, tmp_path: Path
) -> None:
    """As a spreadsheet writes long numbers, of which several become one."""
    rounded = [form.format(4006381333931 + n) for n in range(30)]
    other = [f"x{n}" for n in range(30)]
    first, second = (rounded, other) if column == "user" else (other, rounded)
    pairs = zip(first, second, strict=True)
    path = tmp_path / "likes.csv"
    path.write_text("user,item\n" + "".join(f"{user},{item}\n" for user, item in pairs))
    with pytest.raises(InputError, match=rf"column {column} of .*scientific notation, such as '4"):
        read_interaction_table(path)


def test_an_id_such_as_1e05_is_an_id(tmp_path: Path) -> None:
    path = tmp_path / "likes.csv"
    path.write_text("user,item\n" + "".join(f"u{n},{n}E05\n" for n in range(9)))
    assert len(read_interaction_table(path).interactions) == 9


def test_blanks_around_all_ids_are_said() -> None:
    _, notes = similar_ids(IdMap(pa.array([" a ", " b "]), "item"))
    assert "all items begin or end with a blank, such as ' a '" in notes[0]
    assert similar_ids(IdMap(pa.array([" a ", "b"]), "item")) == (0, [])


def test_a_column_of_whole_numbers_is_one_of_ids_though_some_have_a_point(tmp_path: Path) -> None:
    # As of files that pandas wrote, where a column with gaps has become one of floats.
    (tmp_path / "likes.csv").write_text("user,item\n7,a\n7.0,b\n,c\n8.0,a\n10,a\n")
    found = read_interaction_table(tmp_path / "likes.csv").interactions
    assert found.users.ids.to_pylist() == ["10", "7", "8"]
    (tmp_path / "likes.csv").write_text("user,item\n7,a\n7.0,b\n7.5,a\n")
    found = read_interaction_table(tmp_path / "likes.csv").interactions
    assert found.users.ids.to_pylist() == ["7", "7.0", "7.5"]


def test_ids_that_differ_in_what_nobody_sees_are_said() -> None:
    ids = IdMap(pa.array(["ann", "ann\u200b", "\ufeffann", "bob"]), "user")
    number, (said,) = similar_ids(ids)
    assert number == 2
    assert "such as 'ann' and 'ann\\u200b'" in said
