"""Named data sets: what they are, where their files are, and the names of their columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from difflib import get_close_matches
from importlib.resources import files
from pathlib import Path

from recsys.base.errors import DownloadError, NotFoundError
from recsys.data.download import (
    DEFAULT_POLICY,
    Digest,
    FetchPolicy,
    Progress,
    RemoteFile,
    download_file,
)
from recsys.data.movielens import convert_movielens_100k
from recsys.store.scratch import scratch_folder

DEFAULT_ROOT = Path("data")
"""The project's data folder, relative to the current one."""

PACKAGED_ROOT = Path(str(files("recsys.data")))
"""The folder whose `sample` comes with the package; in a checkout it links to data/sample."""


@dataclass(frozen=True)
class TableSchema:
    """How to read a data set's tables; the names are those of the section `data`.

    The defaults are the founding schema. Parquet files ignore `delimiter` and `escape`.
    """

    delimiter: str = "|"
    escape: str | None = "\\"
    user_column: str = "uid"
    item_column: str = "mid"
    name_column: str | None = "modelname"
    weight_column: str | None = None
    timestamp_column: str | None = None
    rating_column: str | None = ""
    feature_user_column: str = "uid"
    feature_item_column: str = "mid"
    feature_type_column: str = "type"
    feature_value_column: str = "value"
    feature_weight_column: str | None = None


@dataclass(frozen=True)
class SourceFile:
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
    """A named data set. Paths are relative to the data folder.

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
        Address of the folder of `sources`; empty for a data set that is not downloaded.
    sources : tuple of SourceFile
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
    sources: tuple[SourceFile, ...] = ()
    convert: Callable[[list[Path], Path], None] | None = None

    @property
    def columns(self) -> dict[str, str | None]:
        """The schema under the names of the section `data` of the configuration."""
        return asdict(self.schema)

    @property
    def tables(self) -> tuple[Path, ...]:
        """Paths of its tables, relative to the data folder."""
        paths = (self.likes, self.features, self.user_features)
        return tuple(path for path in paths if path is not None)


@dataclass(frozen=True)
class DatasetInfo:
    """A data set and whether it is on this machine.

    Parameters
    ----------
    dataset : Dataset
    cached : bool
        Whether using it needs no network.
    size : int, optional
        Bytes of its tables on this machine; None if they are not on it.
    """

    dataset: Dataset
    cached: bool
    size: int | None


@dataclass(frozen=True)
class LocatedDataset:
    """A data set whose tables are on this machine, with their paths."""

    dataset: Dataset
    likes: Path
    features: Path | None
    user_features: Path | None

    def as_config(self) -> dict[str, str | None]:
        """Settings of the section `data`: the three paths and the columns."""
        return {
            "likes": str(self.likes),
            "features": str(self.features) if self.features else None,
            "user_features": str(self.user_features) if self.user_features else None,
            **self.dataset.columns,
        }


def find_dataset(name: str) -> Dataset:
    """Find a data set by its name.

    Parameters
    ----------
    name : str

    Returns
    -------
    Dataset

    Raises
    ------
    NotFoundError
        If there is none of that name; the message names similar ones.
    """
    if name in DATASETS:
        return DATASETS[name]
    close = get_close_matches(name.lower(), DATASETS, cutoff=0.5)
    hint = f"did you mean {' or '.join(close)}?" if close else "see `recsys datasets`"
    raise NotFoundError(f"no data set named {name!r}", f"one of {', '.join(DATASETS)}", hint)


def list_datasets(root: Path = DEFAULT_ROOT) -> list[DatasetInfo]:
    """All named data sets, and whether they are on this machine. Uses no network.

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
    """The paths of a data set's tables, which are downloaded on first use.

    Parameters
    ----------
    dataset : str or Dataset
    root : Path
        The project's data folder; downloads are kept under its ``raw``.
    progress : callable, optional
        Called as ``progress(done, total)`` while a file is received; starts from 0 for each.
    policy : FetchPolicy
    base_url : str, optional
        A mirror to download from instead of the data set's own address.

    Returns
    -------
    LocatedDataset

    Raises
    ------
    NotFoundError
        If there is no data set of that name, or the files of a bundled one are missing.
    DownloadError
        If it cannot be downloaded completely, or an earlier download was changed.
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
    """The data folder that holds the data set.

    Bundled data sets are found in the package, unless another data folder is given.
    """
    bundled = not dataset.sources and root == DEFAULT_ROOT
    return PACKAGED_ROOT if bundled and not _present(dataset, root) else root


def _check_bundled(dataset: Dataset, root: Path) -> None:
    for table in dataset.tables:
        if not (root / table).is_file():
            raise NotFoundError(
                f"no file {root / table}",
                f"the data set {dataset.name!r} that comes with the package",
                "name a data folder that holds it, or install the package again",
            )


def _remote(source: SourceFile, base_url: str) -> RemoteFile:
    return RemoteFile(f"{base_url.rstrip('/')}/{source.path.name}", source.digest, source.size)


def _convert(
    dataset: Dataset,
    convert: Callable[[list[Path], Path], None],
    downloaded: list[Path],
    root: Path,
) -> None:
    """Convert in a temporary folder, then move the tables; likes, moved last, complete the set."""
    folder = (root / dataset.likes).parent
    try:
        with scratch_folder(folder, ".converted-") as aside:
            convert(downloaded, aside)
            for table in reversed(dataset.tables):
                (aside / table.name).replace(root / table)
    except OSError as error:
        raise DownloadError(
            f"{folder} cannot be written ({error.strerror or error})",
            f"room for the tables of {dataset.name!r}",
            "make room and run again; the download is kept",
        ) from error


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
            # A commit, because a branch may change.
            base_url=(
                "https://raw.githubusercontent.com/EthanRosenthal/rec-a-sketch/"
                "83d74f9a0629bb80c086f38f3f2f2895e81af1f0/data"
            ),
            sources=(
                SourceFile(
                    _SKETCHFAB / "model_likes_anon.psv",
                    Digest("git-blob", "cf71d964adbd9f64075b06542b880f8d66d1dfeb"),
                ),
                SourceFile(
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
                SourceFile(
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
"""All named data sets by name, the default first."""
