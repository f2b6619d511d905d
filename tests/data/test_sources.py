"""Input checked before a run begins: what is wrong is said as the stage would say it."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from recsys.base.config import Data, Split
from recsys.base.errors import InputError, NotFoundError
from recsys.data.sources import check_input, sources_of
from recsys.pipeline.preparation import ingest
from tests.fixtures.planted import write_planted


@pytest.fixture
def data(tmp_path: Path) -> Data:
    likes, features = write_planted(tmp_path / "in")
    people = tmp_path / "in/people.psv"
    people.write_text("uid|type|value\ng0u00|country|nl\n")
    return Data(likes=str(likes), features=str(features), user_features=str(people))


def check(data: Data) -> None:
    check_input("sample", data, Split())


def test_what_can_be_read_passes(data: Data) -> None:
    check(data)
    check_input("sample", None, Split())


def test_parquet_folders_and_compressed_text_pass(data: Data, tmp_path: Path) -> None:
    table = pd.read_csv(data.likes, sep="|")
    (tmp_path / "parts").mkdir()
    table.to_parquet(tmp_path / "parts/one.parquet")
    table.to_csv(tmp_path / "likes.psv.gz", sep="|", index=False)
    for likes in ("parts", "likes.psv.gz"):
        check(data.model_copy(update={"likes": str(tmp_path / likes)}))


def test_a_quoted_header_is_read_as_the_stage_reads_it(tmp_path: Path) -> None:
    (tmp_path / "likes.psv").write_text('"the|user"|mid\nu|i\n')
    data = Data(likes=str(tmp_path / "likes.psv"), user_column="the|user", name_column=None)
    ingest(tmp_path / "interim", data, sources_of(data))
    check(data)


WRONG = {
    "missing": {"likes": "none.psv"},
    "missing features": {"features": "none.psv"},
    "missing user features": {"user_features": "none.psv"},
    "empty": {"likes": "empty.psv"},
    "not parquet": {"likes": "not.parquet"},
    "folder without parquet": {"likes": "folder"},
    "column": {"user_column": "x"},
    "name column": {"name_column": "x"},
    "timestamp column": {"timestamp_column": "x"},
    "feature column": {"feature_value_column": "x"},
    "owner of features": {"feature_item_column": "x"},
    "owner of user features": {"feature_user_column": "x"},
    "delimiter": {"delimiter": ";"},
    "encoding": {"encoding": "rot13"},
    "compressed": {"likes": "not.psv.gz"},
    "parquet column": {"likes": "one.parquet", "item_column": "x"},
    "twice": {"likes": "twice.psv"},
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_is_said_as_the_stage_says_it(
    case: str, data: Data, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty.psv").write_text("")
    Path("not.parquet").write_text("no")
    Path("not.psv.gz").write_text("no")
    Path("twice.psv").write_text("modelname|mid|uid|uid\na|b|c|d\n")
    Path("folder").mkdir()
    Path("folder/text.txt").write_text("no")
    pd.read_csv(data.likes, sep="|").to_parquet("one.parquet")
    wrong = data.model_copy(update=WRONG[case])
    with pytest.raises(InputError) as stage:
        ingest(tmp_path / "interim", wrong, sources_of(wrong))
    with pytest.raises(InputError) as before:
        check(wrong)
    assert str(before.value) == str(stage.value)


def test_only_the_beginning_is_read(data: Data, tmp_path: Path) -> None:
    # A fault far behind the first rows is for the stage to find.
    long = tmp_path / "long.psv"
    with long.open("wb") as stream:
        stream.write(b"modelname|mid|uid\n" + b"a|b|c\n" * 2_000_000 + b"\xff|b|c\n")
    update = {"likes": str(long), "features": None, "user_features": None, "encoding": "utf-8"}
    wrong = data.model_copy(update=update)
    check(wrong)
    with pytest.raises(InputError):
        ingest(tmp_path / "interim", wrong, sources_of(wrong))


def test_the_last_interactions_need_a_timestamp(data: Data) -> None:
    for given in (data, None):
        with pytest.raises(InputError, match="no timestamp"):
            check_input("sample", given, Split(method="last"))
    check_input("movielens-100k", None, Split(method="last"))


def test_a_search_that_goes_by_age_needs_times(data: Data, tmp_path: Path) -> None:
    for given in (data, None):
        with pytest.raises(InputError, match=r"nobody knows when .*data\.timestamp_column"):
            check_input("sample", given, Split(), goes_by_age=True)
    check_input("movielens-100k", None, Split(), goes_by_age=True)
    frame = pd.read_csv(data.likes, sep="|")
    for name, when in (("seconds", 10**9), ("weeks", 9)):
        frame.assign(when=when).to_csv(tmp_path / f"{name}.csv", index=False)
    timed = data.model_copy(update={"timestamp_column": "when"})
    seconds = timed.model_copy(update={"likes": str(tmp_path / "seconds.csv")})
    check_input("sample", seconds, Split(), goes_by_age=True)
    weeks = timed.model_copy(update={"likes": str(tmp_path / "weeks.csv")})
    check_input("sample", weeks, Split())
    with pytest.raises(InputError, match="nobody knows how long a day is"):
        check_input("sample", weeks, Split(), goes_by_age=True)


def test_files_that_are_held_out_need_times_of_a_known_unit_as_well(
    data: Data, tmp_path: Path
) -> None:
    frame = pd.read_csv(data.likes, sep="|")
    for name, when in (("seconds", 10**9), ("weeks", 9)):
        frame.assign(when=when).to_csv(tmp_path / f"{name}.csv", index=False)
    seconds, weeks = (str(tmp_path / f"{name}.csv") for name in ("seconds", "weeks"))
    timed = data.model_copy(update={"timestamp_column": "when", "likes": seconds})
    check_input("sample", timed, Split(method="files", test_file=seconds), goes_by_age=True)
    given = Split(method="files", test_file=seconds, validation_file=weeks)
    check_input("sample", timed, given)
    with pytest.raises(InputError, match="nobody knows how long a day is"):
        check_input("sample", timed, given, goes_by_age=True)


def test_an_unknown_data_set_is_named() -> None:
    with pytest.raises(NotFoundError, match="sketchfab"):
        check_input("sketchfap", None, Split())
