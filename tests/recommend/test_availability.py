"""What may be shown: lists of ids and tables, read again when they change."""

from __future__ import annotations

from datetime import UTC, date, datetime
from pathlib import Path

import pandas as pd
import pytest

from recsys.base.errors import InputError, NotFoundError
from recsys.pipeline import batch
from recsys.pipeline.outcomes import Source
from recsys.recommend import availability
from recsys.recommend.availability import (
    Availability,
    WatchedAvailability,
    read_availability,
)
from recsys.recommend.queries.filters import Filters
from recsys.recommend.recommender import Recommender
from tests.fixtures.bundles import write_bundle
from tests.fixtures.terminal import Terminal

NOON = datetime(2026, 3, 1, 12, tzinfo=UTC).timestamp()
DAY = 86_400.0


def open_items(file: Path, moment: float = NOON) -> list[str]:
    table = read_availability(file)
    return table.items.filter(table.open_at(moment)).to_pylist()


@pytest.mark.parametrize("text", ["b\nd\n", "\ufeffitem\r\nb\r\nd\r\n", "item,note\nb,x\nd,\n"])
def test_a_list_of_ids_in_any_dress(text: str, tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_bytes(text.encode())
    assert open_items(file) == ["b", "d"]


def test_a_table_says_from_when_until_when_and_what_is_in_stock(tmp_path: Path) -> None:
    rows = """item;from;until;In stock
a;2026-03-01;;yes
b;2026-03-02;;yes
c;;2026-03-01;3
d;;2026-02-28;3
e;2026-03-01T12:00:00+01:00;2026-03-01T13:00:00;true
f;;;0
g;;;no
h;;;
"""
    file = tmp_path / "stock.csv"
    file.write_text(rows)
    # A date in `until` counts to its end; a time without a zone is UTC.
    assert open_items(file) == ["a", "c", "e", "h"]
    assert open_items(file, NOON + DAY) == ["a", "b", "h"]


def test_parquet_with_real_dates_and_numbers_as_ids(tmp_path: Path) -> None:
    file = tmp_path / "stock"
    frame = pd.DataFrame({"item": [1, 2, 3], "until": [date(2026, 3, 1), date(2026, 2, 28), None]})
    frame.to_parquet(file)
    assert open_items(file) == ["1", "3"]


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("item,from\na,soon\n", "from = 'soon'; expected a date or a time"),
        ("item,in_stock\na,perhaps\n", "in_stock = 'perhaps'; expected true or false"),
        ("id,from\na,\n", "has the columns id, from; expected a column item"),
        ("item,from\na\n", "a row of 1 fields ('a'); expected 2"),
    ],
)
def test_what_cannot_be_read_is_said(text: str, said: str, tmp_path: Path) -> None:
    (tmp_path / "stock.csv").write_text(text)
    with pytest.raises(InputError) as refused:
        read_availability(tmp_path / "stock.csv")
    assert said in str(refused.value)
    with pytest.raises(NotFoundError):
        read_availability(tmp_path / "nothing")


@pytest.fixture
def model(tmp_path: Path) -> Path:
    return write_bundle(tmp_path / "bundle", features=True)


def ids(rows: object) -> list[str]:
    return [row.id for row in rows]  # type: ignore[attr-defined]


def test_every_answer_is_made_of_what_is_available(model: Path) -> None:
    asked = Recommender.load(model)
    shown = Recommender(asked.bundle, model, Availability.of(["a", "d", "e", "unknown"]))
    both = Filters(include_untrained=True)
    assert ids(asked.recommend("ann", 9, both)) == ["b", "d", "e", "c"]
    assert ids(shown.recommend("ann", 9, both)) == ["d", "e"]
    assert ids(shown.recommend_many(["ann", "bob"], 9)[1]) == ["d", "a"]
    assert set(ids(shown.recommend_for(["b"], 9))) == {"a", "d"}
    assert set(ids(shown.similar_items("b", 9))) == {"a", "e"}
    assert set(ids(shown.similar_items_many(["b"], 9)[0])) == {"a", "e"}
    assert set(ids(shown.items_for_tag("red", 9))) <= {"a", "e"}
    assert ids(shown.popular(9)) == ["a", "d", "e"]
    # It narrows what a question allows, and widens nothing.
    assert ids(shown.recommend("ann", 9, Filters(only=["c", "d"]))) == ["d"]


def test_only_is_a_list_of_any_length_and_none_of_it_is_nothing(model: Path) -> None:
    asked = Recommender.load(model)
    many = [f"x{number}" for number in range(50_000)] + ["c"]
    answer = asked.recommend("ann", 5, Filters(only=many))
    assert ids(answer) == ["c"]
    assert answer.notes[0].startswith("50,000 unknown items among those allowed: x0, x1")
    assert ids(asked.recommend("ann", 5, Filters(only=[]))) == []
    assert ids(asked.audience("b", 5, Filters(only=["ann"]))) == ["ann"]


def test_a_file_that_changes_is_read_again(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "stock.csv"
    file.write_text("item,until\nb,\nd,2026-03-01\n")
    monkeypatch.setattr(availability, "time", type("Clock", (), {"time": staticmethod(lambda: at)}))
    at = NOON
    shown = Recommender(Recommender.load(model).bundle, None, WatchedAvailability(file))
    assert ids(shown.recommend("ann", 5)) == ["b", "d"]
    at = NOON + DAY  # the clock alone changes what may be shown
    assert ids(shown.recommend("ann", 5)) == ["b"]
    new = tmp_path / "new.csv"
    new.write_text("item\nc\n")
    new.replace(file)
    assert ids(shown.recommend("ann", 5)) == ["c"]
    file.write_text("item,from\nc,whenever\n")
    assert ids(shown.recommend("ann", 5)) == ["c"]
    assert ids(shown.recommend("ann", 5)) == ["c"]
    assert len([entry for entry in caplog.records if "stays as before" in entry.message]) == 1
    file.unlink()
    assert ids(shown.recommend("ann", 5)) == ["c"]


def test_a_batch_holds_what_is_available_and_is_made_again_when_that_changes(
    model: Path, tmp_path: Path
) -> None:
    file = tmp_path / "ids.txt"
    file.write_text("d\nb\nb\n")
    source, only = Source("m", "1", "b"), batch.available_ids(str(file))
    assert only == ["b", "d"]
    assert batch.available_ids(None) is None
    made = batch.recommend(tmp_path / "out", source, 5, model, only=only)
    users = pd.read_parquet(made.file("users"))
    assert users.groupby("user")["item"].agg(list).to_dict() == {"ann": ["b", "d"], "bob": ["d"]}
    items = pd.read_parquet(made.file("items"))
    assert set(items["similar"]) == {"b", "d"}
    assert batch.recommend.key(source, 5, model) != batch.recommend.key(source, 5, model, only=only)


def test_the_terminal_takes_ids_and_files(recsys: Terminal, tmp_path: Path) -> None:
    file = tmp_path / "ids.txt"
    file.write_text("c\nd\n")
    assert recsys.ids("recommend", "ann", "--only", "c", "--only", "b") == ["b", "c"]
    assert recsys.ids("recommend", "ann", "--only", str(file)) == ["d", "c"]
    assert recsys.ids("similar", "a", "--only", str(file)) == ["c"]


def test_rank_puts_items_of_ones_own_into_order(recsys: Terminal) -> None:
    asked = Recommender.load(recsys.model)
    scores = {
        row.id: row.score
        for row in asked.recommend("ann", 9, Filters(include_seen=True, include_untrained=True))
    }
    answer = asked.rank("ann", ["c", "e", "nothing", "a", "b"])
    assert ids(answer) == sorted(["c", "e", "a", "b"], key=lambda item: -scores[item])
    assert [row.score for row in answer] == pytest.approx([scores[row.id] for row in answer])
    assert {row.id: row.reason for row in answer}["a"] == "liked"
    assert answer.notes == ("1 unknown item ignored: nothing",)
    assert recsys.ids("rank", "ann", "c", "e", "a", "b") == ids(answer)
    assert ids(asked.rank(None, ["c", "b"], liked=["a"])) == ["b", "c"]
