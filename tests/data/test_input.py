"""Input that somebody upstream broke: correct work or one clear error, case by case.

Each case has its defined result here. What no one thought of is looked for in tests/fuzz.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.base.config import Data
from recsys.base.errors import InputError
from recsys.data.columns import seconds
from recsys.data.dialects import TextFormat
from recsys.data.features import FeatureColumns, read_features
from recsys.data.idmap import IdMap
from recsys.data.interactions import InteractionColumns, read_interactions
from recsys.data.outcomes import Ingested
from recsys.data.tables import fingerprint
from recsys.pipeline.preparation import count_similar_ids, ingest, sources_of

HEADER = "modelname|mid|uid\n"
WEIGHTED = InteractionColumns(name=None, weight="w")
DATED = InteractionColumns(name=None, timestamp="t")

Pairs = list[tuple[str, str]]


def write(folder: Path, content: str | bytes, name: str = "likes.psv") -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def likes(
    source: Any, columns: InteractionColumns = InteractionColumns(), text: TextFormat = TextFormat()
) -> tuple[Pairs, list[str] | None, dict[str, int]]:
    """(user, item) pairs, names of the items, and rejected rows by reason."""
    found, names, rejected = read_interactions(source, columns, text)
    pairs = [
        (found.users.id(user), found.items.id(item))
        for user, item in zip(found.user, found.item, strict=True)
    ]
    return pairs, None if names is None else names.to_pylist(), rejected


READ: dict[str, tuple[str | bytes, Pairs, list[str]]] = {
    "a NUL is a letter like others": (
        HEADER + "x\0y|a\0|u\nz|a|u\n", [("u", "a"), ("u", "a\0")], ["z", "x\0y"],
    ),
    "quotes doubled, escaped, and inside": (
        HEADER + '"say ""hi"" | there"|a|u\n\\"esc\\|aped|b|u\nsay "hi"|c|u\n5" disk|d|u\n',
        [("u", "a"), ("u", "b"), ("u", "c"), ("u", "d")],
        ['say "hi" | there', '"esc|aped', 'say "hi"', '5" disk'],
    ),
    "an escape that ends the file": (HEADER + "x|a|u\\", [("u", "a")], ["x"]),
    "line ends of three systems": (
        "modelname|mid|uid\r\nx|a|u\ny|b|u\r\nz|c|u\rq|d|u\n",
        [("u", "a"), ("u", "b"), ("u", "c"), ("u", "d")],
        ["x", "y", "z", "q"],
    ),
    "a field of a megabyte": (HEADER + "n" * 2**20 + "|a|u\n", [("u", "a")], ["n" * 2**20]),
    "an id of a megabyte": (HEADER + "n|" + "a" * 2**20 + "|u\n", [("u", "a" * 2**20)], ["n"]),
    "a field longer than the reader's block": (
        HEADER + "n" * (5 << 20) + "|a|u\n", [("u", "a")], ["n" * (5 << 20)],
    ),
    "ids that differ in case or white space": (
        HEADER + "x|A|u\nx|a |u\nx|a|U\n", [("U", "a"), ("u", "A"), ("u", "a ")], ["x"] * 3,
    ),
    "huge integers": (HEADER + f"x|{10**400}|{2**64}\n", [(str(2**64), str(10**400))], ["x"]),
}  # fmt: skip


@pytest.mark.parametrize("case", READ)
def test_strange_text_is_read_as_it_is(case: str, tmp_path: Path) -> None:
    content, pairs, names = READ[case]
    # As the founding files are written.
    text = TextFormat("|", escape="\\")
    assert likes(write(tmp_path, content), text=text) == (pairs, names, {})


LATIN = (HEADER + "é|a|u\n").encode("latin-1")
REFUSED: dict[str, tuple[str | bytes, TextFormat, str]] = {
    "latin-1 taken for utf-8": (LATIN, TextFormat(encoding="utf-8"), "invalid UTF8"),
    "utf-8 taken for utf-16": (HEADER + "x|a|u\n", TextFormat(encoding="utf-16"), "BOM"),
    "utf-16 taken for utf-8": (
        (HEADER + "x|a|u\n").encode("utf-16"), TextFormat(encoding="utf-8"), "a line of text",
    ),
    "no encoding at all": (LATIN, TextFormat(encoding="rot13"), "text encodings"),
    "an encoding that cannot pass over faults": (LATIN, TextFormat(encoding="idna"), "encodings"),
    "an encoding with a NUL": (LATIN, TextFormat(encoding="utf\0"), "text encodings"),
    "nothing but NULs": (b"\0" * 100, TextFormat(), "cannot be read"),
    "an open quote up to the end": (HEADER + 'x|a|u\n"y|b|u\nz|c|u\n', TextFormat(), "not closed"),
    "an open quote that a later one closes": (
        HEADER + '"y|b|u\n"z|c|u\n', TextFormat(), "not closed in its line",
    ),
    "a header and nothing else": (HEADER, TextFormat(), "0 rows"),
    "a line break and nothing else": ("\n", TextFormat(), "cannot be read"),
    "empty columns": (HEADER + "||\n" * 3, TextFormat(), "no user: 3"),
    "a column twice": ("uid|mid|uid|modelname\n1|2|3|4\n", TextFormat(), "more than one"),
    "a malformed row that is no text": (
        HEADER.encode() + b"x|\xff|b|v\n", TextFormat(encoding="utf-8"), "cannot be read",
    ),
    "a delimiter that ends lines": (HEADER + "x|a|u\n", TextFormat("\n"), "delimiter"),
}  # fmt: skip


@pytest.mark.parametrize("case", REFUSED)
def test_text_that_cannot_be_meant_is_one_clear_error(case: str, tmp_path: Path) -> None:
    content, text, said = REFUSED[case]
    with pytest.raises(InputError, match=said) as raised:
        likes(write(tmp_path, content), text=text)
    assert str(raised.value).isprintable()
    assert len(str(raised.value)) < 1300


def test_quotes_are_letters_where_there_are_none(tmp_path: Path) -> None:
    path = write(tmp_path, HEADER + '"y|b|u\n"z|c|u\n')
    text = Data(likes=str(path), quote="", escape="")
    assert (text.quote, text.escape) == ("", "")
    pairs, names, _ = likes(path, text=TextFormat("|", text.quote, text.escape))
    assert (pairs, names) == ([("u", "b"), ("u", "c")], ['"y', '"z'])


WEIGHTS = {
    "1": 1.0, "2.5e0": 2.5, "3e38": 3e38, "1.2e-38": 1.2e-38, "-1": None, "-0": None, "0": None,
    "nan": None, "inf": None, "-inf": None, "1e400": None, "3.5e38": None, "1e-45": None,
    "1e-60": None, "": None, "much": None, "0x10": None, "1,5": None, "1_0": None, "10" * 400: None,
}  # fmt: skip


def test_a_weight_is_a_positive_number_or_its_row_is_left_out(tmp_path: Path) -> None:
    rows = "".join(f"u|{item}|{weight}\n" for item, weight in enumerate(WEIGHTS))
    found, _, rejected = read_interactions(write(tmp_path, "uid|mid|w\n" + rows), WEIGHTED)
    assert found.weight is not None
    kept = dict(zip(found.items.take(found.item), found.weight.tolist(), strict=True))
    wanted = {str(i): np.float32(w) for i, w in enumerate(WEIGHTS.values()) if w is not None}
    assert kept == wanted
    assert rejected == {"weight not a positive number": len(WEIGHTS) - len(wanted)}


@settings(max_examples=200)
@given(st.one_of(st.floats(), st.integers(), st.text(max_size=5), st.booleans(), st.none()))
def test_whatever_a_weight_is_it_ends_positive_and_finite_or_left_out(value: object) -> None:
    frame = pd.DataFrame(
        {"uid": ["u", "v"], "mid": "a", "w": pd.Series([1.0, value], dtype=object)}
    )
    found, _, rejected = read_interactions(frame, WEIGHTED)
    assert found.weight is not None
    assert len(found) + sum(rejected.values()) == 2
    assert np.isfinite(found.weight).all()
    assert (found.weight > 0).all()


@pytest.mark.parametrize(
    "values",
    [
        [1j, 2j],
        [[1], [2]],
        pd.to_datetime(["2020", "2021"]),
        pd.to_timedelta([1, 2], "s"),
        [{}, {}],
    ],
    ids=["complex", "lists", "moments", "spans", "dicts"],
)
def test_weights_that_are_no_numbers_are_refused(values: Any) -> None:
    frame = pd.DataFrame({"uid": ["u", "v"], "mid": "a", "w": values})
    with pytest.raises(InputError, match="not a positive number: 2"):
        read_interactions(frame, WEIGHTED)


DATES = {
    "2020-01-01": 1577836800,
    "2020-01-01T00:00:00.5Z": 1577836800,
    "2020-01-01T00:00:00+14:00": 1577786400,
    "0001-01-01": -62135596800,
    "9999-12-31": 253402214400,
    "1600-01-01": -11676096000,
    "99999-01-01": None, "2020-13-01": None, "2020-01-01 25:00": None, "now": None, "today": None,
    "2020-01-01T00:00:00+99:99": None, "": None, "nan": None, "inf": None,
}  # fmt: skip


def test_a_date_out_of_range_is_left_out_and_counted(tmp_path: Path) -> None:
    rows = "".join(f"u|{item:02}|{moment}\n" for item, moment in enumerate(DATES))
    found, _, rejected = read_interactions(write(tmp_path, "uid|mid|t\n" + rows), DATED)
    assert found.timestamp is not None
    assert found.timestamp.tolist() == [value for value in DATES.values() if value is not None]
    assert rejected == {"unreadable timestamp": sum(value is None for value in DATES.values())}


def test_a_number_out_of_range_is_no_timestamp(tmp_path: Path) -> None:
    moments = ["0", "-1", str(2**61), "1e400", "9" * 40, "nan"]
    rows = "".join(f"u|{item}|{moment}\n" for item, moment in enumerate(moments))
    found, _, rejected = read_interactions(write(tmp_path, "uid|mid|t\n" + rows), DATED)
    assert found.timestamp is not None
    assert found.timestamp.tolist() == [0, -1, 2**61]
    assert rejected == {"unreadable timestamp": 3}


TYPED: dict[str, tuple[pa.Array, list[float | None]]] = {
    "date32": (pa.array([0, 2**31 - 1], pa.date32()), [0, None]),
    "date64": (pa.array([86_400_000, None], pa.date64()), [86_400, None]),
    "timestamp": (pa.array([1500, 2**60], pa.timestamp("ms")), [1.5, None]),
    "timestamp of a zone": (pa.array([7, None], pa.timestamp("s", "Asia/Tokyo")), [7, None]),
    "time of day": (pa.array([0, 60], pa.time32("s")), [None, None]),
    "span": (pa.array([0, 60], pa.duration("s")), [None, None]),
}


@pytest.mark.parametrize("kind", TYPED)
def test_typed_moments_are_seconds_or_nothing(kind: str) -> None:
    values, wanted = TYPED[kind]
    found = seconds(pa.chunked_array([values]))
    assert [None if np.isnan(value) else value for value in found] == wanted


def frame_of(values: list[Any]) -> pd.DataFrame:
    return pd.DataFrame({"uid": pd.Series(values, dtype=object), "mid": "a", "modelname": "x"})


def test_huge_and_mixed_ids_are_their_text() -> None:
    users = {user for user, _ in likes(frame_of([2**64, 7, "7", "x"]))[0]}
    assert users == {str(2**64), "7", "x"}


def test_text_that_is_no_unicode_is_refused() -> None:
    with pytest.raises(InputError, match=r"cannot be converted .*surrogates"):
        likes(frame_of(["\ud800"]))


def parquet(folder: Path, **columns: Any) -> Path:
    pq.write_table(pa.table(columns), folder / "likes.parquet")
    return folder / "likes.parquet"


def test_columns_without_a_value(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no user: 2"):
        likes(parquet(tmp_path, uid=pa.nulls(2), mid=["a", "b"], modelname=["x", "y"]))
    path = parquet(tmp_path, uid=["u", "v"], mid=["a", "b"], modelname=pa.nulls(2))
    assert likes(path) == ([("u", "a"), ("v", "b")], ["", ""], {})


def test_a_parquet_file_whose_column_names_are_no_text_is_refused(tmp_path: Path) -> None:
    path = parquet(tmp_path, uid=["u", "v"], mid=["a", "b"], modelname=["x", "y"])
    path.write_bytes(path.read_bytes().replace(b"modelname", b"mod\xdename"))
    with pytest.raises(InputError, match="cannot be read as Parquet"):
        likes(path)


def test_a_parquet_file_with_a_column_twice_is_refused(tmp_path: Path) -> None:
    table = pa.Table.from_arrays([pa.array(["u"])] * 3, names=["uid", "uid", "mid"])
    pq.write_table(table, tmp_path / "likes.parquet")
    with pytest.raises(InputError, match="duplicate"):
        likes(tmp_path / "likes.parquet", InteractionColumns(name=None))


def test_what_is_no_file_is_not_waited_for(tmp_path: Path) -> None:
    pipe = tmp_path / "likes.psv"
    os.mkfifo(pipe)
    no_file = "is not a file"
    for source, said in ((pipe, no_file), ("/dev/zero", no_file), ("a\0b", "the path")):
        for read in (likes, fingerprint):
            with pytest.raises(InputError, match=said):
                read(source)
    with pytest.raises(InputError, match="the path ''"):
        likes("")


# Both files, as they meet in `ingest`.


def ingested(folder: Path, likes: str, features: str, **columns: str) -> Ingested:
    data = Data(
        likes=str(write(folder, likes)),
        features=str(write(folder, features, "feats.psv")),
        **columns,
    )
    return ingest(folder / "interim", data, sources_of(data)).outcome


def test_numbers_in_one_file_and_text_in_the_other_are_the_same_ids(tmp_path: Path) -> None:
    pq.write_table(
        pa.table({"uid": [1, 2], "mid": pa.array([7, 8], pa.int64()), "modelname": ["x", "y"]}),
        tmp_path / "likes.parquet",
    )
    pq.write_table(
        pa.table({"mid": ["7", "9"], "type": ["tag"] * 2, "value": ["red", "green"]}),
        tmp_path / "feats.parquet",
    )
    data = Data(likes=str(tmp_path / "likes.parquet"), features=str(tmp_path / "feats.parquet"))
    counts = ingest(tmp_path / "interim", data, sources_of(data)).outcome
    assert (counts.items_with_features, counts.item_features) == (1, 2)


def test_ids_written_differently_in_the_two_files_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'7\.0x'.*'7'.*same ids"):
        ingested(tmp_path, HEADER + "x|7|u\n", "mid|type|value\n7.0x|tag|red\n")
    assert not list((tmp_path / "interim").glob("ingest-*"))


def test_ids_that_look_alike_are_counted_and_kept_apart(tmp_path: Path) -> None:
    rows = "x|A|u\nx|a|u\nx|a |U\nx|b|v\n"
    counts = ingested(tmp_path, HEADER + rows, "mid|type|value\na|tag|red\n")
    assert (counts.users, counts.items) == (3, 4)
    assert counts.users_that_differ_in_case_or_space == 1
    assert counts.items_that_differ_in_case_or_space == 2
    assert count_similar_ids(IdMap(pa.array(["a", "b"]), "item")) == 0


FEATURES = "mid|type|value\n"


def names_of(source: Path, columns: FeatureColumns = FeatureColumns()) -> list[str]:
    return read_features(source, columns)[0].names.to_pylist()


def test_a_type_with_the_separator_is_refused_only_where_it_confuses(tmp_path: Path) -> None:
    assert names_of(write(tmp_path, FEATURES + "a|tag_x|y\na|tag|z\n")) == ["tag_x_y", "tag_z"]
    with pytest.raises(InputError, match=r"\(tag_x, y\) and \(tag, x_y\).*'tag_x_y'"):
        names_of(write(tmp_path, FEATURES + "a|tag_x|y\nb|tag|x_y\n"))


def test_features_with_a_nul_stay_apart(tmp_path: Path) -> None:
    assert names_of(write(tmp_path, FEATURES + "a|t|x\0\na|t|x\n")) == ["t_x", "t_x\0"]


def test_a_million_tags_on_one_item(tmp_path: Path) -> None:
    tags = "".join(f"a|tag|t{tag}\n" for tag in range(1_000_000))
    found, rejected = read_features(write(tmp_path, FEATURES + "b|tag|t7\n" + tags + "b|tag|x\n"))
    assert found.owners.ids.to_pylist() == ["b"]
    assert found.names.to_pylist() == ["tag_t7", "tag_x"]
    assert rejected == {"more than 2,000 features on one item": 1_000_000}
    with pytest.raises(InputError, match="no usable row"):
        read_features(write(tmp_path, FEATURES + tags[: 20 * 2_001]))


def test_every_reader_says_what_it_left_out(tmp_path: Path) -> None:
    rows = "a|tag|x|1\na|tag|x|2\na||x|1\n|tag|x|1\na|tag||1\na|tag|y|inf\na|tag|z\n"
    source = write(tmp_path, "mid|type|value|w\n" + rows)
    found, rejected = read_features(source, FeatureColumns(weight="w"))
    assert found.weight.tolist() == [2.0]
    assert rejected == {
        "wrong number of fields": 1, "no owner": 1, "no type": 1, "no value": 1,
        "weight not a positive number": 1, "duplicate": 1,
    }  # fmt: skip
