"""Several items in a cell: asked about, split by a setting, and lists are what they are."""

from __future__ import annotations

import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

import recsys
from recsys.base.config_file import load_config
from recsys.base.errors import InputError
from recsys.data.inspection import configuration, inspect
from recsys.data.interactions import InteractionColumns, read_interaction_table
from recsys.data.signals import InteractionRules
from recsys.pipeline.preparation import ingest, sources_of

# 30 users with four to six of 20 items each: 150 in all.
BASKETS = {
    f"u{user:02}": [f"i{(user * 3 + nth) % 20:02}" for nth in range(4 + user % 3)]
    for user in range(30)
}


def written(folder: Path, separator: str, quote: str = "") -> Path:
    path = folder / "baskets.csv"
    rows = [f"{user},{quote}{separator.join(items)}{quote}" for user, items in BASKETS.items()]
    path.write_text("\n".join(["customer,product", *rows]) + "\n")
    return path


@pytest.mark.parametrize(("separator", "quote"), [("|", ""), (";", ""), (",", '"'), (", ", '"')])
def test_several_items_in_a_cell_are_a_stop_that_names_the_setting(
    separator: str, quote: str, tmp_path: Path
) -> None:
    path = written(tmp_path, separator, quote)
    mark = separator.strip()
    with pytest.raises(InputError) as told:
        read_interaction_table(path)
    assert "the column product of " in str(told.value)
    assert f'set data.item_separator = "{mark}" to read each' in str(told.value)
    found = read_interaction_table(path, rules=InteractionRules(item_separator=mark))
    assert found.rows == 150
    assert found.interactions.counts() == {"users": 30, "items": 20, "interactions": 150}
    assert any(f"the 30 rows of {path} are read as 150" in note for note in found.notes)
    whole = read_interaction_table(path, rules=InteractionRules(item_separator=""))
    assert whole.rows == 30


def test_empty_parts_are_no_items_and_an_empty_cell_is_counted(tmp_path: Path) -> None:
    path = tmp_path / "likes.csv"
    path.write_text("user,item\nu1,a| b |\nu2,\nu3,|\nu4,a\n")
    found = read_interaction_table(path, rules=InteractionRules(item_separator="|"))
    assert found.rows == 5
    assert found.left_out() == {"no item": 2}
    assert found.interactions.items.ids.to_pylist() == ["a", "b"]


def test_inspect_asks_and_writes_a_configuration_that_reads_each(tmp_path: Path) -> None:
    found = inspect([str(written(tmp_path, "|"))])
    assert found[0].counts["interactions"] == 150
    assert any("several items in a cell" in question for question in found[0].questions)
    (tmp_path / "mine.toml").write_text(configuration(found))
    data = load_config(tmp_path / "mine.toml").data
    assert data is not None
    assert ingest(tmp_path / "interim", data, sources_of(data)).outcome.interactions == 150


def test_from_python(tmp_path: Path) -> None:
    assert len(recsys.read_interactions(written(tmp_path, ";"), item_separator=";")) == 150


def test_lists_are_an_item_each_in_json_lines_and_parquet(tmp_path: Path) -> None:
    rows = [{"user": user, "item": items} for user, items in BASKETS.items()]
    rows += [{"user": "u30", "item": []}, {"user": "u31", "item": None}]
    lines, table = tmp_path / "likes.jsonl", tmp_path / "likes.parquet"
    lines.write_text("".join(json.dumps(row) + "\n" for row in rows))
    pq.write_table(pa.Table.from_pylist(rows), table)
    for path in (lines, table):
        found = read_interaction_table(path)
        assert found.rows == 152
        assert found.left_out() == {"no item": 2}
        assert found.interactions.counts() == {"users": 30, "items": 20, "interactions": 150}
        assert "its 32 rows are read as 152" in found.notes[0]


@pytest.mark.parametrize(
    "item",
    [
        lambda n: f"shop{n % 5}|{n // 5:03}",  # composed of two
        lambda n: f"Film, The {n}",
        lambda n: f"Action|Film {n}",
    ],
)
def test_an_id_of_several_parts_is_an_id(item: object, tmp_path: Path) -> None:
    assert callable(item)
    path = tmp_path / "likes.tsv"
    path.write_text("user\titem\n" + "".join(f"u{n % 9}\t{item(n)}\n" for n in range(60)))
    found = read_interaction_table(path, InteractionColumns())
    assert (found.rows, len(found.interactions.items)) == (60, 60)
