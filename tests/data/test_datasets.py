"""Named datasets: found by name, fetched on first use, converted to what the reader reads."""

from __future__ import annotations

import hashlib
import threading
import zipfile
from collections.abc import Iterator
from dataclasses import replace
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from recsys.base import config
from recsys.base.errors import DownloadError, NotFoundError
from recsys.data import datasets
from recsys.data.datasets import (
    DATASETS,
    Dataset,
    SourceFile,
    find_dataset,
    list_datasets,
    locate,
)
from recsys.data.download import Digest, FetchPolicy
from recsys.data.movielens import convert_movielens_100k
from tests.fixtures.paths import ROOT

QUICK = FetchPolicy(timeout=1, attempts=1)
NOWHERE = "http://127.0.0.1:9"

RATINGS = "196\t242\t3\t881250949\n186\t302\t5\t891717742\n22\t242\t4\t878887116\n"
FILMS = (
    "242|Kolya (1996)|24-Jan-1997||http://x/?Kolya|0|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
    "302|L.A. Confidential (1997)|01-Jan-1989||http://x|0|0|0|0|0|0|1|0|0|0|1|0|0|1|0|0|1|0|0\n"
    "267|unknown||||1|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
    "303|Misérables, Les (1995)|01-Jan-1995||http://x|0|0|0|0|1|0|0|0|0|0|0|0|0|0|0|0|0|0|0\n"
)
USERS = "196|49|M|writer|55105\n186|17|F|executive|00000\n22|56|M|other|40206\n7|18|F|none|T8H1N\n"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: Any) -> None:
        """Quiet."""


@pytest.fixture(autouse=True)
def _direct(monkeypatch: pytest.MonkeyPatch) -> None:
    """No proxy between a test and this machine."""
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")


@pytest.fixture
def served(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder and the address it is served at."""
    folder = tmp_path / "served"
    folder.mkdir()
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "data"


def write_zip(path: Path, members: dict[str, str]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, text in members.items():
            archive.writestr(name, text.encode("latin-1"))
    return path


def write_movielens(folder: Path, **changed: str) -> Path:
    """A tiny archive in MovieLens' form; `changed` replaces members by what follows their dot."""
    texts = {"data": RATINGS, "item": FILMS, "user": USERS} | changed
    return write_zip(
        folder / "ml-100k.zip", {f"ml-100k/u.{name}": text for name, text in texts.items()}
    )


def expecting(dataset: Dataset, folder: Path) -> Dataset:
    """The dataset with the digests of the files in `folder`."""

    def of(source: SourceFile) -> SourceFile:
        content = (folder / source.path.name).read_bytes()
        return SourceFile(source.path, Digest("sha256", hashlib.sha256(content).hexdigest()))

    return replace(dataset, sources=tuple(map(of, dataset.sources)))


def rows(path: Path) -> list[tuple[object, ...]]:
    return list(pd.read_parquet(path).itertuples(index=False, name=None))


def test_the_default_dataset_comes_first() -> None:
    assert list(DATASETS) == ["sample", "sketchfab", "movielens-100k"]


@pytest.mark.parametrize(
    ("typed", "meant"), [("skechfab", "sketchfab"), ("MovieLens", "movielens-100k")]
)
def test_an_unknown_name_is_answered_with_the_closest(typed: str, meant: str) -> None:
    with pytest.raises(NotFoundError, match=f"did you mean {meant}") as caught:
        find_dataset(typed)

    assert "sample, sketchfab, movielens-100k" in caught.value.expected


def test_a_name_like_no_other_points_to_the_list(root: Path) -> None:
    with pytest.raises(NotFoundError, match="recsys datasets"):
        locate("qqq", root)


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)
def test_the_schema_is_the_readers(dataset: Dataset, root: Path) -> None:
    for table in dataset.tables:
        (root / table).parent.mkdir(parents=True, exist_ok=True)
        (root / table).touch()
    here = replace(dataset, sources=(), convert=None)

    arguments = locate(here, root).as_config()

    read = config.Data.model_validate(arguments)
    assert read.likes == str(root / dataset.likes)
    assert read.user_column == dataset.schema.user_column


@pytest.mark.parametrize("dataset", DATASETS.values(), ids=DATASETS)
def test_every_download_stays_under_raw(dataset: Dataset) -> None:
    for path in [*(source.path for source in dataset.sources), *dataset.tables]:
        assert path.parts[0] == ("raw" if dataset.sources else "sample")
        assert ".." not in path.parts


def test_the_sample_is_found_in_the_data_folder(root: Path) -> None:
    (root / "sample").mkdir(parents=True)
    for name in ("likes.psv.gz", "feats.psv.gz"):
        (root / "sample" / name).write_bytes(b"x" * 10)

    found = locate("sample", root)

    assert found.likes == root / "sample" / "likes.psv.gz"
    assert found.features == root / "sample" / "feats.psv.gz"
    assert found.user_features is None


def test_the_sample_is_also_found_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)

    found = locate("sample")

    assert found.likes == Path(datasets.__file__).parent / "sample" / "likes.psv.gz"
    assert found.likes.read_bytes() == (ROOT / "data/sample/likes.psv.gz").read_bytes()
    assert found.features is not None
    assert found.features.read_bytes() == (ROOT / "data/sample/feats.psv.gz").read_bytes()


def test_a_missing_sample_says_where_it_should_be(root: Path) -> None:
    with pytest.raises(NotFoundError, match=r"likes\.psv\.gz") as caught:
        locate("sample", root)

    assert "install the package again" in caught.value.action


def test_the_list_tells_what_is_here(root: Path) -> None:
    folder = root / "raw" / "sketchfab"
    folder.mkdir(parents=True)
    (folder / "model_likes_anon.psv").write_bytes(b"x" * 30)
    (folder / "model_feats.psv").write_bytes(b"x" * 12)

    infos = {info.dataset.name: info for info in list_datasets(root)}

    assert (infos["sketchfab"].cached, infos["sketchfab"].size) == (True, 42)
    assert (infos["movielens-100k"].cached, infos["movielens-100k"].size) == (False, None)
    assert not infos["sample"].cached


def test_sketchfab_is_fetched_once(served: tuple[Path, str], root: Path) -> None:
    folder, url = served
    (folder / "model_likes_anon.psv").write_text("modelname|mid|uid\n3D|m1|u1\n")
    (folder / "model_feats.psv").write_text("mid|type|value\nm1|tag|3d\n")
    dataset = expecting(DATASETS["sketchfab"], folder)
    told: list[int] = []

    found = locate(dataset, root, base_url=url, progress=lambda done, _: told.append(done))
    again = locate(dataset, root, base_url=NOWHERE, policy=QUICK)

    assert found == again
    assert found.likes.read_text().startswith("modelname|mid|uid")
    assert found.features == root / "raw" / "sketchfab" / "model_feats.psv"
    assert told == [27, 25]


def test_the_real_digest_refuses_other_content(served: tuple[Path, str], root: Path) -> None:
    folder, url = served
    (folder / "model_likes_anon.psv").write_text("modelname|mid|uid\n")

    with pytest.raises(DownloadError, match="cf71d964adbd9f64075b06542b880f8d66d1dfeb"):
        locate("sketchfab", root, base_url=url, policy=QUICK)

    assert list((root / "raw" / "sketchfab").iterdir()) == []


@pytest.mark.parametrize("name", ["sketchfab", "movielens-100k"])
def test_offline_says_what_to_put_where(name: str, root: Path) -> None:
    with pytest.raises(DownloadError, match="by hand") as caught:
        locate(name, root, base_url=NOWHERE, policy=QUICK)

    assert str(root / DATASETS[name].sources[0].path) in caught.value.action


def test_movielens_becomes_the_readers_tables(served: tuple[Path, str], root: Path) -> None:
    folder, url = served
    write_movielens(folder)

    found = locate(expecting(DATASETS["movielens-100k"], folder), root, base_url=url)

    assert found.features is not None
    assert found.user_features is not None
    likes = pd.read_parquet(found.likes)
    assert list(likes.columns) == ["user", "item", "name", "rating", "timestamp"]
    assert rows(found.likes) == [
        (
            "186",
            "302",
            "L.A. Confidential (1997)",
            5.0,
            pd.Timestamp(891717742, unit="s", tz="UTC"),
        ),
        ("22", "242", "Kolya (1996)", 4.0, pd.Timestamp(878887116, unit="s", tz="UTC")),
    ]
    assert rows(found.features) == [
        ("242", "genre", "Comedy"),
        ("242", "decade", "1990s"),
        ("302", "genre", "Crime"),
        ("302", "genre", "Film-Noir"),
        ("302", "genre", "Mystery"),
        ("302", "genre", "Thriller"),
        ("302", "decade", "1980s"),
        ("303", "genre", "Children's"),
        ("303", "decade", "1990s"),
    ]
    assert rows(found.user_features)[:4] == [
        ("196", "age", "45-49"),
        ("196", "gender", "M"),
        ("196", "occupation", "writer"),
        ("186", "age", "under 18"),
    ]
    ages = [value for _, kind, value in rows(found.user_features) if kind == "age"]
    assert ages == ["45-49", "under 18", "56+", "18-24"]


def test_movielens_is_not_fetched_or_converted_again(served: tuple[Path, str], root: Path) -> None:
    folder, url = served
    write_movielens(folder)
    dataset = expecting(DATASETS["movielens-100k"], folder)
    first = locate(dataset, root, base_url=url)
    written = first.likes.stat().st_mtime_ns

    assert locate(dataset, root, base_url=NOWHERE, policy=QUICK) == first
    assert first.likes.stat().st_mtime_ns == written

    # A set that is not complete is made again from the archive that was kept.
    first.likes.unlink()
    locate(dataset, root, base_url=NOWHERE, policy=QUICK)
    assert sorted(path.name for path in first.likes.parent.iterdir()) == [
        "features.parquet",
        "likes.parquet",
        "ml-100k.zip",
        "user_features.parquet",
    ]


def test_nothing_is_unpacked_from_an_archive(tmp_path: Path) -> None:
    archive = tmp_path / "ml-100k.zip"
    texts = {"ml-100k/u.data": RATINGS, "ml-100k/u.item": FILMS, "ml-100k/u.user": USERS}
    write_zip(archive, {"../../evil": "x", "/evil": "x", **texts})
    out = tmp_path / "a" / "b"
    out.mkdir(parents=True)

    convert_movielens_100k([archive], out)

    assert sorted(path.name for path in tmp_path.rglob("*")) == [
        "a",
        "b",
        "features.parquet",
        "likes.parquet",
        "ml-100k.zip",
        "user_features.parquet",
    ]


@pytest.mark.parametrize(
    "changed",
    [
        {"data": "1\t2\t3\n"},
        {"data": "1\t999\t5\t0\n"},
        {"item": "242|Kolya (1996)|24-Jan-1997||http://x|0|1\n"},
        {"user": "196|young|M|writer|55105\n"},
        {"user": "x" * (16 * 1024 * 1024 + 1)},
    ],
    ids=["short line", "unknown film", "few flags", "no number", "far too large"],
)
def test_an_archive_that_is_not_movielens_is_refused(
    tmp_path: Path, changed: dict[str, str]
) -> None:
    archive = write_movielens(tmp_path, **changed)
    out = tmp_path / "out"
    out.mkdir()

    with pytest.raises(DownloadError, match="MovieLens 100K archive"):
        convert_movielens_100k([archive], out)

    assert list(out.iterdir()) == []


@pytest.mark.parametrize("content", ["not a zip", ""])
def test_a_file_that_is_no_archive_is_refused(tmp_path: Path, content: str) -> None:
    archive = tmp_path / "ml-100k.zip"
    archive.write_text(content)

    with pytest.raises(DownloadError, match="is not the expected archive"):
        convert_movielens_100k([archive], tmp_path)
