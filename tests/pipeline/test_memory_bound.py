"""Preparation in parts: likes that memory does not hold give the bytes of those that it does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from recsys.base.config import Data, Split, Threshold
from recsys.base.errors import InputError
from recsys.base.events import Event, Note, listening
from recsys.data import large_tables, memory_bound
from recsys.data.memory_bound import rows_of_a_part
from recsys.data.windows import Middle, units_by_middle, units_in_a_second
from recsys.pipeline import preparation
from recsys.store.stages import Stage
from tests.fixtures.planted import write_planted

# Parts of 17 rows.
TINY = 17 * 400
AMPLE = 1 << 40
USER = ["ann", "bob", "Ann ", "7.0", "x|y", "é", "用户", "", "NULL"]


@dataclass(frozen=True)
class Run:
    data: Stage
    core: Stage
    holdouts: Stage


def prepared(data: Data, interim: Path, memory: int, **options: object) -> Run:
    threshold = Threshold(user_min=3, item_min=2)
    ingested = preparation.ingest(interim, data, preparation.sources_of(data), memory=memory)
    core = preparation.threshold(interim, ingested, threshold, memory)
    split = Split(n=2, **options)
    return Run(ingested, core, preparation.split(interim, ingested, core, split, 5, memory))


def same(data: Data, folder: Path, **options: object) -> Run:
    """The stages of both ways, which have to be the same to the last byte."""
    whole = prepared(data, folder / "whole", AMPLE, **options)
    parts = prepared(data, folder / "parts", TINY, **options)
    for one, other in zip(vars(whole).values(), vars(parts).values(), strict=True):
        assert one.key == other.key
        assert one.outcome == other.outcome
        files = [json.loads(each.file("manifest.json").read_text()) for each in (one, other)]
        assert files[0] == files[1]
    return parts


@pytest.fixture
def in_parts(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many interactions each table has had that was read in parts."""
    seen: list[int] = []
    read: Callable[..., large_tables.LargeRead] = large_tables._Sifted.read

    def noted(*args: object) -> large_tables.LargeRead:
        found = read(*args)
        seen.append(found.interactions)
        return found

    monkeypatch.setattr(large_tables._Sifted, "read", noted)
    return seen


def likes(seed: int = 3, rows: int = 900) -> pd.DataFrame:
    generator = np.random.default_rng(seed)
    user, item = (generator.zipf(1.3, rows) % n for n in (60, 40))
    return pd.DataFrame({"user_id": user + 1000, "item_id": item + 7})


def test_parquet_of_numbers(tmp_path: Path, in_parts: list[int]) -> None:
    frame = likes()
    frame.to_parquet(tmp_path / "likes.parquet", row_group_size=100)
    run = same(Data(likes=str(tmp_path / "likes.parquet")), tmp_path)
    assert in_parts == [len(frame.drop_duplicates())]
    assert run.data.outcome.rejected["likes"]["duplicate"] == 900 - in_parts[0]
    assert 0 < run.core.outcome.interactions < in_parts[0]


@pytest.mark.parametrize(
    ("kind", "method"), [("dates", "last"), ("seconds", "random"), ("weeks", "last")]
)
def test_times_and_ratings_of_parquet(
    tmp_path: Path, in_parts: list[int], kind: str, method: str
) -> None:
    frame = likes()
    generator = np.random.default_rng(1)
    when = pd.Series(1_700_000_000 + generator.integers(0, 40, 900) * 86_400)
    frame["when"] = {"seconds": when, "weeks": when % 53, "dates": pd.to_datetime(when, unit="s")}[
        kind
    ]
    frame["rating"] = generator.integers(1, 6, 900).astype(float)
    frame.loc[10:20, "rating"] = np.nan
    if kind == "dates":
        frame.loc[15:30, "when"] = pd.NaT
    frame.to_parquet(tmp_path / "likes.parquet", row_group_size=100)
    data = Data(
        likes=str(tmp_path / "likes.parquet"),
        timestamp_column="when",
        liked_from=3,
        largest_left_out=0.5,
    )
    run = same(data, tmp_path, method=method)
    assert len(in_parts) == 1
    left_out = run.data.outcome.rejected["likes"]
    assert left_out["no rating"] == 11
    assert left_out["rating below 3"] > 200
    assert left_out.get("unreadable timestamp") == (4 if kind == "dates" else None)
    assert run.holdouts.file("train_days.npy").exists() == (kind != "weeks")
    assert (run.holdouts.outcome.tied is not None) == (method == "last")


def test_text_with_names_features_and_rows_that_are_left_out(
    tmp_path: Path, in_parts: list[int]
) -> None:
    path, features = write_planted(tmp_path)
    lines = path.read_text().splitlines()
    lines[30:30] = ["a|b", "another name|g0i01|g0u00", "||g0u01", "|g0i02|", "|g0i03|NULL"]
    lines[90:90] = [lines[0], "item G0I04|G0I04|g0u02", "another name|g0i01|g0u09"]
    lines += ["another name|g0i01|g0u10", lines[5], lines[5], f"|{len(lines) + 2}|Total"]
    path.write_text("\n".join(lines) + "\n")
    data = Data(likes=str(path), features=str(features), largest_left_out=0.5)
    run = same(data, tmp_path, holdouts="one")
    assert len(in_parts) == 1
    assert run.data.outcome.rejected["likes"] == {
        "the header again": 1,
        "a total": 1,
        "wrong number of fields": 1,
        "no user": 1,
        "no item": 1,
        "user called NULL": 1,
        "duplicate": 3,
    }
    assert run.holdouts.outcome.cold_items > 0


def test_a_folder_of_files_and_ids_of_several_types(tmp_path: Path, in_parts: list[int]) -> None:
    folder = tmp_path / "likes" / "day=1"
    folder.mkdir(parents=True)
    for number in range(3):
        frame = likes(number, 400)
        frame = pd.DataFrame({"user_id": frame.user_id.astype(float), "item_id": frame.item_id})
        frame.loc[frame.index[5], "user_id"] = np.nan
        frame.astype({"item_id": str}).to_parquet(folder / f"{number}.parquet")
    run = same(Data(likes=str(tmp_path / "likes")), tmp_path)
    assert len(in_parts) == 1
    assert run.data.outcome.rejected["likes"]["no user"] == 3


def test_ids_of_text_that_are_whole_numbers_with_a_point(
    tmp_path: Path, in_parts: list[int]
) -> None:
    frame = likes().astype(float)
    frame["user_id"] = [f"{user:.0f}" if user % 2 else f"{user:.1f}" for user in frame.user_id]
    frame.to_csv(tmp_path / "likes.csv", index=False)
    run = same(Data(likes=str(tmp_path / "likes.csv")), tmp_path)
    assert len(in_parts) == 1
    assert pq.read_table(run.data.file("users.parquet"))["id"][0].as_py() == "1000"


@pytest.mark.parametrize(
    "text",
    ['user,item\n"a,b",1\n"c ""d""",2\n"e\nf",3\n', "user,item\nann\\,b,7\nbob,8\n"],
)
def test_text_that_is_not_plain_and_tables_with_weights_are_read_at_once(
    tmp_path: Path, in_parts: list[int], text: str
) -> None:
    quoted = tmp_path / "quoted.csv"
    quoted.write_text(text)
    weighed = tmp_path / "weighed.parquet"
    likes().assign(plays=np.arange(900) % 5 + 1).to_parquet(weighed)
    for data in (Data(likes=str(quoted)), Data(likes=str(weighed), weight_column="plays")):
        sources = preparation.sources_of(data)
        one = preparation.ingest(tmp_path / "whole", data, sources, memory=AMPLE)
        events: list[Event] = []
        with listening(events.append):
            other = preparation.ingest(tmp_path / "parts", data, sources, memory=0)
        assert one.digest == other.digest
        assert any("is read at once" in each.text for each in events if isinstance(each, Note))
    assert in_parts == []


def test_faults_are_those_of_a_table_in_memory(tmp_path: Path) -> None:
    frame = likes()
    nobody = frame.assign(user_id=None)
    rounded = frame.assign(item_id=[f"{item}.5e+12" for item in frame.item_id % 9 + 1])
    baskets = frame.assign(
        item_id=[";".join(map(str, range(7 + a % 3, 8 + a % 5))) + ";9" for a in frame.item_id]
    )
    again = frame.astype(str)
    again.loc[500] = ["item_id", "user_id"]
    for number, bad in enumerate((nobody, rounded, baskets, again)):
        path = tmp_path / f"{number}.parquet"
        bad.to_parquet(path)
        data = Data(likes=str(path))
        said = []
        for memory in (AMPLE, TINY):
            with pytest.raises(InputError) as fault:
                preparation.ingest(
                    tmp_path / "i", data, preparation.sources_of(data), memory=memory
                )
            said.append(str(fault.value))
        assert said[0] == said[1]


def test_a_core_that_is_empty_is_the_same_fault(tmp_path: Path) -> None:
    likes().to_parquet(tmp_path / "likes.parquet")
    data = Data(likes=str(tmp_path / "likes.parquet"))
    read = preparation.ingest(tmp_path, data, preparation.sources_of(data), memory=TINY)
    said = []
    for memory in (AMPLE, TINY):
        with pytest.raises(InputError, match="no interaction of") as fault:
            preparation.threshold(tmp_path, read, Threshold(user_min=800, item_min=2), memory)
        said.append(str(fault.value))
    assert said[0] == said[1]


PAIRS = st.lists(
    st.tuples(st.sampled_from(USER), st.sampled_from(["1", "2", "3", "10", " 1", "N/A"])),
    min_size=1,
    max_size=60,
)


@settings(max_examples=15, deadline=None)
@given(PAIRS, st.integers(1, 9))
def test_any_pairs_in_parts_of_any_size(
    tmp_path_factory: pytest.TempPathFactory, pairs: list[tuple[str, str]], rows: int
) -> None:
    folder = tmp_path_factory.mktemp("pairs")
    columns = {"user": [user for user, _ in pairs], "item": [item for _, item in pairs]}
    pq.write_table(pa.table(columns), folder / "likes.parquet", row_group_size=7)
    data = Data(likes=str(folder / "likes.parquet"), largest_left_out=1)
    found = []
    for name, memory in (("whole", AMPLE), ("parts", rows * 400)):
        try:
            sources = preparation.sources_of(data)
            read = preparation.ingest(folder / name, data, sources, memory=memory)
            core = preparation.threshold(
                folder / name, read, Threshold(user_min=1, item_min=2), memory
            )
            found.append((read.digest, core.digest))
        except InputError as fault:
            found.append((str(fault), ""))
    assert found[0] == found[1]


@given(
    st.lists(
        st.sampled_from([0, 99, 10**8 - 1, 10**8, 10**8 + 1, 10**11, 10**12, 10**14, 10**17]),
        min_size=1,
        max_size=9,
    ),
    st.integers(1, 4),
)
def test_the_unit_of_times_is_found_without_all_of_them(times: list[int], rows: int) -> None:
    middle = Middle()
    for start in range(0, len(times), rows):
        middle.look_at(np.array(times[start : start + rows], np.int64))
    try:
        units: float | None = units_in_a_second(np.array(times), "times")
    except InputError:
        with pytest.raises(InputError):
            units_by_middle(middle.bound(), "times")
    else:
        assert units_by_middle(middle.bound(), "times") == units


def test_parts_are_as_large_as_memory_allows(monkeypatch: pytest.MonkeyPatch) -> None:
    assert rows_of_a_part(10_000, 10_000 * 150) is None
    assert rows_of_a_part(10_001, 10_000 * 150) == 3_750
    assert rows_of_a_part(1, 0) == 1
    monkeypatch.setattr(memory_bound, "available", lambda: 3_000_000)
    assert rows_of_a_part(10_000, None) is None
    assert rows_of_a_part(10_001, None) == 3_750
