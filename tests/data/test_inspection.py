"""`recsys inspect` finds out what files are, and writes a configuration that reads them."""

from __future__ import annotations

import json
import sqlite3
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import polars
import pyarrow as pa
import pytest
import scipy.sparse as sp

import recsys
from recsys.base.config_file import load_config
from recsys.base.errors import ConfigError, InputError
from recsys.cli.commands import command_line
from recsys.data.inspection import configuration, inspect
from recsys.data.tables import fingerprint, open_table
from recsys.pipeline.preparation import ingest, sources_of
from tests.fixtures.planted import planted

RATINGS = [
    (1 + n % 20, 1 + (n * 7 + n // 20) % 12, 1 + n % 5, 1_600_000_000 + n * 86_400)
    for n in range(240)
]
FILMS = [(n, f"Film, The {n}", "Drama|Comedy" if n % 2 else "Horror") for n in range(1, 13)]


def written(folder: Path, header: bool) -> list[str]:
    ratings = pd.DataFrame(RATINGS, columns=["userId", "movieId", "rating", "timestamp"])
    films = pd.DataFrame(FILMS, columns=["movieId", "title", "genres"])
    for table, name in ((films, "films.csv"), (ratings, "ratings.csv")):
        table.to_csv(folder / name, index=False, header=header)
    return [str(folder / "ratings.csv"), str(folder / "films.csv")]


@pytest.mark.parametrize("header", [True, False])
def test_the_configuration_that_is_written_reads_the_files(header: bool, tmp_path: Path) -> None:
    found = inspect(written(tmp_path, header))
    likes, films = found
    assert (likes.role, films.role) == ("likes", "features")
    assert likes.rows == 240
    assert likes.counts["interactions"] + sum(likes.left_out.values()) == 240
    assert likes.over_time.endswith(" 2021-05-10")
    assert any("from which rating on" in question for question in likes.questions)
    assert films.counts == {"items": 12, "features": 3}
    path = tmp_path / "mine.toml"
    path.write_text(configuration(found), encoding="utf-8")
    data = load_config(path).data
    assert data is not None
    made = ingest(tmp_path / "interim", data, sources_of(data)).outcome
    assert made.interactions == likes.counts["interactions"]
    assert made.item_features == 3
    assert "# to be decided: from which rating on" in path.read_text()


def test_the_likes_are_the_table_with_users_and_items(tmp_path: Path) -> None:
    ratings, films = written(tmp_path, True)
    assert [each.source for each in inspect([films, ratings])] == [ratings, films]


def test_the_first_table_is_the_likes_where_names_do_not_decide(tmp_path: Path) -> None:
    ratings = written(tmp_path, header=False)[0]
    tags = tmp_path / "tags.csv"
    tags.write_text("userId,movieId,tag,timestamp\n1,2,noir,1600000000\n2,3,slow,1600000001\n")
    found = inspect([ratings, str(tags)])
    assert [(each.source, each.role == "likes") for each in found] == [
        (ratings, True), (str(tags), False),
    ]  # fmt: skip


def test_files_without_a_header_are_known_in_any_order(tmp_path: Path) -> None:
    ratings, films = written(tmp_path, header=False)
    tags = tmp_path / "tags.csv"
    rows = [f"{1 + n % 20},{1 + n % 12},{('noir', 'slow')[n % 2]},1600000000\n" for n in range(40)]
    tags.write_text("userId,movieId,tag,timestamp\n" + "".join(rows))
    for order in ([films, ratings, str(tags)], [str(tags), films, ratings]):
        found = inspect(order)
        assert found[0].source == ratings
        assert {each.source: each.role for each in found[1:]} == {
            films: "features", str(tags): "features",
        }  # fmt: skip
        path = tmp_path / "mine.toml"
        path.write_text(configuration(found), encoding="utf-8")
        data = load_config(path).data
        assert data is not None
        assert [table.source for table in data.feature_tables("item")] == [
            each.source for each in found[1:]
        ]
        made = ingest(tmp_path / "interim", data, sources_of(data)).outcome
        assert made.interactions == found[0].counts["interactions"]
        assert made.item_features == sum(each.counts["features"] for each in found[1:])


def test_the_command_writes_no_file_over_another(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files, target = written(tmp_path, True), tmp_path / "mine.toml"
    command: Any = command_line()
    command.main(["inspect", *files, "--write", str(target)], standalone_mode=False)
    assert "core interactions" in capsys.readouterr().out
    assert target.exists()
    with pytest.raises(ConfigError, match="is there"):
        command.main(["inspect", *files, "--write", str(target)], standalone_mode=False)
    command.main(["inspect", *files, "--json"], standalone_mode=False)
    shown = json.loads(capsys.readouterr().out)
    assert [each["role"] for each in shown] == ["likes", "features"]


def test_a_part_of_a_file_is_named_after_a_mark(tmp_path: Path) -> None:
    likes = pd.DataFrame(RATINGS, columns=["user", "item", "stars", "time"])
    other = pd.DataFrame({"a": [1]})
    with sqlite3.connect(tmp_path / "shop.db") as connection:
        likes.to_sql("likes", connection, index=False)
        other.to_sql("other", connection, index=False)
    with pd.ExcelWriter(tmp_path / "book.xlsx") as book:
        other.to_excel(book, sheet_name="other", index=False)
        likes.to_excel(book, sheet_name="likes", index=False)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        archive.writestr("other", "a\n1\n")
        archive.writestr("likes", likes.to_csv(index=False))
    for name in ("shop.db", "book.xlsx", "all.zip"):
        source = str(tmp_path / name)
        data = recsys.read_interactions(f"{source}#likes", liked_from=1)
        assert len(data) + sum(data.rejected.values()) == 240
        assert fingerprint(f"{source}#likes") != fingerprint(f"{source}#other")
        with pytest.raises(InputError, match=f"{name}#"):
            open_table(source)
        with pytest.raises(InputError, match=name):
            open_table(f"{source}#nothing")
    (tmp_path / "a#b.csv").write_text("user,item\nu,i\n")
    assert len(recsys.read_interactions(tmp_path / "a#b.csv")) == 1


def test_a_table_of_duckdb(tmp_path: Path) -> None:
    duckdb = pytest.importorskip("duckdb")
    with duckdb.connect(str(tmp_path / "shop.duckdb")) as connection:
        connection.execute(
            "CREATE TABLE likes AS SELECT i % 9 AS user_id, i AS item_id FROM range(40) t(i)"
        )
    assert len(recsys.read_interactions(tmp_path / "shop.duckdb")) == 40


def test_tables_in_memory_are_read_alike() -> None:
    frame = pd.DataFrame(RATINGS, columns=["user", "item", "stars", "time"])[["user", "item"]]
    table = pa.Table.from_pandas(frame)
    wanted = recsys.read_interactions(frame).matrix()
    for source in (table, polars.from_arrow(table), table.to_reader()):
        assert (recsys.read_interactions(source).matrix() != wanted).nnz == 0
    matrix = recsys.read_interactions(sp.csr_matrix([[0, 2.0], [1.0, 0]]))
    assert matrix.users.ids.to_pylist() == matrix.items.ids.to_pylist() == ["0", "1"]
    assert matrix.matrix().toarray().tolist() == [[0, 2], [1, 0]]


def test_ids_that_do_not_meet_are_said(tmp_path: Path) -> None:
    (tmp_path / "likes.csv").write_text("user,item\nu1,007\nu2,007\nU1,042\n")
    (tmp_path / "tags.csv").write_text("item,type,value\n7,tag,a\n42,tag,b\n")
    likes, features = inspect([str(tmp_path / "likes.csv"), str(tmp_path / "tags.csv")])
    (said,) = [note for note in likes.notes if "Unicode form" in note]
    assert "'U1' and 'u1'" in said
    (said,) = [note for note in features.notes if "match no item" in note]
    assert "2 of the 2 items" in said
    assert "would without zeros in front: '42' there, '042' in the likes" in said


def test_columns_without_a_header_are_said_to_be_and_what_they_probably_are(
    tmp_path: Path,
) -> None:
    (tmp_path / "likes.csv").write_text("1;2\n3;4\n3;2\n")
    (found,) = inspect([str(tmp_path / "likes.csv")])
    assert [(column.name, column.role) for column in found.columns] == [
        ("1", "user"),
        ("2", "item"),
    ]
    assert found.notes[0] == "the first line is data: columns are called by their position"


def test_units_that_differ_are_asked_about_and_rows_of_another_width_named(
    tmp_path: Path,
) -> None:
    frame = planted()[0]
    seconds = 1_700_000_000 + np.arange(len(frame))
    mixed = np.where(np.arange(len(frame)) % 2, seconds, seconds * 1000)
    frame.assign(timestamp=mixed).to_csv(tmp_path / "mixed.csv", index=False)
    (found,) = inspect([str(tmp_path / "mixed.csv")])
    assert any("milliseconds" in question for question in found.questions)
    (tmp_path / "wide.csv").write_text("user,item\n" + "a,b,\n" * 20)
    with pytest.raises(InputError, match="another number of fields"):
        inspect([str(tmp_path / "wide.csv")])


def test_columns_without_a_name_do_not_keep_a_file_from_being_inspected(tmp_path: Path) -> None:
    path = tmp_path / "likes.csv"
    path.write_text("user,item,,\n" + "".join(f"u{n % 5},i{n},,\n" for n in range(20)))
    (found,) = inspect([str(path)])
    assert found.counts["interactions"] == 20
    assert [column.name for column in found.columns] == ["user", "item"]
