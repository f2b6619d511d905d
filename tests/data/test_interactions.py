"""Reading likes: every route gives the same, every rejected row is counted, every fault is said."""

from __future__ import annotations

import bz2
import gzip
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.base.errors import InputError
from recsys.data.dialects import TextFormat
from recsys.data.interactions import (
    InteractionColumns,
    Interactions,
    read_interaction_table,
    read_interactions,
)
from recsys.data.signals import InteractionRules
from recsys.data.tables import Source, fingerprint

NAMES = ['say "hi"', "a|b", "back\\slash", "tilt — brush"]
FRAME = pd.DataFrame(
    {
        "modelname": [NAMES[0], NAMES[1], NAMES[0], NAMES[2], NAMES[3]],
        "mid": ["m1", "m2", "m1", "m0", "m3"],
        "uid": ["7", "7", "10", "10", "2"],
    }
)


def text(delimiter: str = "|", end: str = "\n") -> str:
    def field(value: str) -> str:
        for special in ("\\", delimiter, '"'):
            value = value.replace(special, "\\" + special)
        return value

    rows = [FRAME.columns, *FRAME.itertuples(index=False)]
    return end.join(delimiter.join(field(value) for value in row) for row in rows) + end


def plain(folder: Path) -> Source:
    path = folder / "likes.psv"
    path.write_bytes(text().encode())
    return path


def windows(folder: Path) -> Source:
    path = folder / "likes.psv"
    path.write_bytes(text(end="\r\n").encode())
    return str(path)


def gzipped(folder: Path) -> Source:
    path = folder / "likes.psv.gz"
    path.write_bytes(gzip.compress(text().encode()))
    return path


def bzipped(folder: Path) -> Source:
    path = folder / "likes.psv.bz2"
    path.write_bytes(bz2.compress(text().encode()))
    return path


def zstandard(folder: Path) -> Source:
    path = folder / "likes.psv.zst"
    with pa.output_stream(path, compression="zstd") as stream:
        stream.write(text().encode())
    return path


def parquet(folder: Path) -> Source:
    path = folder / "likes.parquet"
    FRAME.to_parquet(path)
    return path


def parquet_with_numbers(folder: Path) -> Source:
    path = folder / "likes.parquet"
    FRAME.astype({"uid": "int64"}).to_parquet(path)
    return path


def parquet_folder(folder: Path) -> Source:
    for part, rows in enumerate((FRAME[:2], FRAME[2:])):
        pq.write_table(pa.Table.from_pandas(rows), folder / f"part-{part}.parquet")
    return folder


def memory(folder: Path) -> Source:
    url = f"memory://{folder.name}/likes.psv"
    with fsspec.open(url, "wb") as stream:
        stream.write(text().encode())
    return url


def data_frame(folder: Path) -> Source:
    return FRAME


def data_frame_with_numbers(folder: Path) -> Source:
    # As pandas gives integers with gaps.
    return FRAME.assign(uid=FRAME.uid.astype("float64"))


ROUTES = [
    plain, windows, gzipped, bzipped, zstandard, parquet, parquet_with_numbers, parquet_folder,
    memory, data_frame, data_frame_with_numbers,
]  # fmt: skip


def pairs(found: Interactions) -> list[tuple[str, str]]:
    return [
        (found.users.id(u), found.items.id(i)) for u, i in zip(found.user, found.item, strict=True)
    ]


@pytest.mark.parametrize("route", ROUTES)
def test_every_route_gives_the_same(route: Callable[[Path], Source], tmp_path: Path) -> None:
    found, names, rejected = read_interactions(route(tmp_path))
    # Ids are text: "10" sorts before "2" before "7".
    assert found.users.ids.to_pylist() == ["10", "2", "7"]
    assert found.items.ids.to_pylist() == ["m0", "m1", "m2", "m3"]
    assert pairs(found) == [("10", "m0"), ("10", "m1"), ("2", "m3"), ("7", "m1"), ("7", "m2")]
    assert names is not None
    assert names.to_pylist() == [NAMES[2], NAMES[0], NAMES[1], NAMES[3]]
    assert rejected == {}
    assert found.user.dtype == found.item.dtype == np.int32


def test_another_delimiter_is_a_setting(tmp_path: Path) -> None:
    path = tmp_path / "likes.csv"
    path.write_text(text(","), encoding="utf-8")
    found, _, _ = read_interactions(path, text=TextFormat(delimiter=","))
    assert len(found) == 5


@settings(max_examples=60)
@given(st.lists(st.tuples(st.integers(0, 9), st.integers(0, 9)), min_size=1, max_size=60))
def test_duplicates_count_once_and_rows_may_come_in_any_order(rows: list[tuple[int, int]]) -> None:
    frame = pd.DataFrame(rows, columns=["uid", "mid"])
    columns = InteractionColumns(name=None)
    found, _, rejected = read_interactions(frame, columns)
    distinct = frame.astype(str).drop_duplicates().sort_values(["uid", "mid"])
    assert pairs(found) == list(distinct.itertuples(index=False, name=None))
    assert rejected.get("duplicate", 0) == len(rows) - len(distinct)
    again = read_interactions(frame.sample(frac=1, random_state=1), columns)[0]
    assert (again.user == found.user).all()
    assert (again.item == found.item).all()


def test_every_rejected_row_is_counted_by_its_reason(tmp_path: Path) -> None:
    path = tmp_path / "likes.psv"
    path.write_text(
        "uid|mid|w|t\n1|a|1|5\n1|a|2|6\n|b|1|5\n2||1|5\n2|b|-1|5\n2|b|nan|5\n2|b|inf|5\n"
        "2|b|x|5\n2|b|1|soon\n2|b|1\n2|b|0.5|7\n",
        encoding="utf-8",
    )
    columns = InteractionColumns(name=None, weight="w", timestamp="t")
    found, _, rejected = read_interactions(path, columns)
    assert rejected == {
        "wrong number of fields": 1,
        "no user": 1,
        "no item": 1,
        "weight not a positive number": 4,
        "unreadable timestamp": 1,
        "duplicate": 1,
    }
    assert found.weight is not None
    assert found.timestamp is not None
    # The weights of duplicates are added up.
    assert found.weight.tolist() == [3.0, 0.5]
    assert found.timestamp.tolist() == [6, 7]


def test_dates_become_seconds() -> None:
    frame = pd.DataFrame({"uid": ["1", "2"], "mid": "a", "t": ["1970-01-02", "1970-01-01T00:01Z"]})
    columns = InteractionColumns(name=None, timestamp="t")
    found, _, _ = read_interactions(frame, columns)
    assert found.timestamp is not None
    assert found.timestamp.tolist() == [86_400, 60]


FAULTS = {
    "missing": (None, "no file or folder"),
    "empty": (b"", "is empty"),
    "header only": (b"modelname|mid|uid\n", "0 rows and none is usable"),
    "no such column": (
        b"modelname|thing|uid\nx|a|1\n",
        "the item among 'modelname', 'thing', 'uid'",
    ),
    "not text": (b"modelname|mid|uid\nx|\xff\xfe\xfd|1\n", "utf-8 text"),
    "twice": (b"modelname|mid|mid|uid\nx|a|b|1\n", "more than one column mid"),
    "nothing in it": (b"modelname|mid|uid\nx||\ny||\n", r"no user: 2"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_faulty_file_is_one_clear_error(fault: str, tmp_path: Path) -> None:
    content, said = FAULTS[fault]
    path = tmp_path / "likes.psv"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(InputError, match=said) as raised:
        read_interactions(path)
    assert "likes.psv" in str(raised.value)
    assert "\n" not in str(raised.value)


def test_a_parquet_file_that_is_none(tmp_path: Path) -> None:
    path = tmp_path / "likes.parquet"
    path.write_bytes(b"PAR1" + text().encode())
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        read_interactions(path)


def test_a_file_is_what_it_is_and_not_what_it_is_called(tmp_path: Path) -> None:
    path = tmp_path / "likes.parquet"
    path.write_bytes(text().encode())
    assert len(read_interactions(path)[0]) == 5
    FRAME.to_parquet(tmp_path / "likes.csv.gz")
    assert len(read_interactions(tmp_path / "likes.csv.gz")[0]) == 5


def test_the_fingerprint_is_of_the_content(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"x")
    (tmp_path / "b").write_bytes(b"x")
    (tmp_path / "c").write_bytes(b"y")
    first, same, other = (fingerprint(tmp_path / name) for name in "abc")
    assert first == same != other


@settings(max_examples=40)
@given(st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=1, max_size=40))
def test_the_weights_of_duplicates_are_added_up_and_the_latest_time_counts(
    rows: list[tuple[int, int]],
) -> None:
    frame = pd.DataFrame(rows, columns=["uid", "mid"])
    frame["w"] = np.arange(len(rows)) + 1.0
    frame["t"] = 1_000 - np.arange(len(rows))
    columns = InteractionColumns(name=None, weight="w", timestamp="t")
    found = read_interactions(frame, columns)[0]
    first = frame.groupby(["uid", "mid"]).agg({"w": "sum", "t": "max"})
    assert found.weight is not None
    assert found.timestamp is not None
    assert found.weight.tolist() == first.w.tolist()
    assert found.timestamp.tolist() == first.t.tolist()
    assert found.matrix().dtype == np.float32
    assert found.matrix().sum() == first.w.sum()


@pytest.mark.parametrize(
    ("stamps", "expected", "unreadable"),
    [
        (["2020-01-01", "2021-01-01", "0", ""], [1_577_836_800, 1_609_459_200], 2),
        (["5", "2021-01-01", "7", ""], [5, 7], 2),
        ([5, 7, None, None], [5, 7], 2),
        (pd.to_datetime(["1970-01-02", None, "1970-01-01", None]), [86_400, 0], 2),
        ([1e300, 7.9, -3.0, np.inf], [7, -3], 2),
    ],
)  # fmt: skip
def test_timestamps_are_what_most_of_them_are(
    stamps: object, expected: list[int], unreadable: int
) -> None:
    frame = pd.DataFrame({"uid": ["1", "2", "3", "4"], "mid": "a", "t": stamps})
    columns = InteractionColumns(name=None, timestamp="t")
    found, _, rejected = read_interactions(frame, columns)
    assert found.timestamp is not None
    assert found.timestamp.tolist() == expected
    assert rejected == {"unreadable timestamp": unreadable}


@pytest.mark.parametrize("seed", range(4))
def test_an_item_is_called_by_its_commonest_name_and_may_have_none(seed: int) -> None:
    rows = [
        ("a", "1", None), ("a", "2", "only"), ("b", "1", "rare"), ("b", "2", "common"),
        ("b", "3", "common"), ("c", "1", "later"), ("c", "2", "late"), ("d", "1", None),
    ]  # fmt: skip
    frame = pd.DataFrame(rows, columns=["mid", "uid", "modelname"])
    names = read_interactions(frame.sample(frac=1, random_state=seed))[1]
    assert names is not None
    assert names.to_pylist() == ["only", "common", "late", ""]
    assert read_interactions(frame, InteractionColumns(name=""))[1] is None


def test_all_duplicates_are_one_interaction(tmp_path: Path) -> None:
    path = tmp_path / "likes.psv"
    path.write_text("modelname|mid|uid\n" + "x|a|1\n" * 50, encoding="utf-8")
    found, _, rejected = read_interactions(path)
    assert found.counts() == {"users": 1, "items": 1, "interactions": 1}
    assert rejected == {"duplicate": 49}


PAIRS = [(f"u{n % 6}", f"i{n}") for n in range(12)]


def joined(header: str) -> str:
    rows = [f"{user},{item},T{item}" for user, item in PAIRS]
    return "\n".join(["user,item,title", *rows[:6], header, *rows[6:], ""])


def test_a_header_among_the_rows_is_no_like(tmp_path: Path) -> None:
    path = tmp_path / "likes.csv"
    path.write_text(joined("user,item,title"))
    found = read_interaction_table(path)
    assert found.rows == 13
    assert found.left_out() == {"the header again": 1}
    assert "user" not in found.interactions.users.ids.to_pylist()
    assert any("its header again below, 1 of its rows" in note for note in found.notes)


def test_a_second_header_in_another_order_is_a_stop(tmp_path: Path) -> None:
    path = tmp_path / "likes.csv"
    path.write_text(joined("user,title,item"))
    with pytest.raises(InputError, match=r"'user', 'title' in the columns user, item"):
        read_interaction_table(path)


def test_positions_are_no_header_among_the_rows(tmp_path: Path) -> None:
    path = tmp_path / "likes.csv"
    path.write_text("".join(f"{n % 3},{n}\n" for n in range(12)))
    found = read_interaction_table(path, InteractionColumns("1", "2"))
    assert (found.rows, len(found.interactions)) == (12, 12)


@pytest.mark.parametrize("footer", ["Total,12,", "gesamt:,12,", "12,TOTAL,x"])
def test_a_row_with_the_number_of_the_others_is_no_like(footer: str, tmp_path: Path) -> None:
    path = tmp_path / "likes.csv"
    path.write_text("".join(f"{row}\n" for row in joined(footer).splitlines()))
    found = read_interaction_table(path)
    assert (found.rows, len(found.interactions)) == (13, 12)
    assert found.left_out() == {"a total": 1}
    (said,) = [note for note in found.notes if "the number of the others" in note]
    assert f"({', '.join(repr(field) for field in footer.split(',')[:2])})" in said


def test_a_word_for_a_total_alone_is_an_id(tmp_path: Path) -> None:
    path = tmp_path / "likes.csv"
    # Another number, an item of the others', and a user of several likes.
    for rows in (["Total,11,x"], ["Total,i3,x"], ["Total,12,x", "Total,13,x"]):
        path.write_text(joined(rows[0]) + "\n".join(rows[1:]) + "\n")
        found = read_interaction_table(path)
        assert found.left_out() == {}
        assert "Total" in found.interactions.users.ids.to_pylist()


@pytest.mark.parametrize(("yes", "no"), [("true", "false"), ("True", "False"), ("1", "0")])
def test_rows_that_say_they_are_no_likes_are_asked_about(yes: str, no: str, tmp_path: Path) -> None:
    path = tmp_path / "likes.csv"
    rows = [f"{user},{item},{no if n % 3 else yes}" for n, (user, item) in enumerate(PAIRS)]
    path.write_text("\n".join(["user_id,item_id,liked", *rows]) + "\n")
    with pytest.raises(InputError, match=r"data\.liked_from = 1 \(4 of 12 rows are\)"):
        read_interaction_table(path)
    found = read_interaction_table(path, rules=InteractionRules(liked_from=1))
    assert (len(found.interactions), found.left_out()) == (4, {"rating below 1": 8})


@pytest.mark.parametrize(
    "words",
    [["1/5", "4/5"], ["87%", "9%"], ["★", "★★★★"], ["bad", "ok", "good"], ["3.5 stars", "4 Stars"]],
)
def test_ratings_that_are_no_numbers_are_asked_about(words: list[str]) -> None:
    rows = [(f"u{n % 7}", f"i{n}", words[n % len(words)]) for n in range(30)]
    frame = pd.DataFrame(rows, columns=["user", "item", "rating"])
    with pytest.raises(InputError, match=r"looks like ratings that are no numbers.*rating_column"):
        read_interaction_table(frame)
    found = read_interaction_table(frame, InteractionColumns(rating=""))
    assert len(found.interactions) == 30
    # Remarks in a column of that name are none.
    remarks = pd.concat([frame, frame.assign(user=frame.user + "b")])
    remarks["rating"] = [f"very much so, {n}" for n in range(60)]
    assert len(read_interaction_table(remarks).interactions) == 60


def test_thumbs_are_ratings() -> None:
    for words in (("up", "down"), ("\N{THUMBS UP SIGN}", "\N{THUMBS DOWN SIGN}")):
        rows = [(f"u{n % 7}", f"i{n}", words[n % 3 == 0]) for n in range(30)]
        frame = pd.DataFrame(rows, columns=["user", "item", "rating"])
        with pytest.raises(InputError, match=r"data\.liked_from = 1 \(20 of 30"):
            read_interaction_table(frame)
        liked = read_interaction_table(frame, rules=InteractionRules(liked_from=1))
        assert len(liked.interactions) == 20


def test_where_no_row_is_usable_the_setting_is_named() -> None:
    rows = [(f"u{n % 7}", f"i{n}", "/Date(1600000000000)/") for n in range(30)]
    frame = pd.DataFrame(rows, columns=["user", "item", "when"])
    with pytest.raises(InputError, match=r"unreadable timestamp: 30.*data\.timestamp_format"):
        read_interaction_table(frame, InteractionColumns(timestamp="when"))


def test_ratings_in_a_file_without_names_are_asked_about(tmp_path: Path) -> None:
    path = tmp_path / "u.data"
    rows = [f"{user}\t{item}\t{1 + n % 5}\t{880000000 + n}" for n, (user, item) in enumerate(PAIRS)]
    path.write_text("\n".join(rows) + "\n")
    columns, text = InteractionColumns("1", "2"), TextFormat(header=False)
    with pytest.raises(
        InputError,
        match=r'the column 3 .* from 1 to 5.*data\.liked_from = 4 and data\.rating_column = "3" '
        r"\(4 of 12 rows are\)",
    ):
        read_interaction_table(path, columns, text)
    rated = replace(columns, rating="3")
    found = read_interaction_table(path, rated, text, InteractionRules(liked_from=4))
    assert (len(found.interactions), found.left_out()) == (4, {"rating below 4": 8})
    # Said to be none; weights; and the same of a frame whose columns are numbers.
    for said in (replace(columns, rating=""), replace(columns, weight="3")):
        assert len(read_interaction_table(path, said, text).interactions) == 12
    frame = pd.DataFrame([row.split("\t") for row in rows]).astype({2: int})
    with pytest.raises(InputError, match=r"the column 2 of .* looks like ratings from 1 to 5"):
        read_interaction_table(frame, InteractionColumns("0", "1"))


@pytest.mark.parametrize("values", [(-1, 1), (True, False), ("no", "yes"), (0.5, 1.0)])
def test_a_column_that_may_be_a_vote_is_asked_about(values: tuple[Any, ...]) -> None:
    frame = pd.DataFrame(PAIRS, columns=["user", "item"])
    frame["Voted up"] = [values[n % 2] for n in range(12)]
    with pytest.raises(InputError, match=r'liked_from = 1 and data\.rating_column = "Voted up"'):
        read_interaction_table(frame)
    found = read_interaction_table(frame, InteractionColumns(rating=""))
    assert len(found.interactions) == 12
    # One value says nothing, and names of many kinds no rating.
    for others in ([1] * 12, list("abcdefghijkl"), [f"x{n % 3}" for n in range(12)]):
        assert len(read_interaction_table(frame.assign(**{"Voted up": others})).interactions) == 12
    # What says what a row counts is not asked about once more.
    weighed = frame.assign(plays=range(1, 13))
    assert len(read_interaction_table(weighed, InteractionColumns(weight="plays")).interactions)
