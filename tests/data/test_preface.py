"""What stands above a header or the first row: comments and titles are left out, and it is said."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from recsys.base.errors import InputError
from recsys.data.containers import recognise
from recsys.data.dialects import TextFormat, find_dialect
from recsys.data.inspection import inspect
from recsys.data.interactions import InteractionColumns, read_interaction_table
from recsys.data.tables import locate
from recsys.data.text import TextTable

PAIRS = [(f"u{user}", f"i{(user + nth) % 7}") for user in range(10) for nth in range(4)]


def rows(delimiter: str, header: str = "") -> str:
    return header + "".join(f"{user}{delimiter}{item}\n" for user, item in PAIRS)


COMMENTED = {
    "a network of SNAP": ("# Directed graph: a, b\n# Nodes: 3 Edges: 4\n", "\t", "#user\titem\n"),
    "above a header": ("# exported by a tool\n#\n# rows, 40\n", ",", "user,item\n"),
    "as wide as the rows": ("# rows, 40\n", ",", "user,item\n"),
    "a single one": ("# Who likes what\n", "\t", "user\titem\n"),
    "with blank lines": ("\n# Who, what\n\n# and when\n\n", ",", "user,item\n"),
    "with a quote": ('# from 5" disks\n', ";", "user;item\n"),
    "per cent signs": ("% bip unweighted\n% 40 10 7\n", " ", "user item\n"),
    "Windows line ends": ("# a, b, c\r\n#\r\n", ",", "user,item\n"),
}


@pytest.mark.parametrize("case", COMMENTED)
def test_comments_above_are_left_out_and_counted(case: str, tmp_path: Path) -> None:
    above, delimiter, header = COMMENTED[case]
    path = tmp_path / "likes.txt"
    path.write_bytes((above + rows(delimiter, header)).encode())
    found = read_interaction_table(path)
    assert found.rows == len(found.interactions) == 40
    assert found.interactions.users.ids.to_pylist() == [f"u{user}" for user in range(10)]
    number = sum(bool(line.strip()) for line in above.splitlines())
    assert f"with {number} line{'s' if number > 1 else ''} of comments left out" in found.read_as[0]


def test_comments_do_not_keep_a_long_file_from_the_fast_reader(tmp_path: Path) -> None:
    path = tmp_path / "likes.txt"
    path.write_text("# a\n\n# b, c\n" + rows(",", "user,item\n"))
    content = recognise(*locate(str(path)), None)
    found = TextTable(content, TextFormat(), ())._fast([0, 1], [True, True])
    assert found is not None
    assert found.rows == 40


def test_columns_without_a_header_are_positions_below_comments(tmp_path: Path) -> None:
    path = tmp_path / "likes.txt"
    path.write_text("# FromNodeId ToNodeId\n# 2 columns\n" + "".join(
        f"{user[1:]}\t{item[1:]}\n" for user, item in PAIRS
    ))  # fmt: skip
    with pytest.raises(InputError, match=r"looks like data \('0', '0'\).*header = false"):
        read_interaction_table(path)
    found = read_interaction_table(path, InteractionColumns("1", "2"))
    assert len(found.interactions) == 40
    (seen,) = inspect([str(path)])
    assert seen.counts["interactions"] == 40
    assert any("2 lines of comments left out" in note for note in seen.notes)


@pytest.mark.parametrize("header", [None, False])
def test_the_last_comment_may_name_the_columns(header: bool | None, tmp_path: Path) -> None:
    path = tmp_path / "likes.txt"
    path.write_text("# Nodes: 3\n" + rows("\t", "# FromNodeId\tToNodeId\n"))
    found = read_interaction_table(path, InteractionColumns("1", "2"), TextFormat(header=header))
    assert found.rows == len(found.interactions) == 40


@pytest.mark.parametrize("header", ["#user,item", "# user,item", "#user_id,item", "%user,item"])
def test_a_header_that_begins_with_a_mark_is_a_header(header: str, tmp_path: Path) -> None:
    path = tmp_path / "likes.csv"
    path.write_text(rows(",", header + "\n"))
    found = read_interaction_table(path)
    assert found.rows == len(found.interactions) == 40
    assert "comments" not in found.read_as[0]


def test_ids_that_begin_with_a_mark_are_rows(tmp_path: Path) -> None:
    path = tmp_path / "likes.csv"
    path.write_text("".join(f"#{user},{item}\n" for user, item in PAIRS[:30]) + rows(","))
    text = TextFormat(header=False)
    found = read_interaction_table(path, InteractionColumns("1", "2"), text)
    assert (found.rows, len(found.interactions.users)) == (70, 18)


TITLED = {
    "a line": "Likes of March 2024\n",
    "a line with commas, and a blank one": "Likes, all shops\n\n",
    "cells of a sheet": "Report: likes,\n,\nMarch,\n",
}


@pytest.mark.parametrize("case", TITLED)
def test_a_title_above_the_header_is_left_out_and_said(case: str, tmp_path: Path) -> None:
    path = tmp_path / "likes.csv"
    # Three columns, so that no title is as wide as the rows.
    body = "".join(f"{user},{item},x\n" for user, item in PAIRS)
    path.write_text(TITLED[case].replace(",\n", ",,\n") + "user,item,note\n" + body)
    found = read_interaction_table(path)
    assert found.rows == len(found.interactions) == 40
    assert "above the header left out" in found.read_as[0]


def test_a_title_above_the_header_of_a_sheet_is_left_out_and_said(tmp_path: Path) -> None:
    path = tmp_path / "likes.xlsx"
    with pd.ExcelWriter(path) as book:
        frame = pd.DataFrame(PAIRS, columns=["user", "item"])
        frame.to_excel(book, index=False, startrow=2)
        book.sheets["Sheet1"].cell(1, 1).value = "Likes of March 2024"
    found = read_interaction_table(path)
    assert found.rows == len(found.interactions) == 40
    assert found.read_as == ("likes.xlsx is read with 1 line above the header left out",)


def test_a_row_with_the_names_of_columns_is_no_header_below_others(tmp_path: Path) -> None:
    path = tmp_path / "likes.csv"
    path.write_text("thing,other\n" + rows(",")[:6] + "user,item\n" + rows(","))
    content = recognise(*locate(str(path)), None)
    assert find_dialect(content, TextFormat(), ()).names == ("thing", "other")
