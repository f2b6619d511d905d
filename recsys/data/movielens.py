"""MovieLens 100K: the published archive converted to likes, features and user features."""

from __future__ import annotations

import csv
import io
import zipfile
import zlib
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recsys.base.errors import DownloadError

LIKED_FROM = 4
"""A MovieLens rating (1 to 5) of at least this is a like, as is usual in the field."""

_MEMBER_LIMIT = 16 * 1024 * 1024

# What zipfile and csv raise for other files; RuntimeError for an encrypted or unknown member.
_NOT_MOVIELENS = (
    zipfile.BadZipFile,
    zlib.error,
    csv.Error,
    EOFError,
    LookupError,
    RuntimeError,
    ValueError,
)

# The order of the flags at the end of a line of u.item. The first, "unknown", is not a genre.
_GENRES = (
    None,
    "Action",
    "Adventure",
    "Animation",
    "Children's",
    "Comedy",
    "Crime",
    "Documentary",
    "Drama",
    "Fantasy",
    "Film-Noir",
    "Horror",
    "Musical",
    "Mystery",
    "Romance",
    "Sci-Fi",
    "Thriller",
    "War",
    "Western",
)

# Lowest age of each group, oldest group first: the groups that GroupLens uses in MovieLens 1M.
_AGE_GROUPS = (
    (56, "56+"),
    (50, "50-55"),
    (45, "45-49"),
    (35, "35-44"),
    (25, "25-34"),
    (18, "18-24"),
    (0, "under 18"),
)

Row = tuple[object, ...]


def convert_movielens_100k(downloaded: list[Path], folder: Path) -> None:
    """Write MovieLens 100K as likes, features and user features in Parquet.

    ``likes.parquet`` has user, item, name (the title), rating and timestamp (UTC), one row for
    each rating of at least `LIKED_FROM`. ``features.parquet`` has item, type ("genre" or
    "decade") and value for every film, liked or not; ``user_features.parquet`` has user, type
    ("age", "gender" or "occupation") and value for every user.

    Parameters
    ----------
    downloaded : list of Path
        The archive ``ml-100k.zip``. Three of its members are read; none is unpacked to disk.
    folder : Path
        Where the tables are written.

    Raises
    ------
    DownloadError
        If the archive is not MovieLens 100K.
    OSError
        If a table cannot be written.
    """
    (archive,) = downloaded
    try:
        ratings, films, users = _read_movielens(archive)
        titles = {film[0]: film[1] for film in films}
        likes = list(_movielens_likes(ratings, titles))
        features = list(_film_features(films))
        user_features = list(_user_features(users))
    except _NOT_MOVIELENS as error:
        raise DownloadError(
            f"{archive} is not the expected archive ({error})",
            "the MovieLens 100K archive with u.data, u.item and u.user",
            "delete it and run again",
        ) from error
    _write_table(folder / "likes.parquet", _likes_schema(), likes)
    _write_table(folder / "features.parquet", _feature_schema("item"), features)
    _write_table(folder / "user_features.parquet", _feature_schema("user"), user_features)


def _read_movielens(archive: Path) -> tuple[list[list[str]], list[list[str]], list[list[str]]]:
    with zipfile.ZipFile(archive) as opened:
        read = partial(_read_member, opened)
        return (
            read("ml-100k/u.data", "\t"),
            read("ml-100k/u.item", "|"),
            read("ml-100k/u.user", "|"),
        )


def _read_member(archive: zipfile.ZipFile, name: str, delimiter: str) -> list[list[str]]:
    with archive.open(name) as member:
        # The size in the archive's index may be wrong, so the content is what is limited.
        content = member.read(_MEMBER_LIMIT + 1)
    if len(content) > _MEMBER_LIMIT:
        raise ValueError(f"{name} is larger than {_MEMBER_LIMIT:,} bytes")
    text = io.StringIO(content.decode("latin-1"))
    return [row for row in csv.reader(text, delimiter=delimiter, quoting=csv.QUOTE_NONE) if row]


def _movielens_likes(ratings: list[list[str]], titles: Mapping[str, str]) -> Iterator[Row]:
    for user, item, rating, timestamp in ratings:
        if float(rating) >= LIKED_FROM:
            yield user, item, titles[item], float(rating), int(timestamp)


def _film_features(films: list[list[str]]) -> Iterator[Row]:
    for item, _, released, _, _, *flags in films:
        for genre, flag in zip(_GENRES, flags, strict=True):
            if genre and flag == "1":
                yield item, "genre", genre
        # As in 01-Jan-1995; the film called "unknown" has no date.
        if released:
            yield item, "decade", f"{int(released[-4:]) // 10}0s"


def _user_features(users: list[list[str]]) -> Iterator[Row]:
    for user, age, gender, occupation, _ in users:
        yield user, "age", next(group for youngest, group in _AGE_GROUPS if int(age) >= youngest)
        yield user, "gender", gender
        yield user, "occupation", occupation


def _likes_schema() -> pa.Schema:
    moment = pa.timestamp("s", tz="UTC")
    text = dict.fromkeys(("user", "item", "name"), pa.string())
    return pa.schema({**text, "rating": pa.float32(), "timestamp": moment})


def _feature_schema(owner: str) -> pa.Schema:
    return pa.schema(dict.fromkeys((owner, "type", "value"), pa.string()))


def _write_table(path: Path, schema: pa.Schema, rows: list[Row]) -> None:
    records = [dict(zip(schema.names, row, strict=True)) for row in rows]
    pq.write_table(pa.Table.from_pylist(records, schema=schema), path)
