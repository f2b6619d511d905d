"""Reading tables: ids as text whatever they come as, formats as they are written, faults named."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.base.errors import InputError
from recsys.data.dialects import TextFormat
from recsys.data.tables import Source, fingerprint, read_table

COLUMNS = {"user": "uid", "item": "mid"}
FIELD = st.text(
    st.characters(
        codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029"
    ),
    max_size=8,
)


def read(source: Source, text: TextFormat = TextFormat()) -> dict[str, list[Any]]:
    table, malformed = read_table(source, COLUMNS, ("user", "item"), text)
    assert malformed == 0
    return table.to_pydict()


def parquet(folder: Path, user: object, item: Sequence[object] = ("a", "b")) -> Path:
    path = folder / "likes.parquet"
    pq.write_table(pa.table({"uid": user, "mid": item}), path)
    return path


@settings(max_examples=60)
@given(
    rows=st.lists(st.tuples(FIELD, FIELD), min_size=1, max_size=20),
    delimiter=st.sampled_from("|,;\t"),
    quoted=st.booleans(),
)
def test_text_comes_back_as_it_was_written(
    rows: list[tuple[str, str]],
    delimiter: str,
    quoted: bool,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    def field(value: str) -> str:
        for special in ("\\", '"') if quoted else ("\\", '"', delimiter):
            value = value.replace(special, "\\" + special)
        return f'"{value}"' if quoted else value

    lines = [("uid", "mid"), *rows]
    path = tmp_path_factory.mktemp("text") / "likes.txt"
    text = "".join(delimiter.join(field(value) for value in line) + "\n" for line in lines)
    path.write_bytes(text.encode())
    expected = {"user": [user for user, _ in rows], "item": [item for _, item in rows]}
    written = TextFormat(delimiter, '"', "\\", "utf-8", True)
    assert read(path, written) == expected


def test_ids_are_dictionary_encoded_text_and_the_rest_is_not(tmp_path: Path) -> None:
    path = tmp_path / "likes.psv"
    path.write_text("uid|w|mid|else\n007|1.5|x|y\n7|2|NA|\n", encoding="utf-8")
    table, _ = read_table(path, COLUMNS | {"weight": "w"}, ("user", "item"), TextFormat())
    encoded = pa.dictionary(pa.int32(), pa.string())
    assert [field.type for field in table.schema] == [encoded, encoded, pa.string()]
    # "007" is not "7" and "NA" is a name: nothing is guessed.
    assert table.to_pydict() == {"user": ["007", "7"], "item": ["x", "NA"], "weight": ["1.5", "2"]}


NUMBERS = [
    (pa.array([7, 10], pa.int64()), ["7", "10"]),
    (pa.array([7, 10], pa.uint8()), ["7", "10"]),
    (pa.array([7.0, 10.0]), ["7", "10"]),
    (pa.array([7.0, float("nan")]), ["7", None]),
    (pa.array([7.5, 10.0]), ["7.5", "10"]),
    (pa.array([7.0, 2.0**53 - 1]), ["7", "9007199254740991"]),
    (pa.array(["7", "10"], pa.large_string()), ["7", "10"]),
    (pa.array(["7", None]).dictionary_encode(), ["7", None]),
    (pa.array([None, None], pa.float64()), [None, None]),
]


@pytest.mark.parametrize(("values", "expected"), NUMBERS, ids=[str(v.type) for v, _ in NUMBERS])
def test_an_id_of_any_type_is_its_text(
    values: pa.Array, expected: list[str | None], tmp_path: Path
) -> None:
    assert read(parquet(tmp_path, values))["user"] == expected
    frame = pa.table({"uid": values, "mid": ["a", "b"]}).to_pandas()
    assert read(frame)["user"] == expected


def test_a_column_of_numbers_and_text_is_text() -> None:
    frame = pd.DataFrame({"uid": [7, "7", None], "mid": "a"})
    assert read(frame)["user"] == ["7", "7", None]


def test_categories_are_their_values() -> None:
    frame = pd.DataFrame({"uid": pd.Categorical(["x", "y"], ["y", "z", "x"]), "mid": [1, 2]})
    assert read(frame) == {"user": ["x", "y"], "item": ["1", "2"]}


@pytest.mark.parametrize("kind", ["text", "parquet", "frame"])
def test_one_column_may_serve_twice(kind: str, tmp_path: Path) -> None:
    frame = pd.DataFrame({"uid": ["1"], "mid": ["a"]})
    (tmp_path / "likes.psv").write_text("uid|mid\n1|a\n", encoding="utf-8")
    frame.to_parquet(tmp_path / "likes.parquet")
    source = {"text": tmp_path / "likes.psv", "parquet": tmp_path / "likes.parquet"}.get(kind)
    columns = COLUMNS | {"name": "mid"}
    chosen = frame if source is None else source
    table, _ = read_table(chosen, columns, ("user", "item", "name"), TextFormat())
    assert table.to_pydict() == {"user": ["1"], "item": ["a"], "name": ["a"]}


@pytest.mark.parametrize("encoding", ["latin-1", "utf-16", "utf-8-sig"])
def test_another_encoding_is_a_setting(encoding: str, tmp_path: Path) -> None:
    path = tmp_path / "likes.psv"
    path.write_bytes("uid|mid\né|a\n".encode(encoding))
    assert read(path, TextFormat(encoding=encoding)) == {"user": ["é"], "item": ["a"]}


def test_a_byte_order_mark_and_blank_lines_are_no_data(tmp_path: Path) -> None:
    path = tmp_path / "likes.psv"
    path.write_bytes(b'\xef\xbb\xbf"uid"|mid\n\n1|a\n\n')
    assert read(path) == {"user": ["1"], "item": ["a"]}


def test_without_escape_and_quote_they_are_ordinary_letters(tmp_path: Path) -> None:
    path = tmp_path / "likes.psv"
    path.write_text('uid|mid\n"1|C:\\a\n', encoding="utf-8")
    assert read(path, TextFormat(quote="", escape="")) == {"user": ['"1'], "item": ["C:\\a"]}


def test_rows_with_a_wrong_number_of_fields_are_counted(tmp_path: Path) -> None:
    path = tmp_path / "likes.psv"
    path.write_text("uid|mid\n1|a\n1\n1|b|c\n2|b\n", encoding="utf-8")
    table, malformed = read_table(path, COLUMNS, ("user", "item"), TextFormat())
    assert malformed == 2
    assert table.to_pydict() == {"user": ["1", "2"], "item": ["a", "b"]}


def test_ids_agree_across_the_blocks_of_a_long_file(tmp_path: Path) -> None:
    # Longer than one block of the reader, so that several dictionaries have to become one.
    path = tmp_path / "likes.psv.gz"
    rows = 400_000
    users, items = np.arange(rows) % 1_000, np.arange(rows) // 1_000
    frame = pd.DataFrame({"uid": "user" + pd.Series(users).astype(str), "mid": items})
    path.write_bytes(gzip.compress(frame.to_csv(sep="|", index=False).encode(), 1))
    table, _ = read_table(path, COLUMNS, ("user", "item"), TextFormat())
    assert table.num_rows == rows
    chunks = table.column("user").chunks
    assert len(chunks) > 1
    assert {len(chunk.dictionary) for chunk in chunks} == {1_000}
    assert table.column("user").to_pandas().astype(str).tolist() == frame.uid.tolist()


def faulty(folder: Path, fault: str) -> tuple[Source, TextFormat]:
    """A source with one thing wrong with it."""
    likes, text = folder / "likes.psv", TextFormat()
    likes.write_text("uid|mid\n1|a\n", encoding="utf-8")
    match fault:
        case "no protocol":
            return "nowhere://likes.psv", text
        case "no driver":
            return "memory://nothing/likes.psv", text
        case "no encoding":
            return likes, TextFormat(encoding="utf-9")
        case "no delimiter":
            return likes, TextFormat(delimiter="§")
        case "exact no more":
            return parquet(folder, [7.0, 1e20]), text
        case "truncated":
            (folder / "likes.psv.gz").write_bytes(gzip.compress(likes.read_bytes())[:-9])
            return folder / "likes.psv.gz", text
        case "compressed nothing":
            (folder / "likes.psv.gz").write_bytes(gzip.compress(b""))
            return folder / "likes.psv.gz", text
        case "not utf-8":
            likes.write_bytes(b"uid|mid\n\xff|a\n")
            return likes, TextFormat(encoding="utf-8")
        case "quoted twice":
            likes.write_text('"uid"|"mid"|"mid"\n1|a|b\n', encoding="utf-8")
        case "empty folder":
            (folder / "likes").mkdir()
            return folder / "likes", text
        case "folder of both":
            (folder / "likes").mkdir()
            parquet(folder, ["1", "2"]).rename(folder / "likes" / "part-1.parquet")
            likes.rename(folder / "likes" / "part-0.parquet")
            return folder / "likes", text
        case "lists":
            return parquet(folder, [[1], [2]]), text
        case "parquet twice":
            table = pa.table([pa.array(["a"])] * 3, names=["uid", "mid", "mid"])
            pq.write_table(table, folder / "likes.parquet")
            return folder / "likes.parquet", text
        case "frame column":
            return pd.DataFrame({"uid": [1]}), text
        case "frame twice":
            return pd.DataFrame([[1, 2, 3]], columns=["uid", "mid", "mid"]), text
    return likes, text


FAULTS = {
    "no protocol": "nowhere://likes.psv cannot be reached .*fsspec knows",
    "no driver": "no file or folder memory://nothing/likes.psv",
    "no encoding": "the encoding 'utf-9'",
    "no delimiter": r"likes.psv has the columns uid\|mid; expected a column uid",
    "exact no more": r"column uid .* too large to be exact, such as 1e\+20",
    "truncated": "likes.psv.gz cannot be read",
    "compressed nothing": "likes.psv.gz cannot be read",
    "not utf-8": "likes.psv cannot be read .*utf-8 text",
    "quoted twice": "likes.psv has more than one column mid",
    "empty folder": "likes holds no files",
    "folder of both": "likes holds files of different kinds",
    "lists": "column uid of .*likes.parquet holds list",
    "parquet twice": "likes.parquet cannot be read as Parquet .*duplicate",
    "frame column": "the DataFrame has the columns uid; expected a column mid",
    "frame twice": "the DataFrame has more than one column mid",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_source_that_cannot_be_read_is_one_clear_error(fault: str, tmp_path: Path) -> None:
    source, text = faulty(tmp_path, fault)
    with pytest.raises(InputError, match=FAULTS[fault]) as raised:
        read_table(source, COLUMNS, ("user", "item"), text)
    assert "\n" not in str(raised.value)


def test_a_fingerprint_changes_with_every_part_of_the_content(tmp_path: Path) -> None:
    frame = pd.DataFrame({"uid": [1, 2], "mid": ["a", "b"]})
    assert fingerprint(frame) == fingerprint(frame.set_index(np.array([5, 6])))
    changed = [
        frame,
        frame[::-1],
        frame.rename(columns={"mid": "item"}),
        frame[["mid", "uid"]],
        frame.assign(mid=["a", "c"]),
        frame[:1],
    ]
    assert len({fingerprint(other) for other in changed}) == len(changed)
    folder = tmp_path / "likes"
    folder.mkdir()
    seen = {fingerprint(folder)}
    for name, content in (("b", b"1"), ("a", b"2"), ("b", b"3")):
        (folder / name).write_bytes(content)
        seen.add(fingerprint(folder))
    assert len(seen) == 4
    moved = folder.rename(tmp_path / "moved")
    assert fingerprint(moved) in seen
    with pytest.raises(InputError, match="no file or folder"):
        fingerprint(folder)
