"""Item tables with a row for each item: columns become features, cells hold several values."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from recsys.base.config import Config, Data, Text, Threshold
from recsys.base.errors import InputError
from recsys.data import persistence
from recsys.data.features import FeatureColumns, FeatureRows, read_feature_table
from recsys.gallery.pictures import pictures
from recsys.pipeline import preparation
from recsys.recommend.availability import read_availability

GENRES = ["Drama", "Comedy|Drama", "Horror", "Comedy", "Drama|Horror"]


def films(**more: Any) -> pd.DataFrame:
    table = {
        "filmId": range(1, 61),
        "title": [f"Film, The {n} ({1960 + n})" for n in range(60)],
        "genres": [GENRES[n % 5] for n in range(60)],
    }
    return pd.DataFrame(table | more)


def read(frame: pd.DataFrame, **columns: Any) -> FeatureRows:
    found = read_feature_table(frame, FeatureColumns(**({"owner": "filmId"} | columns)))
    assert found.rows == len(frame)
    return found


def names(found: FeatureRows) -> list[str]:
    return found.features.names.to_pylist()


def test_a_column_is_a_type_of_features_and_a_cell_several_values() -> None:
    found = read(films())
    assert names(found) == ["genres_comedy", "genres_drama", "genres_horror"]
    assert len(found.features) == 84
    assert found.named is not None
    assert found.named.to_pylist()[0] == {"id": "1", "name": "Film, The 0 (1960)"}
    assert any("split at '|'" in note for note in found.notes)
    whole = read(films(), separator="")
    assert "genres_comedy|drama" in names(whole)


def test_lists_are_several_values() -> None:
    lists = [text.split("|") for text in films().genres]
    assert names(read(films(genres=lists))) == names(read(films()))
    printed = [str(text.split("|")) for text in films().genres]
    assert names(read(films(genres=printed))) == names(read(films()))
    spaced = films().genres.str.replace("|", " ; ")
    assert names(read(films(genres=spaced))) == names(read(films()))


def test_columns_may_be_named() -> None:
    more = {"studio": [f"S{n % 4}" for n in range(60)], "director": "Somebody"}
    found = read(films(**more), wide=("studio",), name="")
    assert names(found) == ["studio_s0", "studio_s1", "studio_s2", "studio_s3"]
    assert found.named is None
    with pytest.raises(InputError, match="expected a column actor"):
        read(films(), wide=("actor",))


def test_what_is_another_value_for_every_item_is_no_feature_and_it_is_said() -> None:
    more = {
        "imdb": [7_000_000 + n for n in range(60)],
        "plot": [f"In which {n} things happen" for n in range(60)],
    }
    found = read(films(**more))
    assert names(found) == ["genres_comedy", "genres_drama", "genres_horror"]
    for column in ("imdb", "plot"):
        assert any(note.startswith(f"{column} of") and "left out" in note for note in found.notes)
    with pytest.raises(InputError, match=r"plot of .* another value for almost every row"):
        read(films(**more), wide=("plot",))


def test_numbers_are_values_where_they_are_few_and_ranges_where_they_are_many() -> None:
    more = {"stars": [n % 5 for n in range(60)], "price": np.arange(60) * 1.25}
    found = names(read(films(**more), wide=("stars", "price")))
    assert [name for name in found if name.startswith("stars")] == [f"stars_{n}" for n in range(5)]
    ranges = [name for name in found if name.startswith("price")]
    assert len(ranges) == 10
    assert "price_0 to 7.375" in ranges


def test_values_of_a_long_table_are_split_where_it_is_said_and_else_it_is_asked() -> None:
    frame = films().rename(columns={"genres": "value"}).assign(type="genre")
    found = read_feature_table(frame[["filmId", "type", "value"]], FeatureColumns(owner="filmId"))
    assert any("data.feature_separator = '|'" in note for note in found.notes)
    split = FeatureColumns(owner="filmId", separator="|")
    assert names(read_feature_table(frame[["filmId", "type", "value"]], split)) == [
        "genre_comedy", "genre_drama", "genre_horror",
    ]  # fmt: skip
    spaced = frame.assign(value=" " + frame.value.str.split("|").str[0] + " ")
    assert names(read_feature_table(spaced[["filmId", "type", "value"]], split)) == [
        "genre_comedy", "genre_drama", "genre_horror",
    ]  # fmt: skip


def test_a_table_with_a_kind_and_a_category_of_each_item_is_wide() -> None:
    frame = films().drop(columns="genres").assign(
        type=["film", "series"] * 30, category=["a", "b", "c"] * 20, price=range(60)
    )  # fmt: skip
    found = names(read(frame))
    assert {"type_film", "type_series", "category_a", "category_b", "category_c"} <= set(found)


def test_titles_of_the_item_table_are_the_names_of_the_catalogue(tmp_path: Path) -> None:
    rows = [(f"u{n % 12}", 1 + (n * 7 + n // 12) % 50) for n in range(400)]
    likes = pd.DataFrame(rows, columns=["userId", "filmId"])
    likes.to_csv(tmp_path / "likes.csv", index=False)
    films().to_csv(tmp_path / "films.csv", index=False, sep=";", encoding="utf-16")
    users = pd.DataFrame(
        {"userId": [f"u{n}" for n in range(12)], "age": [n % 3 for n in range(12)]}
    )
    users.to_parquet(tmp_path / "users.parquet")
    data = Data(
        likes=str(tmp_path / "likes.csv"),
        features=str(tmp_path / "films.csv"),
        user_features=str(tmp_path / "users.parquet"),
        item_column="filmId",
    )
    made = preparation.ingest(tmp_path / "interim", data, preparation.sources_of(data))
    assert made.outcome.item_features == 3
    assert made.outcome.user_features == 3
    core = preparation.threshold(tmp_path / "interim", made, Threshold(user_min=1, item_min=1))
    catalogue = Path(core.path) / "catalogue.parquet"
    ids = persistence.load_ids(catalogue, "item").ids.to_pylist()
    called = persistence.load_names(catalogue)
    assert called is not None
    assert len(ids) == 60
    assert called.to_pylist() == [f"Film, The {int(i) - 1} ({1959 + int(i)})" for i in ids]


def test_a_file_of_features_has_a_dialect_of_its_own(tmp_path: Path) -> None:
    likes = "".join(f"u{n % 12};{1 + n % 50}\n" for n in range(300))
    (tmp_path / "likes.csv").write_text("user;filmId\n" + likes)
    films().to_csv(tmp_path / "films.csv", index=False)
    places = {"likes": str(tmp_path / "likes.csv"), "features": str(tmp_path / "films.csv")}
    # What is set for all files is not in the first line of this one.
    for settings in ({"delimiter": ";"}, {"features_text": Text(delimiter=",")}):
        data = Data(**places, item_column="filmId", **settings)
        made = preparation.ingest(tmp_path / "interim", data, preparation.sources_of(data))
        assert made.outcome.item_features == 3
    wrong = Data(**places, item_column="filmId", features_text=Text(delimiter="|"))
    with pytest.raises(InputError, match=r"films\.csv"):
        preparation.ingest(tmp_path / "interim", wrong, preparation.sources_of(wrong))


def test_an_arrow_list_of_numbers_is_a_list_of_values(tmp_path: Path) -> None:
    table = pa.table({"item": ["a", "b"], "tags": pa.array([[1, 2], [2]], pa.list_(pa.int64()))})
    pq.write_table(table, tmp_path / "items.parquet")
    assert names(read_feature_table(tmp_path / "items.parquet")) == ["tags_1", "tags_2"]


PLOTS = [
    f"A {who} from {where} looks for the {what} of case number {n}"
    for n, (who, where, what) in enumerate(
        (who, where, what)
        for who in ("detective", "robot", "pirate", "chef")
        for where in ("Paris", "Lagos", "Oslo", "Lima", "Kyoto")
        for what in ("treasure", "murderer", "recipe")
    )
]


def weights(found: FeatureRows, prefix: str) -> dict[str, list[float]]:
    features = found.features
    return {
        name: features.weight[features.feature == at].round(3).tolist()
        for at, name in enumerate(names(found))
        if name.startswith(prefix)
    }


def test_long_texts_are_taken_by_their_terms_and_titles_where_it_is_said() -> None:
    found = read(films(plot=PLOTS), term_min_items=12, term_max_share=0.5)
    terms = weights(found, "plot")
    assert sorted(terms) == [
        f"plot_{term}"
        for term in ("chef", "detective", "kyoto", "lagos", "lima", "murderer", "oslo", "paris",
                     "pirate", "recipe", "robot", "treasure")
    ]  # fmt: skip
    # A text weighs as much as four tags: three terms, of which each weighs as much.
    assert terms["plot_oslo"] == [pytest.approx(2 / 3**0.5, abs=1e-3)] * 12
    assert weights(found, "genres")["genres_comedy"] == [1.0] * 24
    assert any("12 terms" in note for note in found.notes)
    titled = read(films(), texts=("title",), term_max_share=1.0)
    assert "title_film" in names(titled)
    assert titled.named is not None


def test_embeddings_are_components_centred_and_of_one_length() -> None:
    vectors = np.random.default_rng(3).normal(5, 1, (60, 12))
    for cells in (list(vectors), [str(row.tolist()) for row in vectors]):
        found = read(films(vec=cells), wide=("vec",))
        assert names(found) == [f"vec_dimension {n:02}" for n in range(12)]
        matrix = np.zeros((60, 12))
        matrix[found.features.owner, found.features.feature] = found.features.weight
        assert np.linalg.norm(matrix, axis=1) == pytest.approx(np.full(60, 8.0))
        assert (matrix < 0).any()
    uneven = films(vec=[row[: 1 + n % 2] for n, row in enumerate(vectors)])
    with pytest.raises(InputError, match="1 to 2 numbers"):
        read(uneven, wide=("vec",))


def test_dates_are_taken_by_their_age() -> None:
    latest = pd.Timestamp("2026-11-01")
    dates = pd.Series([latest - pd.Timedelta(days=40 * n) for n in range(60)])
    written = dates.dt.strftime("%Y-%m-%d")
    seconds = (dates - pd.Timestamp(0)) // pd.Timedelta(seconds=1)
    for column, name in ((dates, "released"), (written, "released"), (seconds, "created_at")):
        found = weights(read(films(**{name: column}), wide=(name,)), name)
        assert {value.split("_")[-1]: len(w) for value, w in found.items()} == {
            "up to 30 days": 1, "30 to 90 days": 2, "90 days to 1 year": 7, "1 to 2 years": 9,
            "2 to 5 years": 27, "5 to 10 years": 14,
        }  # fmt: skip


def test_pictures_and_stock_are_no_features_and_when_a_tag_was_given_neither() -> None:
    more = {"image_url": "https://x.org/1.jpg", "in_stock": [n % 2 for n in range(60)]}
    assert names(read(films(**more, created_at=["2020-01-01", "2026-01-01"] * 30))) == [
        "created_at_5 to 10 years", "created_at_up to 30 days",
        "genres_comedy", "genres_drama", "genres_horror",
    ]  # fmt: skip
    tags = films(user_id=1, movieId=1, timestamp=range(60)).drop(columns="title")
    assert not any(name.startswith("timestamp") for name in names(read(tags)))


def test_the_item_table_says_what_is_available_and_where_pictures_are(tmp_path: Path) -> None:
    frame = films(
        in_stock=[n % 2 for n in range(60)],
        poster=[f"https://films.example/{n}.jpg" for n in range(60)],
        plot=["two\nlines"] * 60,
    ).rename(columns={"filmId": "movieId"})
    frame.to_csv(tmp_path / "films.csv", index=False)
    found = read_availability(tmp_path / "films.csv")
    assert len(found.items) == 60
    assert found.open_at(0).sum() == 30
    data = Data(likes="likes.csv", features=str(tmp_path / "films.csv"))
    assert pictures(Config(data=data)).urls["1"] == "https://films.example/0.jpg"
    tags = films(tag="slow", number=range(101, 161), cover="https://films.example/x.jpg")
    tags.to_csv(tmp_path / "tags.csv", index=False)
    both = {"source": str(tmp_path / "tags.csv"), "item_column": "number"}
    data = Data.model_validate({"likes": "x", "features": [str(tmp_path / "films.csv"), both]})
    urls = pictures(Config(data=data)).urls
    assert urls["1"] == "https://films.example/0.jpg"
    assert urls["101"] == "https://films.example/x.jpg"
    assert len(urls) == 120
    gone = Data(likes="likes.csv", features=str(tmp_path / "gone.csv"))
    assert pictures(Config(data=gone)).urls == {}


def test_lists_that_are_written_as_text_are_several_values() -> None:
    wanted = names(read(films()))
    parts = [text.split("|") for text in films().genres]
    objects = [[{"id": n, "name": part} for n, part in enumerate(one)] for one in parts]
    for lists in (parts, objects):
        for write in (str, json.dumps):
            found = read(films(genres=[write(one) for one in lists]))
            assert names(found) == wanted
            assert any("genres of" in note and "lists as text" in note for note in found.notes)
    # As JSON lines have them, some of them empty.
    rows = [{"filmId": n, "genres": one if n % 7 else []} for n, one in enumerate(objects)]
    assert names(read(films(genres=[str(row["genres"]) for row in rows]))) == wanted
    # A text in brackets is no list.
    odd = read(films(genres=[f"[{text}]" for text in films().genres]), separator="")
    assert "genres_[comedy|drama]" in names(odd)


def test_objects_in_lists_of_json_lines_are_their_names(tmp_path: Path) -> None:
    lines = [{"filmId": n, "tags": [{"name": "slow"}, {"name": "noir"}][: n % 3]} for n in range(9)]
    (tmp_path / "films.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    found = read_feature_table(tmp_path / "films.jsonl", FeatureColumns(owner="filmId"))
    assert names(found) == ["tags_noir", "tags_slow"]


def test_a_long_table_without_a_type_has_features_of_one(tmp_path: Path) -> None:
    frame = pd.DataFrame({"filmId": [1, 1, 2], "tag": ["slow", "noir", "slow"], "count": [3, 1, 2]})
    for columns in ({"weight": "count"}, {"weight": "count", "value": "tag"}):
        found = read(frame, **columns).features
        assert found.names.to_pylist() == ["tag_noir", "tag_slow"]
        assert found.weight.tolist() == [1, 3, 2]
    with pytest.raises(InputError, match=r"value of features .*data\.feature_value_column"):
        read(frame.rename(columns={"tag": "what"}), weight="count")


def test_categories_in_columns_of_zeros_and_ones_are_the_ones() -> None:
    kinds = ["Action", "Sci-Fi", "Drama", "premium"]
    flags = {kind: [int(n % 4 == place) for n in range(60)] for place, kind in enumerate(kinds)}
    found = read(films(**flags).drop(columns="genres"))
    assert names(found) == ["action_1", "drama_1", "premium_1", "sci-fi_1"]
    assert len(found.features) == 60
    assert "4 columns of" in " ".join(found.notes)
    assert "say 0 or 1 of each row, such as Action" in " ".join(found.notes)
    # One or two of them are attributes whose zeros may say as much.
    two = read(films(Action=flags["Action"], premium=flags["premium"]).drop(columns="genres"))
    assert names(two) == ["action_0", "action_1", "premium_0", "premium_1"]


def test_addresses_describe_nothing_and_months_may_be_words() -> None:
    dates = pd.date_range("1990-01-01", periods=60, freq="30D").strftime("%d-%b-%Y")
    found = read(films(released=dates, link=[f"https://x.org/a/{n % 3}" for n in range(60)]))
    assert not any(name.startswith("link") for name in names(found))
    assert "link of the DataFrame holds addresses" in " ".join(found.notes)
    assert {name for name in names(found) if name.startswith("released")} == {
        f"released_{age}"
        for age in ("up to 30 days", "30 to 90 days", "90 days to 1 year", "1 to 2 years",
                    "2 to 5 years")
    }  # fmt: skip


def test_an_empty_field_in_every_row_is_no_wider_delimiter(tmp_path: Path) -> None:
    path = tmp_path / "u.item"
    rows = [f"{n}|Film {n}|01-Jan-19{90 + n % 9}||http://x/{n}|{n % 2}|{(n + 1) % 2}|1\n"
            for n in range(60)]  # fmt: skip
    path.write_text("".join(rows), "latin-1")
    found = read_feature_table(path, FeatureColumns(owner="1", name="2"))
    assert found.named is not None
    assert found.named.to_pylist()[7] == {"id": "7", "name": "Film 7"}
    assert {name for name in names(found) if not name.startswith("3")} == {"6_1", "7_1", "8_1"}


def test_lists_of_decimals_in_json_lines_are_embeddings(tmp_path: Path) -> None:
    path = tmp_path / "films.jsonl"
    rows = [{"filmId": n, "vector": [n / 7, n % 2, 1.5 - n % 5]} for n in range(60)]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    found = read_feature_table(path, FeatureColumns(owner="filmId"))
    assert names(found) == [f"vector_dimension {place}" for place in range(3)]
