"""Our reading of text beside an independent one: the same rows, or a stop, never other rows."""

from __future__ import annotations

import csv
import io
import random
from pathlib import Path

import pytest

from recsys.base.errors import InputError
from recsys.data.dialects import TextFormat
from recsys.data.tables import open_table

LETTERS = ["a", "b", "7", " ", '"', ",", "\n", "\r\n", "\\", "é", "|", ";"]
NAMES = ("user", "item", "text")


def table(chance: random.Random) -> list[list[str]]:
    return [
        [
            f"u{chance.randrange(5)}",
            f"i{chance.randrange(5)}",
            "".join(chance.choice(LETTERS) for _ in range(chance.randrange(7))),
        ]
        for _ in range(chance.randrange(1, 12))
    ]


def written(rows: list[list[str]], chance: random.Random) -> str:
    stream = io.StringIO()
    csv.writer(
        stream,
        lineterminator=chance.choice(["\n", "\r\n"]),
        quoting=chance.choice([csv.QUOTE_MINIMAL, csv.QUOTE_ALL]),
    ).writerows([NAMES, *rows])
    return stream.getvalue()


def read(path: Path, text: TextFormat) -> list[list[str]]:
    found = open_table(path, text).read({name: name for name in NAMES}, ())
    assert found.rows == found.table.num_rows + found.malformed
    return [list(row.values()) for row in found.table.to_pylist()]


@pytest.mark.parametrize("seed", range(20))
def test_what_csv_writes_is_read_as_it_was_or_refused(seed: int, tmp_path: Path) -> None:
    chance, path = random.Random(seed), tmp_path / "likes.csv"
    refused = 0
    for _ in range(10):
        rows = table(chance)
        path.write_bytes(written(rows, chance).encode())
        assert read(path, TextFormat(",", '"', "", "utf-8")) == rows
        try:
            found = read(path, TextFormat())
        except InputError:
            refused += 1
            continue
        assert found == rows
    assert refused < 5


@pytest.mark.parametrize("seed", range(10))
def test_a_quote_that_nobody_closes_is_always_refused(seed: int, tmp_path: Path) -> None:
    chance, path = random.Random(seed), tmp_path / "likes.csv"
    for _ in range(10):
        content = written(table(chance), chance) + 'u1,i1,"open\nu2,i2,x\n'
        path.write_bytes(content.encode())
        with pytest.raises(InputError):
            read(path, TextFormat())
