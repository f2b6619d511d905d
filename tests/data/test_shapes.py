"""Shapes of public data sets: inspected, written as a configuration, and read to the row."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import pytest

from recsys.base.config import Data
from recsys.base.config_file import load_config
from recsys.base.errors import InputError
from recsys.data import persistence
from recsys.data.idmap import IdMap
from recsys.data.inspection import configuration, inspect
from recsys.pipeline.preparation import ingest, sources_of
from recsys.store.stages import Stage

FILMS = [(n, f"Caf\xe9 No. {n} ({1960 + n % 40})", "Drama|Comedy" if n % 3 else "Horror")
         for n in range(1, 41)]  # fmt: skip


def made(folder: Path, files: dict[str, str], encoding: str, **more: Any) -> Stage[Any]:
    """What `recsys inspect --write` and then `ingest` make of files."""
    for name, content in files.items():
        (folder / name).write_bytes(content.encode(encoding))
    found = inspect([str(folder / name) for name in files])
    (folder / "mine.toml").write_text(configuration(found))
    data = load_config(folder / "mine.toml").data
    assert data is not None
    data = Data.model_validate({**data.model_dump(exclude_unset=True), **more})
    return ingest(folder / "interim", data, sources_of(data))


def names(stage: Stage[Any], side: str) -> list[str]:
    features = persistence.load_features(Path(stage.path), side)
    assert features is not None
    return features.names.to_pylist()


def test_movielens_1m(tmp_path: Path) -> None:
    chance = random.Random(1)
    # As in the original, there are more users than films, and both are numbered from 1.
    ratings = [(u, f) for u in range(1, 61) for f in range(1, 41) if chance.random() < 0.4]
    stars = [1 + (u * 7 + f) % 5 for u, f in ratings]
    lines = [f"{u}::{f}::{s}::{978300760 + u * 60 + f}\n"
             for (u, f), s in zip(ratings, stars, strict=True)]  # fmt: skip
    files = {
        "ratings.dat": "".join(lines),
        "movies.dat": "".join("::".join(map(str, film)) + "\n" for film in FILMS),
        "users.dat": "".join(
            f"{u}::{'FM'[u % 2]}::{(1, 18, 25, 35)[u % 4]}::{u % 21}::{48067 + u % 9:05}\n"
            for u in range(1, 61)
        ),
    }
    stage = made(tmp_path, files, "latin-1")
    found = stage.outcome
    liked = sum(s >= 4 for s in stars)
    assert found.rows == {"likes": len(ratings), "item features": 40, "user features": 60}
    assert found.interactions == liked
    assert found.rejected["likes"] == {"rating below 4": len(ratings) - liked}
    assert names(stage, "item") == ["3_comedy", "3_drama", "3_horror"]
    assert {"2_f", "2_m", "3_18"} <= set(names(stage, "user"))
    titles = persistence.load_names(Path(stage.path) / "items.parquet")
    assert titles is not None
    assert "Caf\xe9 No. 1 (1961)" in titles.to_pylist()


def test_lastfm_with_and_without_a_header(tmp_path: Path) -> None:
    chance = random.Random(2)
    rows = [
        (f"{user:08x}", f"artist-{artist}", f"Band {artist}", int(10 ** (4 * chance.random())))
        for user in range(40)
        for artist in range(30)
        if chance.random() < 0.4
    ]
    plain = "".join("\t".join(map(str, row)) + "\n" for row in rows)
    found = made(tmp_path, {"plays.tsv": plain}, "utf-8").outcome
    assert found.interactions == found.rows["likes"] == len(rows)
    assert any("damped by their logarithm" in note for note in found.notes)
    (tmp_path / "second").mkdir()
    headed = "userID\tartistID\tweight\n" + "".join(f"{u}\t{a}\t{n}\n" for u, a, _, n in rows)
    again = made(tmp_path / "second", {"user_artists.dat": headed}, "utf-8")
    assert again.outcome.interactions == len(rows)


def quoted(*fields: object) -> str:
    return ";".join(f'"{field}"' for field in fields) + "\n"


def test_book_crossing(tmp_path: Path) -> None:
    chance, people = random.Random(3), range(276725, 276775)
    rated = [
        (user, book, chance.choice([0, 0, 0, 5, 8, 10]))
        for user in people
        for book in range(30)
        if chance.random() < 0.4
    ]
    zeros = sum(rating == 0 for *_, rating in rated)
    liked = sum(rating > 5 for *_, rating in rated)
    books = ['"ISBN";"Book-Title";"Book-Author";"Year-Of-Publication";"Image-URL-S"\n']
    for n in range(30):
        title, picture = f'Kr\xfcmel &amp; \\"Co\\" {n}', f"http://images.example/{n}.jpg"
        isbn = f"034545104{n:02}X"
        books.append(quoted(isbn, title, f"Author {n % 4}", 1980 + n % 12, picture))
    users = ['"User-ID";"Location";"Age"\n']
    for user in people:
        age = "NULL" if user % 2 else f'"{20 + user % 5}"'
        users.append(f'"{user}";"nyc, new york, usa";{age}\n')
    files = {
        "BX-Book-Ratings.csv": '"User-ID";"ISBN";"Book-Rating"\n'
        + "".join(quoted(u, f"034545104{b:02}X", r) for u, b, r in rated),
        "BX-Books.csv": "".join(books),
        "BX-Users.csv": "".join(users),
    }
    stage = made(tmp_path, files, "latin-1")
    assert stage.outcome.interactions == liked
    assert stage.outcome.rejected["likes"] == {"rating below 8": len(rated) - liked}
    types = {name.split("_")[0].lower() for name in names(stage, "item")}
    assert types == {"book-author", "year-of-publication"}
    titles = persistence.load_names(Path(stage.path) / "items.parquet")
    assert titles is not None
    assert titles[0].as_py() == 'Kr\xfcmel &amp; "Co" 0'
    asked = Data(likes=str(tmp_path / "BX-Book-Ratings.csv"))
    with pytest.raises(InputError, match=rf"0, in {zeros:,} rows, .*data\.unrated = 0"):
        ingest(tmp_path / "interim", asked, sources_of(asked))
    stage = made(tmp_path, files, "latin-1", unrated=0)
    assert stage.outcome.interactions == liked + zeros
    ids: IdMap = persistence.load_ids(Path(stage.path) / "items.parquet", "item")
    assert ids.id(0) == "03454510400X"
