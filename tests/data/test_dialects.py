"""Text in the dialects that people have: found out, or refused with the setting that says it."""

from __future__ import annotations

import bz2
import csv
import gzip
import io
import json
import lzma
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import scipy.sparse as sp

from recsys.base.errors import InputError
from recsys.data.columns import ValueFormat
from recsys.data.dialects import TextFormat
from recsys.data.interactions import (
    InteractionColumns,
    InteractionTable,
    read_interaction_table,
)
from recsys.data.signals import InteractionRules
from recsys.data.tables import open_table

PLAIN = InteractionColumns()
WEIGHED = InteractionColumns(weight="plays")
# Users, items and titles, none of which is easily taken for something else.
ROWS = [
    (f"u{user:02}", f"i{(user * 3 + nth) % 20:02}", f"Title {(user * 3 + nth) % 20}")
    for user in range(30)
    for nth in range(6)
]


def lines(delimiter: str = ",", header: bool = True, end: str = "\n") -> str:
    rows = [("user", "item", "title")] * header + ROWS
    return "".join(delimiter.join(row) + end for row in rows)


def read(
    folder: Path,
    content: str | bytes,
    text: TextFormat = TextFormat(),
    columns: InteractionColumns = PLAIN,
    rules: InteractionRules = InteractionRules(),
    name: str = "likes.csv",
) -> InteractionTable:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    found = read_interaction_table(path, columns, text, rules)
    assert found.rows == len(found.interactions) + sum(found.left_out().values())
    return found


def quoted(escape: str | None = None) -> str:
    stream = io.StringIO()
    writer = csv.writer(
        stream, quoting=csv.QUOTE_ALL, escapechar=escape, doublequote=escape is None
    )
    writer.writerows([("user", "item", "title"), *ROWS, ("u00", "i20", 'say "hi", twice')])
    return stream.getvalue()


WRITTEN: dict[str, str | bytes] = {
    "commas": lines(),
    "semicolons": lines(";"),
    "tabs": lines("\t"),
    "bars": lines("|"),
    "two colons": lines("::"),
    "two bars": lines("||"),
    "Hive's control character": lines("\x01"),
    "Windows line ends": lines(";", end="\r\n"),
    "old Mac line ends": lines(";", end="\r"),
    "a byte order mark": lines(";").encode("utf-8-sig"),
    "utf-16": lines("\t").encode("utf-16"),
    "utf-16 without a mark": lines("\t").encode("utf-16-le"),
    "a line that says the delimiter": "sep=;\r\n" + lines(";", end="\r\n"),
    "that line after a mark": ("sep=\t\r\n" + lines("\t")).encode("utf-8-sig"),
    "blank lines": "\n\n" + lines(",").replace("u07", "\nu07") + "\n\n\n",
    "no line end at the end": lines().rstrip("\n"),
    "gzip": gzip.compress(lines().encode()),
    "two gzip files in one": gzip.compress(lines()[:700].encode())
    + gzip.compress(lines()[700:].encode()),
    "xz": lzma.compress(lines().encode()),
    "zstandard": pa.compress(lines().encode(), codec="zstd", asbytes=True),
    "bzip2": bz2.compress(lines().encode()),
}


@pytest.mark.parametrize("dialect", WRITTEN)
def test_a_dialect_is_found_out(dialect: str, tmp_path: Path) -> None:
    # The name says nothing true of any of them.
    found = read(tmp_path, WRITTEN[dialect], name="likes.txt")
    assert found.interactions.counts() == {"users": 30, "items": 20, "interactions": 180}
    assert found.left_out() == {}
    assert found.names is not None
    assert found.names.to_pylist() == [f"Title {item}" for item in range(20)]


def test_a_zip_of_one_file_is_that_file_and_of_more_is_refused(tmp_path: Path) -> None:
    archive = tmp_path / "likes.csv"
    with zipfile.ZipFile(archive, "w") as stream:
        stream.writestr("export/likes.csv", lines(";"))
        stream.writestr("__MACOSX/export/._likes.csv", b"\0\5")
    assert len(read_interaction_table(archive).interactions) == 180
    with zipfile.ZipFile(archive, "a") as stream:
        stream.writestr("export/users.csv", "user\n")
    with pytest.raises(InputError, match=r"zip archive of 2 files \(export/likes.csv"):
        read_interaction_table(archive)


@pytest.mark.parametrize("escape", [None, "\\"])
def test_quotes_are_doubled_or_escaped(escape: str | None, tmp_path: Path) -> None:
    found = read(tmp_path, quoted(escape))
    assert len(found.interactions) == 181
    assert found.names is not None
    assert found.names.to_pylist()[20] == 'say "hi", twice'


def test_an_accent_in_one_title_is_western_european(tmp_path: Path) -> None:
    content = lines(";").replace("Title 7\n", "Café 7\n").encode("cp1252")
    found = read(tmp_path, content)
    assert found.names is not None
    assert found.names.to_pylist()[7] == "Café 7"
    assert "cp1252" in found.read_as[0]


def test_an_accent_beyond_the_beginning_is_found_too(tmp_path: Path) -> None:
    content = lines() * 120 + "u30,i20,Déjà vu\n"
    assert len(content) > 1 << 18
    found = read(tmp_path, content.replace("user,item,title\n", "", 0).encode("latin-1"))
    assert found.names is not None
    assert found.names.to_pylist()[20] == "Déjà vu"


@pytest.mark.parametrize("encoding", ["cp1251", "shift-jis", "gb18030"])
def test_another_alphabet_is_a_stop_that_names_the_setting(encoding: str, tmp_path: Path) -> None:
    title = {"cp1251": "Мастер и Маргарита"}.get(encoding, "日本語の本と日本語の音楽")
    content = lines(";").replace("Title 7\n", f"{title}\n").encode(encoding)
    with pytest.raises(InputError, match=r"set data\.encoding"):
        read(tmp_path, content)
    found = read(tmp_path, content, TextFormat(encoding=encoding))
    assert found.names is not None
    assert found.names.to_pylist()[7] == title


def test_backslashes_are_letters_where_nothing_is_escaped(tmp_path: Path) -> None:
    users = lines().replace("u", "CORP\\u").replace("CORP\\user", "user")
    found = read(tmp_path, users)
    assert found.interactions.users.id(0) == "CORP\\u00"
    # An unread last column whose quotes would never end if backslashes escaped them.
    rows = "".join(f'{user},{item},"C:\\{item}\\"\n' for user, item, _ in ROWS)
    assert len(read(tmp_path, '"user","item","folder"\n' + rows).interactions) == 180
    root = "".join(f'{user},{item},"C:\\"\n' for user, item, _ in ROWS)
    assert len(read(tmp_path, '"user","item","folder"\n' + root).interactions) == 180


def test_backslashes_escape_where_rows_are_whole_only_then(tmp_path: Path) -> None:
    content = lines("|").replace("Title 7\n", 'Either\\|or \\"7\\"\n')
    found = read(tmp_path, content)
    assert found.left_out() == {}
    assert found.names is not None
    assert found.names.to_pylist()[7] == 'Either|or "7"'


# Of both files the title alone has quotes, and nobody reads it.
TITLES = {
    "one that never ends": [7],
    "one that another title ends": [7, 90],
    "at both ends of the file": [0, 179],
}


@pytest.mark.parametrize("case", TITLES)
@pytest.mark.parametrize("closing", [False, True])
def test_a_quote_that_would_swallow_rows_is_a_stop(
    case: str, closing: bool, tmp_path: Path
) -> None:
    rows = [list(row) for row in ROWS]
    for at in TITLES[case]:
        rows[at][2] = f'"{rows[at][2]}'
    if closing:
        # The text between two such titles looks like one field.
        rows[TITLES[case][-1]][2] = rows[TITLES[case][-1]][2].strip('"') + '"'
    content = "user\titem\ttitle\n" + "".join("\t".join(row) + "\n" for row in rows)
    nameless = InteractionColumns(name="")
    if closing and len(TITLES[case]) == 1:
        # `Title"` has a quote inside of it, which is a letter.
        assert len(read(tmp_path, content, columns=nameless).interactions) == 180
        return
    with pytest.raises(InputError, match=r'not closed in its line.*data\.quote = ""'):
        read(tmp_path, content, columns=nameless)
    letters = read(tmp_path, content, TextFormat(quote=""), nameless)
    assert len(letters.interactions) == 180


@pytest.mark.parametrize("column", [0, 1, 2, 3])
def test_a_line_break_in_a_quoted_field_is_no_row(column: int, tmp_path: Path) -> None:
    table = [[*row, "words"] for row in ROWS]
    for row in table[::7]:
        row[column] = row[column][:1] + "\n" + row[column][1:] + ", and\r\nmore"
    stream = io.StringIO()
    csv.writer(stream).writerows([("user", "item", "title", "text"), *table])
    found = read(tmp_path, stream.getvalue(), columns=InteractionColumns(name=""))
    assert found.rows == 180
    assert "wrong number of fields" not in found.left_out()


def test_line_breaks_across_the_blocks_of_a_long_file_are_no_rows(tmp_path: Path) -> None:
    # Some break must fall on the border of a block of 4 MB, whatever comes before it.
    text = "a line, and\nanother " * 50
    rows = "".join(f'u{n % 100},i{n // 100},"{text}{n}"\n' for n in range(11_000))
    found = read(tmp_path, "user,item,text\n" + rows)
    assert (found.rows, len(found.interactions)) == (11_000, 11_000)


def test_rows_of_another_length_are_counted_among_quotes(tmp_path: Path) -> None:
    content = quoted() + '"u01","i01"\n"u02","i02","x","y"\n'
    found = read(tmp_path, content)
    assert found.left_out() == {"wrong number of fields": 2}


def test_without_a_header_columns_are_positions(tmp_path: Path) -> None:
    rows = "".join(f"{n % 30}::{n % 20}::{n % 5 + 1}::{n}\n" for n in range(60))
    with pytest.raises(InputError, match=r"looks like data \('0', '0', '1', '0'\).*header = false"):
        read(tmp_path, rows)
    columns = InteractionColumns("1", "2", rating="3", timestamp="4")
    found = read(tmp_path, rows, columns=columns, rules=InteractionRules(liked_from=4))
    assert found.rows == 60
    assert found.left_out() == {"rating below 4": 36}
    names = lines("\t", header=False)
    with pytest.raises(InputError, match=r"may be data .*header = false"):
        read(tmp_path, names, columns=InteractionColumns("1", "2", name="3"))
    by_position = TextFormat(header=False)
    found = read(tmp_path, names, by_position, InteractionColumns("1", "2", name="3"))
    assert len(found.interactions) == 180


def test_a_header_is_looked_for_where_positions_are_given(tmp_path: Path) -> None:
    found = read(tmp_path, lines(";"), columns=InteractionColumns("1", "2"))
    assert found.rows == 180


NUMBERS = {
    "decimal commas": ([f"{n % 9},5" if n % 2 else f"{n % 9 + 1}" for n in range(180)], ";", 4.5),
    "commas between thousands": (["1,234", "7", "12", "850"] * 45, ",", 1234.0),
    "points between thousands": (["1.234,5", "7", "0,25", "850"] * 45, ";", 1234.5),
    "blanks between thousands": (["1 234,5", "7", "0,25", "1\u00a0150"] * 45, ";", 1234.5),
    "several commas": (["1,234,567", "7", "12", "1,000"] * 45, ";", 1234567.0),
}


@pytest.mark.parametrize("case", NUMBERS)
def test_numbers_are_read_by_all_of_their_column(case: str, tmp_path: Path) -> None:
    numbers, delimiter, largest = NUMBERS[case]
    stream = io.StringIO()
    rows = [(*row, number) for row, number in zip(ROWS, numbers, strict=True)]
    csv.writer(stream, delimiter=delimiter).writerows([("user", "item", "title", "plays"), *rows])
    found = read(tmp_path, stream.getvalue(), columns=WEIGHED)
    assert found.left_out() == {}
    assert found.interactions.weight is not None
    if case != "decimal commas":
        assert found.interactions.weight.max() == largest
    else:
        assert set(found.interactions.weight % 1) == {0, 0.5}


def test_a_point_that_may_mean_two_things_is_a_stop(tmp_path: Path) -> None:
    def content(*plays: str) -> str:
        rows = (f"{u};{i};{plays[n % len(plays)]}\n" for n, (u, i, _) in enumerate(ROWS))
        return "user;item;plays\n" + "".join(rows)

    with pytest.raises(InputError, match=r"'1\.204', whose point .*data\.decimal"):
        read(tmp_path, content("1.204", "87"), columns=WEIGHED)
    grouped = InteractionRules(values=ValueFormat(decimal=","))
    found = read(tmp_path, content("1.204", "87"), columns=WEIGHED, rules=grouped)
    assert found.interactions.weight is not None
    assert set(found.interactions.weight.tolist()) == {1204, 87}
    # Decimals beyond doubt.
    for plays in (["1.204", "0.087"], ["1.204", "1204"], ["1.2", "87"], ["1.204", "87.000"]):
        weight = read(tmp_path, content(*plays), columns=WEIGHED).interactions.weight
        assert weight is not None
        assert weight.max() == np.float32(max(map(float, plays)))


def test_a_comma_that_may_mean_two_things_is_a_stop(tmp_path: Path) -> None:
    rows = "".join(f"{user};{item};{n % 9 + 1},250\n" for n, (user, item, _) in enumerate(ROWS))
    content = "user;item;plays\n" + rows
    with pytest.raises(InputError, match=r"'1,250', whose comma .*data\.decimal"):
        read(tmp_path, content, columns=WEIGHED)


def saved_matrix() -> bytes:
    """What SciPy writes of a matrix."""
    buffer = io.BytesIO()
    sp.save_npz(buffer, sp.eye(3, format="csr"))
    return buffer.getvalue()


def test_what_is_no_table_is_named_and_never_becomes_columns(tmp_path: Path) -> None:
    refused: dict[bytes, str] = {
        b"<!DOCTYPE html><html>log in</html>": "a page of HTML",
        b"\x89PNG\r\n\x1a\n": "a picture",
        b"%PDF-1.7": "a PDF",
        b"\x80\x05\x95": "a Python pickle",
        b"ORC\x08": "an ORC file",
        b"PARE\x08": "an encrypted Parquet",
        b"<likes><like><user>a</user><item>b</item></like></likes>": "a page of HTML or XML",
        b"<stata_dta><header></header>": "a Stata file",
        b"-- dump\nINSERT INTO likes VALUES\n('a','b'),\n('a','c');\n": "a script of SQL",
        gzip.compress(b"X\n\x00\x00\x00\x03"): "a file of R",
        b"%%MatrixMarket matrix coordinate real general\n2 2 1\n1 1 1\n": r"scipy\.io\.mmread",
        saved_matrix(): r"archive of NumPy arrays.*scipy\.sparse\.load_npz",
        b"\x00\x01\x02\x03binary\x04": "does not begin with a line of text",
    }
    for content, said in refused.items():
        with pytest.raises(InputError, match=said):
            read(tmp_path, content)


def as_json_lines(folder: Path) -> Path:
    frame = pd.DataFrame(ROWS, columns=["user", "item", "title"])
    frame.to_json(folder / "likes.csv", orient="records", lines=True)
    return folder / "likes.csv"


def as_json(folder: Path) -> Path:
    frame = pd.DataFrame(ROWS, columns=["user", "item", "title"])
    frame.to_json(folder / "likes.csv", orient="records", indent=1)
    return folder / "likes.csv"


def as_json_columns(folder: Path) -> Path:
    frame = pd.DataFrame(ROWS, columns=["user", "item", "title"])
    frame.to_json(folder / "likes.json")
    return folder / "likes.json"


def as_json_lists(folder: Path) -> Path:
    frame = pd.DataFrame(ROWS, columns=["user", "item", "title"])
    (folder / "likes.json").write_text(json.dumps(frame.to_dict("list"), indent=1))
    return folder / "likes.json"


def as_json_one_after_the_other(folder: Path) -> Path:
    frame = pd.DataFrame(ROWS, columns=["user", "item", "title"])
    rows = [json.dumps(row, indent=n % 2) for n, row in enumerate(frame.to_dict("records"))]
    (folder / "likes.json").write_text(" ".join(rows))
    return folder / "likes.json"


def as_parquet(folder: Path) -> Path:
    frame = pd.DataFrame(ROWS, columns=["user", "item", "title"])
    frame.to_parquet(folder / "likes.parquet.gzip", compression="gzip")
    return folder / "likes.parquet.gzip"


def as_feather(folder: Path) -> Path:
    frame = pd.DataFrame(ROWS, columns=["user", "item", "title"])
    frame.to_feather(folder / "likes.csv")
    return folder / "likes.csv"


def as_parts(folder: Path) -> Path:
    whole = lines().splitlines(keepends=True)
    parts = folder / "likes"
    parts.mkdir()
    (parts / "part-0.csv").write_text("".join(whole[:90]))
    (parts / "part-1.csv.gz").write_bytes(gzip.compress("".join([whole[0], *whole[90:]]).encode()))
    (parts / "part-2.csv").write_text("")
    (parts / "_SUCCESS").write_text("")
    (parts / ".part-0.csv.crc").write_bytes(b"crc")
    return parts


def as_partitions(folder: Path) -> Path:
    frame = pd.DataFrame(ROWS, columns=["user", "item", "title"])
    frame.to_parquet(folder / "likes", partition_cols=["item"])
    return folder / "likes"


@pytest.mark.parametrize(
    "kept",
    [
        as_json_lines, as_json, as_json_columns, as_json_lists, as_json_one_after_the_other,
        as_parquet, as_feather, as_parts, as_partitions,
    ],
)  # fmt: skip
def test_a_file_is_read_as_what_it_is(kept: Callable[[Path], Path], tmp_path: Path) -> None:
    found = read_interaction_table(kept(tmp_path))
    assert found.rows == 180
    assert found.interactions.counts() == {"users": 30, "items": 20, "interactions": 180}
    assert found.names is not None
    assert found.names.to_pylist() == [f"Title {item}" for item in range(20)]


def test_a_delta_table_is_not_read_as_a_folder(tmp_path: Path) -> None:
    # Rows that were deleted from it are still in its files.
    parts = as_parts(tmp_path)
    (parts / "_delta_log").mkdir()
    (parts / "_delta_log" / "0.json").write_text("{}")
    with pytest.raises(InputError, match="a Delta Lake table"):
        read_interaction_table(parts)


def test_titles_that_come_later_and_ids_that_change_their_type(tmp_path: Path) -> None:
    first = {"user": [1000, 1001], "item": ["a", "b"], "title": pa.nulls(2)}
    second = {"user": ["01000", "1001"], "item": ["a", "c"], "title": ["A", "C"]}
    for name, columns in (("1.parquet", first), ("2.parquet", second)):
        pq.write_table(pa.table(columns), tmp_path / name)
    rules = InteractionRules(ValueFormat(one_type=True))
    with pytest.raises(InputError, match=r'numbers in some files.*1\.parquet.*data\.ids = "text"'):
        read_interaction_table(tmp_path, rules=rules)
    found = read_interaction_table(tmp_path)
    assert found.interactions.users.ids.to_pylist() == ["01000", "1000", "1001"]
    assert found.names is not None
    assert found.names.to_pylist() == ["A", "", "C"]
    assert any("numbers in some files" in note and "1.parquet" in note for note in found.notes)


def test_a_part_without_users_is_a_stop(tmp_path: Path) -> None:
    parts = as_parts(tmp_path)
    (parts / "part-3.csv").write_text("customer,item\nx,i01\n")
    with pytest.raises(InputError, match=r"part-3\.csv has no column user"):
        read_interaction_table(parts, InteractionColumns(user="user"))


def test_columns_are_known_by_many_names(tmp_path: Path) -> None:
    for user, item in (
        ("userId", "movieId"), ("CUSTOMER_ID", "Article"), ("visitorid", "itemid"),
        ("Customer ID", "Product Code"), ("visitor id", "track_name"), ("user_name", "artist_name"),
        ("Member number", "EAN"), ("reviewer id", "parent_asin"), ("Cust. No", "Item-Code"),
    ):  # fmt: skip
        content = lines().replace("user,item", f"{user},{item}", 1)
        assert len(read(tmp_path, content).interactions) == 180
    with pytest.raises(InputError, match=r"no column is known as the user.*data\.user_column"):
        read(tmp_path, lines().replace("user,", "thing,", 1))


def test_two_ways_of_taking_a_file_apart_are_a_stop(tmp_path: Path) -> None:
    content = "".join(f"{user};x,{item};y\n" for user, item, _ in ROWS)
    with pytest.raises(InputError, match=r"set data\.delimiter"):
        open_table(_written(tmp_path, content.replace(";y", "").replace(";x,", ";,")))


def _written(folder: Path, content: str) -> Path:
    (folder / "likes.csv").write_text(content)
    return folder / "likes.csv"


@pytest.mark.parametrize("row", ["{user},{item},", "{user},{item},5", "{user}"])
def test_rows_that_all_differ_from_the_header_are_said_so(row: str, tmp_path: Path) -> None:
    """As an export writes that ends each row with a delimiter, but not its header."""
    path = tmp_path / "likes.csv"
    rows = [row.format(user=f"u{k % 9}", item=f"i{k}") for k in range(50)]
    path.write_text("\n".join(["user,item", *rows]) + "\n")
    with pytest.raises(InputError) as told:
        read_interaction_table(str(path))
    assert "2 columns (user, item), and each of its 50 rows another number" in str(told.value)
    assert repr(rows[0]) in str(told.value)


def test_apostrophes_around_all_fields_are_a_stop(tmp_path: Path) -> None:
    content = "".join(f"'{user}','{item}'\n" for user, item in [("user", "item"), *PAIRS])
    with pytest.raises(InputError, match=r"""apostrophe .*set data\.quote = "'" """.strip()):
        read(tmp_path, content)
    found = read(tmp_path, content, TextFormat(quote="'"))
    assert found.interactions.counts() == {"users": 30, "items": 20, "interactions": 180}


PAIRS = [(user, item) for user, item, _ in ROWS]


def test_blanks_behind_delimiters_are_no_part_of_fields(tmp_path: Path) -> None:
    wanted = {"users": 30, "items": 20, "interactions": 180}
    found = read(tmp_path, lines(", "))
    assert found.interactions.counts() == wanted
    assert found.interactions.items.id(0) == "i00"
    # Titles with a comma, so that quotes have to count.
    rows = [("user", "item", "title"), *((user, item, f"{t}, x,y") for user, item, t in ROWS)]
    content = "".join(", ".join(f'"{field}"' for field in row) + "\n" for row in rows)
    found = read(tmp_path, content)
    assert (found.interactions.counts(), found.left_out()) == (wanted, {})
    assert found.names is not None
    assert found.names.to_pylist()[7] == "Title 7, x,y"


def test_blanks_in_the_header_alone_are_no_part_of_names(tmp_path: Path) -> None:
    rows = "".join(f'"{user}","{item}","{title}"\n' for user, item, title in ROWS)
    content = '"user_id", "item name", "playlist"\n' + rows
    found = read(tmp_path, content, columns=InteractionColumns(item="playlist"))
    assert found.interactions.counts() == {"users": 30, "items": 20, "interactions": 180}


def test_a_delimiter_of_two_characters_in_quotes_is_text(tmp_path: Path) -> None:
    content = '"user"::"item"::"title"\n' + "".join(f'"{u}"::"{i}"::"{t}::x"\n' for u, i, t in ROWS)
    found = read(tmp_path, content)
    assert found.names is not None
    assert found.names.to_pylist()[7] == "Title 7::x"


DRAWN = {
    "Markdown": "| user | item |\n|------|:----:|\n| u1 | i1 |\n| u2 | i2 |\n",
    "Markdown without bars at the ends": "user | item\n--- | ---\nu1 | i1\nu2 | i2\n",
    "sqlcmd": "user|item\n----|----\nu1|i1\nu2|i2\n",
    "sqlcmd with commas": "user,item\n----,----\nu1,i1\nu2,i2\n",
    "sqlcmd with tabs": "user\titem\n----\t----\nu1\ti1\nu2\ti2\n",
    "sqlcmd with blanks": "user item\n---- ----\nu1   i1\nu2   i2\n",
    "MySQL": "+------+------+\n| user | item |\n+------+------+\n| u1   | i1   |\n",
    "below a title": "# Likes\n\n| user | item |\n|---|---|\n| u1 | i1 |\n| u2 | i2 |\n",
}


@pytest.mark.parametrize("case", DRAWN)
def test_a_table_drawn_for_people_is_a_stop(case: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"a rule at its header \('.*--.*export it as CSV"):
        read(tmp_path, DRAWN[case])
    # Ids of dashes are ids where they are no rule.
    rows = "".join(f"{user}|{item}\n" for user, item in [("user", "item"), *PAIRS, ("--", "--")])
    assert read(tmp_path, rows).interactions.counts()["users"] == 31
