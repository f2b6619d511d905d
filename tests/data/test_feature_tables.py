"""Features in several tables: each is read by itself, and together they are as one table."""

from __future__ import annotations

import json
import sqlite3
from itertools import permutations
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import recsys
from recsys.base.config import Data, Split
from recsys.base.config_file import load_config
from recsys.base.errors import ConfigError, InputError
from recsys.data import persistence
from recsys.data.feature_pairs import FeatureTable, combined
from recsys.data.features import FeatureColumns, encode, read_features
from recsys.data.idmap import IdMap
from recsys.data.inspection import configuration, inspect
from recsys.data.sources import check_input, sources_of
from recsys.pipeline.preparation import ingest
from recsys.store.stages import Stage

LIKES = [(f"u{n % 12}", 1 + (n * 7 + n // 12) % 10) for n in range(100)]
FILMS = [(n, f"Film {n}", "Drama|Comedy" if n % 2 else "Horror") for n in range(1, 11)]
# Two people call film 1 slow.
TAGS = [("u1", 1, "slow", 100), ("u2", 1, "Slow", 200), ("u3", 2, "noir", 300)]


def write(folder: Path) -> None:
    likes = pd.DataFrame(LIKES, columns=["userId", "movieId"])
    likes.to_csv(folder / "likes.csv", index=False)
    films = pd.DataFrame(FILMS, columns=["movieId", "title", "genres"])
    films.to_csv(folder / "films.csv", index=False)
    tags = pd.DataFrame(TAGS, columns=["userId", "movieId", "tag", "timestamp"])
    tags.to_csv(folder / "tags.csv", index=False)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    write(tmp_path)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def made(features: Any, **more: Any) -> Stage[Any]:
    data = Data(likes="likes.csv", features=features, **more)
    check_input("sample", data, Split())
    return ingest(Path("interim"), data, sources_of(data))


def pairs(stage: Stage[Any], side: str = "item") -> dict[tuple[str, str], float]:
    """The weight of each owner's features."""
    found = persistence.load_features(Path(stage.path), side)
    assert found is not None
    return as_dict(found)


def as_dict(found: FeatureTable) -> dict[tuple[str, str], float]:
    owners, names = found.owners.ids.to_pylist(), found.names.to_pylist()
    triples = zip(found.owner, found.feature, found.weight.tolist(), strict=True)
    return {(owners[owner], names[feature]): weight for owner, feature, weight in triples}


EXPECTED = {
    **{(str(n), "genres_horror"): 1.0 for n in range(2, 11, 2)},
    **{(str(n), f"genres_{genre}"): 1.0 for n in range(1, 11, 2) for genre in ("drama", "comedy")},
    ("1", "tag_slow"): 1.0, ("2", "tag_noir"): 1.0,
}  # fmt: skip


def test_two_tables_are_read_as_one(folder: Path) -> None:
    stage = made(["films.csv", "tags.csv"])
    assert pairs(stage) == EXPECTED
    found = stage.outcome
    assert found.rows == {
        "likes": 100, "item features of films.csv": 10, "item features of tags.csv": 3,
    }  # fmt: skip
    assert (found.items_with_features, found.item_features, found.item_feature_pairs) == (10, 5, 17)
    assert any("genres of films.csv is split at '|'" in note for note in found.notes)
    names = persistence.load_names(Path(stage.path) / "items.parquet")
    assert names is not None
    assert set(names.to_pylist()) == {f"Film {n}" for n in range(1, 11)}


def test_what_people_say_of_an_item_is_counted_where_it_is_to_be(folder: Path) -> None:
    stage = made(["films.csv", "tags.csv"], feature_repeats="sum")
    assert pairs(stage) == EXPECTED | {("1", "tag_slow"): 2.0}
    # The same table is of the users who say it.
    data = Data(likes="likes.csv", user_features="tags.csv")
    stage = ingest(Path("interim"), data, sources_of(data))
    expected = {("u1", "tag_slow"): 1.0, ("u2", "tag_slow"): 1.0, ("u3", "tag_noir"): 1.0}
    assert pairs(stage, "user") == expected


def test_what_several_tables_say_counts_once_or_adds_up_and_it_is_said(folder: Path) -> None:
    (folder / "more.csv").write_text("movieId,type,value,w\n1,tag,slow,0.5\n9,tag,odd,3\n")
    features = ["tags.csv", {"source": "more.csv", "weight_column": "w"}]
    stage = made(features)
    expected = {("1", "tag_slow"): 1.0, ("2", "tag_noir"): 1.0, ("9", "tag_odd"): 3.0}
    assert pairs(stage) == expected
    (said,) = [note for note in stage.outcome.notes if "in several of the tables" in note]
    assert said == (
        "1 features of items are in several of the tables tags.csv, more.csv, and count once "
        "(data.feature_repeats)"
    )
    stage = made(features, feature_repeats="sum")
    assert pairs(stage) == expected | {("1", "tag_slow"): 2.5}


def test_the_order_of_tables_means_nothing_and_their_content_everything(folder: Path) -> None:
    one = made(["films.csv", "tags.csv"])
    assert made(["tags.csv", "films.csv"]).key == one.key
    Path("moved.csv").write_bytes(Path("tags.csv").read_bytes())
    assert made(["films.csv", "moved.csv"]).key == one.key
    assert made("films.csv").key != one.key
    for table in ("films.csv", "tags.csv"):
        before = Path(table).read_text()
        Path(table).write_text(
            before + before.splitlines()[-1].replace("3,2,noir", "5,4,noir") + "\n"
        )
        assert made(["films.csv", "tags.csv"]).key != one.key
        Path(table).write_text(before)
    other = [{"source": "films.csv", "name_column": ""}, "tags.csv"]
    assert made(other).key != one.key
    assert made(["films.csv", "tags.csv"]).digest == one.digest


def test_each_table_has_its_own_dialect_columns_and_form(folder: Path) -> None:
    genres = [genres.split("|") for _, _, genres in FILMS]
    numbers = [n for n, *_ in FILMS]
    films = pa.table({"movieId": numbers, "genres": genres})
    pa.parquet.write_table(films, "films.parquet")  # type: ignore[attr-defined]
    (folder / "long.txt").write_text("1;tag;slow\n2;tag;noir\n", encoding="utf-16")
    lines = [{"movieId": n, "tag": tag} for _, n, tag, _ in TAGS]
    Path("tags.json").write_text("".join(json.dumps(line) + "\n" for line in lines))
    Path("parts").mkdir()
    for place, line in enumerate(lines):
        Path(f"parts/{place}.csv").write_text(f"movieId,tag\n{line['movieId']},{line['tag']}\n")
    with sqlite3.connect("shop.db") as connection:
        pd.DataFrame(lines).to_sql("tags", connection, index=False)
    long = {
        "source": "long.txt", "header": False, "item_column": "1", "type_column": "2",
        "value_column": "3",
    }  # fmt: skip
    for tags in (long, "tags.json", "parts", "shop.db#tags"):
        for features in permutations(["films.parquet", tags]):
            assert pairs(made(list(features))) == EXPECTED, tags
    for tags in ("tags.json", "parts", "films.parquet"):
        assert made(tags).outcome.rows.keys() == {"likes", "item features"}


def test_columns_are_called_as_is_said(folder: Path) -> None:
    films = {"source": "films.csv", "columns": {"genres": "genre"}}
    wanted = {(n, name.replace("genres", "genre")): w for (n, name), w in EXPECTED.items()}
    assert pairs(made([films, "tags.csv"])) == wanted
    # Several columns may be of one type.
    (folder / "two.csv").write_text("movieId,first,second\n1,Drama,Comedy\n2,Horror,\n")
    found = pairs(made("two.csv", feature_columns={"first": "genre", "second": "genre"}))
    expected = {("1", "genre_comedy"), ("1", "genre_drama"), ("2", "genre_horror")}
    assert set(found) == expected


def test_positions_of_two_tables_are_not_one_type(folder: Path) -> None:
    (folder / "a.csv").write_text("1,us\n2,de\n3,us\n")
    (folder / "b.csv").write_text("1,noir\n2,slow\n3,slow\n")
    a, b = ({"source": f"{name}.csv", "header": False, "item_column": "1"} for name in "ab")
    with pytest.raises(InputError, match=r"column 2 of a\.csv and column 2 of b\.csv .*columns = "):
        made([a, b])
    found = pairs(made([a | {"columns": {"2": "country"}}, b]))
    assert found.keys() == {
        (str(n), name)
        for n, names in enumerate((("country_us", "2_noir"), ("country_de", "2_slow"),
                                   ("country_us", "2_slow")), start=1)
        for name in names
    }  # fmt: skip
    with pytest.raises(InputError, match="column 2 of table 1 and column 2 of table 2"):
        recsys.read_features(["a.csv", "b.csv"], owner=1, header=False)


WRONG = {
    "gone": (["films.csv", "gone.csv"], r"no file or folder gone\.csv"),
    "column": (
        ["films.csv", {"source": "tags.csv", "value_column": "x"}],
        r"tags\.csv has the columns userId, movieId, tag, timestamp; expected a column .*x",
    ),
    "owner": (
        ["films.csv", {"source": "odd.csv"}],
        r"\(odd\.csv\); .*data\.features\.item_column .*the table with source = 'odd\.csv'",
    ),
    "quotes": (["films.csv", "open.csv"], r"open\.csv .*set data\.features\.quote"),
}


@pytest.mark.parametrize("case", WRONG)
def test_the_table_at_fault_is_named_before_a_run(case: str, folder: Path) -> None:
    (folder / "odd.csv").write_text("what,tag\n1,a\n2,b\n")
    open_quote = "".join(f'{n},"slow\n' if n == 3 else f"{n},slow\n" for n in range(1, 9))
    (folder / "open.csv").write_text("movieId,tag\n" + open_quote)
    features, message = WRONG[case]
    data = Data.model_validate({"likes": "likes.csv", "features": features})
    with pytest.raises(InputError, match=message):
        check_input("sample", data, Split())


def test_rows_that_are_left_out_are_counted_for_each_table(folder: Path) -> None:
    bad = "movieId,tag\n" + "".join(f"{n},slow\n" for n in range(1, 11)) + "NULL,slow\n,noir\n"
    Path("bad.csv").write_text(bad)
    stage = made(["films.csv", "bad.csv"])
    assert stage.outcome.rejected["item features of bad.csv"] == {"no owner": 2}
    assert stage.outcome.rejected["item features of films.csv"] == {}
    assert any("2 of the 12 rows of bad.csv" in note for note in stage.outcome.notes)
    with pytest.raises(InputError, match=r"2 of the 12 rows of bad\.csv .*cannot be used"):
        made(["films.csv", "bad.csv"], largest_left_out=0.1)
    Path("others.csv").write_text("movieId,tag\nx1,slow\nx2,noir\n")
    with pytest.raises(InputError, match=r"none of the 2 items in others\.csv"):
        made(["films.csv", "others.csv"])


def test_an_item_may_have_too_many_features_in_several_tables_together(folder: Path) -> None:
    for name, first in (("a", 0), ("b", 1500)):
        rows = "".join(f"1,tag,{n}\n" for n in range(first, first + 1500))
        Path(f"{name}.csv").write_text(f"movieId,type,value\n{rows}2,tag,fine\n")
    stage = made(["a.csv", "b.csv"])
    assert pairs(stage) == {("2", "tag_fine"): 1.0}
    assert stage.outcome.rejected["item features"] == {"more than 2,000 features on one item": 3000}


REFUSED = {
    'features = ["a", { sorce = "b" }]': r"data\.features\.1\.sorce .*data\.features\.1\.source",
    'features = ["a", 3]': r"data\.features\.1 \(found 3\); expected a valid string",
    'features = ["a", { source = "a" }]': "each table of data.features once, not 'a' twice",
    'features = ["a", "b"]\nfeature_item_column = 1': "the position 1 of a column in the table",
    'features = ["a", "b"]\nfeatures_text = { header = false }': "in each table what",
    '[[data.user_features]]\nsource = "a"\nitem_column = "b"': "item_column is no setting",
    '[[data.features]]\nsource = "a"\nquote = ";"\ndelimiter = ";"': r"data\.features\.0; .*differ",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_is_wrong_with_the_configuration_is_said(text: str, tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text(f'[data]\nlikes = "x"\n{text}\n')
    with pytest.raises(ConfigError, match=REFUSED[text]):
        load_config(tmp_path / "mine.toml")


def test_a_configuration_is_written_without_secrets_and_read_again() -> None:
    features = ["a.csv", {"source": "s3://ann:pw@bucket/b.csv", "header": False}]
    data = Data.model_validate({"likes": "x", "features": features})
    text = data.model_dump_json()
    assert "pw" not in text
    again = Data.model_validate_json(text)
    assert [table.source for table in again.feature_tables("item")] == [
        "a.csv", "s3://***@bucket/b.csv",
    ]  # fmt: skip


@pytest.mark.parametrize("header", [True, False])
def test_inspect_writes_a_configuration_that_reads_all_tables(header: bool, folder: Path) -> None:
    likes = pd.DataFrame(LIKES)
    likes.to_csv("likes.csv", index=False, header=["userId", "movieId"] if header else False)
    films = pd.DataFrame(FILMS)
    films.to_csv(
        "films.csv", index=False, header=["movieId", "title", "genres"] if header else False
    )
    Path("links.csv").write_text(
        "movieId,imdbId\n" + "".join(f"{n},{n + 900}\n" for n in range(1, 40))
    )
    sides = "".join(f"{n},{('us', 'de')[n % 2]}\n" for n in range(1, 11))
    Path("countries.csv").write_text(("movieId,country\n" if header else "") + sides)
    tables = ["films.csv", "tags.csv", "links.csv", "countries.csv"]
    for order in (tables, tables[::-1], [*tables[2:], *tables[:2]]):
        found = inspect(["likes.csv", *order])
        Path("mine.toml").write_text(configuration(found))
        data = load_config(Path("mine.toml")).data
        assert data is not None
        stage = ingest(Path("interim"), data, sources_of(data))
        features = {name.partition("_")[2] for _, name in pairs(stage)}
        assert features == {"drama", "comedy", "horror", "slow", "noir", "us", "de"}
        names = persistence.load_names(Path(stage.path) / "items.parquet")
        assert names is not None
        assert "Film 1" in names.to_pylist()
    assert '# features = "links.csv"' in Path("mine.toml").read_text()


def test_inspect_tells_columns_of_one_place_apart(folder: Path) -> None:
    for name, values in (("countries", ("us", "de")), ("moods", ("dark", "light"))):
        rows = "".join(f"{n},{values[n % 2]}\n" for n in range(1, 11))
        Path(f"{name}.csv").write_text(rows)
    found = inspect(["likes.csv", "countries.csv", "moods.csv"])
    Path("mine.toml").write_text(configuration(found))
    assert 'columns = { "2" = "moods 2" }' in Path("mine.toml").read_text()
    data = load_config(Path("mine.toml")).data
    assert data is not None
    stage = ingest(Path("interim"), data, sources_of(data))
    assert {name for _, name in pairs(stage)} == {
        "2_us", "2_de", "moods 2_dark", "moods 2_light",
    }  # fmt: skip


def test_inspect_leaves_out_a_table_of_other_ids_and_says_so(folder: Path) -> None:
    Path("others.csv").write_text("movieId,tag\n001,slow\n002,noir\n")
    Path("half.csv").write_text("movieId,tag\n1,slow\n,noir\n")
    found = inspect(["likes.csv", "films.csv", "others.csv", "half.csv"])
    assert "would without zeros in front: '001' there, '1' in the" in found[2].questions[0]
    assert "1 of the 2 rows of half.csv (50.0%) cannot be used" in found[3].questions[0]
    Path("mine.toml").write_text(configuration(found))
    data = load_config(Path("mine.toml")).data
    assert data is not None
    assert [table.source for table in data.feature_tables("item")] == ["films.csv"]
    ingest(Path("interim"), data, sources_of(data))


def test_in_python_several_tables_are_a_list(folder: Path) -> None:
    films = recsys.read_features("films.csv", columns={"genres": "genre"})
    both = recsys.read_features([films, "tags.csv"])
    assert as_dict(both) == {
        (n, name.replace("genres", "genre")): w for (n, name), w in EXPECTED.items()
    }
    counted = recsys.read_features(pd.read_csv("tags.csv"), repeats="sum")
    assert as_dict(counted) == {("1", "tag_slow"): 2.0, ("2", "tag_noir"): 1.0}
    model = recsys.fit(
        recsys.read_interactions("likes.csv"), no_components=2, epochs=1,
        features=["films.csv", pd.read_csv("tags.csv")],
    )  # fmt: skip
    assert model.bundle.item_features is not None
    assert len(model.bundle.item_features.vocabulary.features) == 5
    with pytest.raises(InputError, match="features of item and user"):
        recsys.read_features([films, recsys.read_features("tags.csv", kind="user")])
    with pytest.raises(InputError, match="features of nothing"):
        recsys.read_features([])


ROWS = st.lists(
    st.tuples(st.sampled_from("abc"), st.sampled_from("xyz"), st.sampled_from([0.5, 1.0, 4.0])),
    min_size=1,
)


@settings(max_examples=25)
@given(st.lists(ROWS, min_size=1, max_size=4), st.randoms())
def test_tables_together_are_what_one_table_of_their_rows_is(
    tables: list[list[tuple[str, str, float]]], chance: Any
) -> None:
    def read(rows: list[tuple[str, str, float]], repeats: Any) -> FeatureTable:
        frame = pd.DataFrame(rows, columns=["item", "value", "w"]).assign(type="tag")
        return read_features(frame, FeatureColumns(weight="w", repeats=repeats))[0]

    for repeats in ("max", "sum"):
        whole = read([row for rows in tables for row in rows], repeats)
        shuffled = [chance.sample(rows, len(rows)) for rows in chance.sample(tables, len(tables))]
        parts = combined([read(rows, repeats) for rows in shuffled], repeats)
        assert as_dict(parts.features) == as_dict(whole)
        items = IdMap(pa.array(["a", "b", "c"]), "item")
        assert np.array_equal(
            encode(parts.features, items).matrix.toarray(), encode(whole, items).matrix.toarray()
        )
