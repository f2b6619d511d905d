"""Named datasets: what they are, where their files are, and the columns to read them by."""

from __future__ import annotations

import csv
import io
import tempfile
import zipfile
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from functools import partial
from importlib.resources import files
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from recsys.base.errors import DownloadError, NotFoundError
from recsys.data.download import (
    DEFAULT_POLICY,
    Digest,
    FetchPolicy,
    Progress,
    RemoteFile,
    download_file,
)

DEFAULT_ROOT = Path("data")
"""The project's data folder, relative to the current one."""

PACKAGED_ROOT = Path(str(files("recsys.data")))
"""The folder whose `sample` comes with the package; in a checkout it links to data/sample."""

LIKED_FROM = 4
"""A MovieLens rating (1 to 5) of at least this is a like, as is usual in the field."""


@dataclass(frozen=True)
class TableSchema:
    """How to read a dataset's tables; the names are those of the reader's configuration.

    The defaults are the founding schema. Parquet files ignore `delimiter` and `escape`.
    """

    delimiter: str = "|"
    escape: str | None = "\\"
    user_column: str = "uid"
    item_column: str = "mid"
    name_column: str | None = "modelname"
    weight_column: str | None = None
    timestamp_column: str | None = None
    feature_user_column: str = "uid"
    feature_item_column: str = "mid"
    feature_type_column: str = "type"
    feature_value_column: str = "value"
    feature_weight_column: str | None = None


@dataclass(frozen=True)
class Source:
    """One file to be downloaded for a dataset.

    Parameters
    ----------
    path : Path
        Where it is kept, relative to the data folder. Its name is its name at the origin.
    digest : Digest
    size : int, optional
        Exact number of bytes, when it is known.
    """

    path: Path
    digest: Digest
    size: int | None = None


@dataclass(frozen=True)
class Dataset:
    """A named dataset. Paths are relative to the data folder.

    Parameters
    ----------
    name, title : str
        The word for ``--dataset`` and one line that says what it is.
    origin, licence : str
        Where it comes from and under which terms it may be used.
    likes : Path
    features, user_features : Path, optional
    schema : TableSchema
    expected : mapping of str to int
        Counts to check a reading against. "users", "items" and "likes" are those in the likes
        file; "kept_*" those left after dropping users and items with fewer than 5 likes until
        nothing changes.
    base_url : str
        Folder that holds `sources`; empty for a dataset that isn't downloaded.
    sources : tuple of Source
    convert : callable, optional
        Makes the tables from the downloaded files: ``convert(downloaded, folder)`` writes each
        table into `folder`. Without it the downloaded files are the tables.
    """

    name: str
    title: str
    origin: str
    licence: str
    likes: Path
    features: Path | None = None
    user_features: Path | None = None
    schema: TableSchema = TableSchema()
    expected: Mapping[str, int] = field(default_factory=dict[str, int])
    base_url: str = ""
    sources: tuple[Source, ...] = ()
    convert: Callable[[list[Path], Path], None] | None = None

    @property
    def columns(self) -> dict[str, str | None]:
        """The schema under the names of the reader's configuration."""
        return asdict(self.schema)

    @property
    def tables(self) -> tuple[Path, ...]:
        """The tables it consists of, relative to the data folder."""
        paths = (self.likes, self.features, self.user_features)
        return tuple(path for path in paths if path is not None)


@dataclass(frozen=True)
class DatasetInfo:
    """A dataset and whether it is on this machine.

    Parameters
    ----------
    dataset : Dataset
    cached : bool
        Whether using it needs no network.
    size : int, optional
        Bytes its tables take here; None when they aren't here.
    """

    dataset: Dataset
    cached: bool
    size: int | None


@dataclass(frozen=True)
class LocatedDataset:
    """A dataset whose tables are on this machine, with their paths."""

    dataset: Dataset
    likes: Path
    features: Path | None
    user_features: Path | None

    def as_config(self) -> dict[str, str | None]:
        """Keyword arguments for the reader's configuration: the three paths and the columns."""
        return {
            "likes": str(self.likes),
            "features": str(self.features) if self.features else None,
            "user_features": str(self.user_features) if self.user_features else None,
            **self.dataset.columns,
        }


def find_dataset(name: str) -> Dataset:
    """Look a dataset up by name.

    Parameters
    ----------
    name : str

    Returns
    -------
    Dataset

    Raises
    ------
    NotFoundError
        If there is none of that name; it names the closest ones.
    """
    if name in DATASETS:
        return DATASETS[name]
    close = get_close_matches(name.lower(), DATASETS, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else "see `recsys datasets`"
    raise NotFoundError(f"no dataset named {name!r}", f"one of {', '.join(DATASETS)}", hint)


def list_datasets(root: Path = DEFAULT_ROOT) -> list[DatasetInfo]:
    """Tell of every named dataset whether it is on this machine. Never touches the network.

    Parameters
    ----------
    root : Path
        The project's data folder.

    Returns
    -------
    list of DatasetInfo
        The default dataset first.
    """
    return [_info(dataset, root) for dataset in DATASETS.values()]


def locate(
    dataset: str | Dataset,
    root: Path = DEFAULT_ROOT,
    *,
    progress: Progress | None = None,
    policy: FetchPolicy = DEFAULT_POLICY,
    base_url: str | None = None,
) -> LocatedDataset:
    """Give a dataset's tables, fetching them on first use.

    Parameters
    ----------
    dataset : str or Dataset
    root : Path
        The project's data folder; downloads are kept under its ``raw``.
    progress : callable, optional
        Called as ``progress(done, total)`` while a file is received; `done` begins anew with each.
    policy : FetchPolicy
    base_url : str, optional
        A mirror to fetch from instead of the dataset's own address.

    Returns
    -------
    LocatedDataset

    Raises
    ------
    NotFoundError
        If there is no dataset of that name, or one that comes with the package isn't there.
    DownloadError
        If it can't be fetched whole, or what was fetched before is no longer what it was.
    """
    if isinstance(dataset, str):
        dataset = find_dataset(dataset)
    root = _root_of(dataset, root)
    if not dataset.sources:
        _check_bundled(dataset, root)
    elif dataset.convert is None or not _present(dataset, root):
        base_url = base_url or dataset.base_url
        downloaded = [
            download_file(
                _remote(source, base_url), root / source.path, policy=policy, progress=progress
            )
            for source in dataset.sources
        ]
        if dataset.convert is not None:
            _convert(dataset, dataset.convert, downloaded, root)
    return LocatedDataset(
        dataset,
        root / dataset.likes,
        root / dataset.features if dataset.features else None,
        root / dataset.user_features if dataset.user_features else None,
    )


def _info(dataset: Dataset, root: Path) -> DatasetInfo:
    root = _root_of(dataset, root)
    cached = _present(dataset, root)
    size = sum((root / table).stat().st_size for table in dataset.tables) if cached else None
    return DatasetInfo(dataset, cached, size)


def _present(dataset: Dataset, root: Path) -> bool:
    return all((root / table).is_file() for table in dataset.tables)


def _root_of(dataset: Dataset, root: Path) -> Path:
    """The data folder that holds the dataset.

    What comes with the package is found in it, from whatever folder it is used, unless another
    data folder was asked for.
    """
    bundled = not dataset.sources and root == DEFAULT_ROOT
    return PACKAGED_ROOT if bundled and not _present(dataset, root) else root


def _check_bundled(dataset: Dataset, root: Path) -> None:
    for table in dataset.tables:
        if not (root / table).is_file():
            raise NotFoundError(
                f"no file {root / table}",
                f"the dataset {dataset.name!r} that comes with the package",
                "name a data folder that holds it, or install the package again",
            )


def _remote(source: Source, base_url: str) -> RemoteFile:
    return RemoteFile(f"{base_url.rstrip('/')}/{source.path.name}", source.digest, source.size)


def _convert(
    dataset: Dataset,
    convert: Callable[[list[Path], Path], None],
    downloaded: list[Path],
    root: Path,
) -> None:
    """Make the tables aside and move them in one by one; likes come last and complete the set."""
    folder = (root / dataset.likes).parent
    try:
        with tempfile.TemporaryDirectory(dir=folder, prefix=".", suffix=".part") as aside:
            convert(downloaded, Path(aside))
            for table in reversed(dataset.tables):
                (Path(aside) / table.name).replace(root / table)
    except OSError as error:
        raise DownloadError(
            f"{folder} can't be written ({error.strerror or error})",
            f"room for the tables of {dataset.name!r}",
            "mend that and run again; the download is kept",
        ) from error


# --- MovieLens 100K -------------------------------------------------------------------------

_MEMBER_LIMIT = 16 * 1024 * 1024

# What zipfile and csv raise on something else: RuntimeError is an encrypted or unknown member.
_NOT_MOVIELENS = (
    zipfile.BadZipFile,
    zlib.error,
    csv.Error,
    EOFError,
    LookupError,
    RuntimeError,
    ValueError,
)

# The order of the flags at the end of a u.item line. The first, "unknown", says that no genre is
# known: that is no property of the film.
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

# Youngest age of each group, oldest group first: the groups GroupLens uses in MovieLens 1M.
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
        The archive ``ml-100k.zip``. Three of its members are read, nothing is unpacked.
    folder : Path
        Where the tables are written.

    Raises
    ------
    DownloadError
        If the archive isn't MovieLens 100K.
    OSError
        If a table can't be written.
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
            f"{archive} isn't as it should be ({error})",
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
        # Not the size the archive claims: what really comes out of it.
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


# --- The datasets ---------------------------------------------------------------------------

_SKETCHFAB = Path("raw/sketchfab")
_MOVIELENS = Path("raw/movielens-100k")

DATASETS: Mapping[str, Dataset] = {
    dataset.name: dataset
    for dataset in (
        Dataset(
            name="sample",
            title="Debian source packages and the packages they build-depend on, with tags",
            origin="the repository's own data/sample",
            licence="that of Debian main: free by the Debian Free Software Guidelines",
            likes=Path("sample/likes.psv.gz"),
            features=Path("sample/feats.psv.gz"),
        ),
        Dataset(
            name="sketchfab",
            title="Likes of 3D models on Sketchfab with tags and categories, October 2016",
            origin="https://github.com/EthanRosenthal/rec-a-sketch",
            licence="MIT (the repository's)",
            likes=_SKETCHFAB / "model_likes_anon.psv",
            features=_SKETCHFAB / "model_feats.psv",
            expected={
                "users": 62_583,
                "items": 28_806,
                "kept_users": 15_274,
                "kept_items": 25_655,
                "kept_likes": 547_477,
                "kept_features": 20_352,
                "kept_item_features": 161_510,
            },
            # A commit, not a branch: it keeps its content, whatever happens to the repository.
            base_url=(
                "https://raw.githubusercontent.com/EthanRosenthal/rec-a-sketch/"
                "83d74f9a0629bb80c086f38f3f2f2895e81af1f0/data"
            ),
            sources=(
                Source(
                    _SKETCHFAB / "model_likes_anon.psv",
                    Digest("git-blob", "cf71d964adbd9f64075b06542b880f8d66d1dfeb"),
                ),
                Source(
                    _SKETCHFAB / "model_feats.psv",
                    Digest("git-blob", "8b85bf2cd232bd10e9ae62359870fe862bc9bc3b"),
                ),
            ),
        ),
        Dataset(
            name="movielens-100k",
            title="Films rated 4 or 5 of 5 on MovieLens, with genres and user attributes, 1997-98",
            origin="https://grouplens.org/datasets/movielens/100k/",
            licence="GroupLens terms: research, no redistribution, no commercial use; cite it",
            likes=_MOVIELENS / "likes.parquet",
            features=_MOVIELENS / "features.parquet",
            user_features=_MOVIELENS / "user_features.parquet",
            schema=TableSchema(
                user_column="user",
                item_column="item",
                name_column="name",
                timestamp_column="timestamp",
                feature_user_column="user",
                feature_item_column="item",
            ),
            expected={"users": 942, "items": 1_447, "likes": 55_375},
            base_url="https://files.grouplens.org/datasets/movielens",
            sources=(
                Source(
                    _MOVIELENS / "ml-100k.zip",
                    Digest(
                        "sha256",
                        "50d2a982c66986937beb9ffb3aa76efe955bf3d5c6b761f4e3a7cd717c6a3229",
                    ),
                    size=4_924_029,
                ),
            ),
            convert=convert_movielens_100k,
        ),
    )
}
"""Every named dataset by its name, the default one first."""
