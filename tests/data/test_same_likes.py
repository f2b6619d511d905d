"""The same likes, written in every dialect, format, order and type of id, are the same likes."""

from __future__ import annotations

import csv
import gzip
import io
import lzma
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from recsys.base.config import Data
from recsys.pipeline.preparation import ingest, sources_of

# 150 users of four groups, 60 items, 1,800 likes; ids are numbers that start with no zero.
ROWS = [
    (
        1000 + user,
        500 + 15 * (user % 4) + (user * 7 + nth) % 15,
        f"Item {(user * 7 + nth) % 15}, {user % 4}",
    )
    for user in range(150)
    for nth in range(12)
]
HEADER = ("user_id", "item_id", "title")


def frame(kind: str, order: int) -> pd.DataFrame:
    """The likes with ids of a type, in an order."""
    table = pd.DataFrame(ROWS, columns=list(HEADER)).sample(frac=1, random_state=order)
    convert: dict[str, Any] = {"int": "int64", "float": "float64", "text": str, "int32": "int32"}
    return table.astype({"user_id": convert[kind], "item_id": convert[kind]}).reset_index(drop=True)


@st.composite
def texts(draw: st.DrawFn) -> tuple[str, bytes, dict[str, Any]]:
    """A file of text: its name, its content, and the settings that cannot be found out."""
    kind = draw(st.sampled_from(["int", "float", "text"]))
    table = frame(kind, draw(st.integers(0, 5)))
    delimiter = draw(st.sampled_from([",", ";", "\t", "|"]))
    quoting = draw(st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL, csv.QUOTE_NONNUMERIC]))
    end = draw(st.sampled_from(["\n", "\r\n", "\r"]))
    stream = io.StringIO()
    writer = csv.writer(stream, delimiter=delimiter, quoting=quoting, lineterminator=end)
    header = draw(st.booleans())
    writer.writerows([*([HEADER] if header else []), *table.itertuples(index=False)])
    content = stream.getvalue()
    if header and draw(st.booleans()):
        content = f"sep={delimiter}{end}{content}"
    encoded = content.encode(draw(st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "latin-1"])))
    pack = draw(st.sampled_from([bytes, gzip.compress, lzma.compress]))
    settings_ = (
        {} if header else {"header": False, "user_column": 1, "item_column": 2, "name_column": 3}
    )
    return "likes.dat", pack(encoded), settings_


@pytest.fixture(scope="module")
def wanted(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("plain")
    (folder / "likes.csv").write_text(frame("text", 0).to_csv(index=False))
    return _digest(folder, "likes.csv", {})


def _digest(folder: Path, name: str, settings_: dict[str, Any]) -> str:
    """The likes as the stage stores them, whatever else it found out of the file."""
    data = Data(likes=str(folder / name), **settings_)
    made = ingest(folder / "interim", data, sources_of(data))
    assert made.outcome.interactions == 1800 == made.outcome.rows["likes"]
    return "".join(
        made.file(f"{part}.parquet").read_bytes().hex()
        for part in ("interactions", "users", "items")
    )


@settings(
    max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(written=texts())
def test_text_in_every_dialect_is_the_same(
    written: tuple[str, bytes, dict[str, Any]],
    wanted: str,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    name, content, settings_ = written
    folder = tmp_path_factory.mktemp("text")
    (folder / name).write_bytes(content)
    assert _digest(folder, name, settings_) == wanted


@pytest.mark.parametrize("kind", ["int", "float", "text", "int32"])
@pytest.mark.parametrize(
    "kept", ["parquet", "parts", "feather", "json", "lines", "excel", "sqlite"]
)
def test_every_format_is_the_same(kept: str, kind: str, wanted: str, tmp_path: Path) -> None:
    table, path = frame(kind, 3), tmp_path / "likes"
    settings_: dict[str, Any] = {}
    if kept == "parquet":
        table.to_parquet(path)
    elif kept == "parts":
        path.mkdir()
        for part in range(3):
            table[part::3].to_parquet(path / f"part-{part}")
    elif kept == "feather":
        table.to_feather(path)
    elif kept in ("json", "lines"):
        table.to_json(path, orient="records", lines=kept == "lines")
    elif kept == "excel":
        pytest.importorskip("openpyxl")
        table.to_excel(path.with_suffix(".xlsx"), index=False)
        path.with_suffix(".xlsx").rename(path)
    else:
        import sqlite3

        with sqlite3.connect(path) as connection:
            table.to_sql("likes", connection, index=False)
    assert _digest(tmp_path, "likes", settings_) == wanted
