"""Bundles of registered models: in place where they are on this machine, else fetched once."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from recsys.base.config import Tracking
from recsys.base.errors import InputError, NotFoundError, RegistryError, StorageError
from recsys.bundle import load_bundle
from recsys.recommend.recommender import Recommender
from recsys.serving import pyfunc
from recsys.serving.champion import Champion
from recsys.serving.loading import load
from recsys.tracking import remote
from recsys.tracking.bundles import locate_bundle, locate_manifest
from recsys.tracking.cache import BundleCache
from recsys.tracking.registry import Registry, open_registry
from recsys.tracking.runs import StudyDescription, Tracker
from recsys.tracking.versions import LostBundleError
from tests.fixtures.bundles import write_bundle
from tests.fixtures.small_disks import grow, small_disk
from tests.fixtures.tracking_server import Proxy, TrackingServer

CHAMPION = "models:/fruit@champion"


@dataclass(frozen=True)
class Remote:
    """A registry behind a server that hands its artifacts on, and this machine's folders."""

    uri: str
    artifacts: Path
    cache: BundleCache
    temporary: Path

    @property
    def bundles(self) -> list[Path]:
        """The bundles' folders on the server."""
        return sorted(
            path.parent for path in self.artifacts.rglob("artifacts/bundle/users.parquet")
        )

    def left(self) -> list[Path]:
        """What is left in the folder of temporary files."""
        return sorted(self.temporary.rglob("*"))


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_bundle(tmp_path_factory.mktemp("made") / "bundle", features=True)


@pytest.fixture(scope="module")
def served(mlflow_server: TrackingServer, bundle: Path) -> tuple[str, Path]:
    uri = mlflow_server.uri
    tracker = Tracker.connect(uri, "fruit")
    run_id = tracker.open_study(StudyDescription("k", "fruit", {}))
    number = pyfunc.register(uri, run_id, "fruit", bundle, {})
    Registry(uri, "fruit").promote(number, by="ann", why="the first")
    return uri, mlflow_server.folder / "artifacts" / tracker.experiment_id


@pytest.fixture
def registry(
    served: tuple[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Remote]:
    temporary = tmp_path / "temporary"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    monkeypatch.setenv("RECSYS_MODEL_CACHE", str(tmp_path / "cache"))
    uri, artifacts = served
    kept = shutil.copytree(artifacts, tmp_path / "artifacts")
    yield Remote(uri, artifacts, BundleCache(), temporary)
    shutil.rmtree(artifacts)
    shutil.copytree(kept, artifacts)


@pytest.mark.parametrize("losing", [b"model-versions/create", b"registered-models/create"])
def test_an_answer_that_is_lost_makes_no_second_version(
    registry: Remote, bundle: Path, losing: bytes
) -> None:
    proxy = Proxy(int(registry.uri.rpartition(":")[2]))
    name = losing.decode().partition("/")[0]
    run_id = Tracker.connect(registry.uri, "fruit").open_study(StudyDescription(name, "fruit", {}))
    proxy.losing = losing
    assert pyfunc.register(proxy.uri, run_id, name, bundle, {}, patience=5) == "1"
    proxy.close()
    assert proxy.losing == b""
    assert [version.number for version in Registry(registry.uri, name).versions()] == ["1"]


def test_a_manifest_is_fetched_alone(registry: Remote) -> None:
    [folder] = registry.bundles
    for path in folder.iterdir():
        if path.name != "manifest.json":
            path.unlink()
    manifest = Registry(registry.uri, "fruit").champion_manifest()
    assert manifest is not None
    assert manifest["files"]
    assert not registry.left()
    assert not registry.cache.root.exists()


def test_a_second_load_downloads_nothing(registry: Remote) -> None:
    first = locate_bundle(CHAMPION, registry.uri)
    assert Recommender.load(first).recommend("ann", 1)[0].id == "b"
    shutil.rmtree(registry.artifacts)
    registry.artifacts.mkdir()
    assert locate_bundle(CHAMPION, registry.uri) == first
    assert load_bundle(locate_bundle("models:/fruit/1", registry.uri)).manifest["files"]
    assert locate_manifest(CHAMPION, registry.uri)["files"]


def test_nothing_is_left_in_the_temporary_folder(
    registry: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", registry.uri)
    assert load(CHAMPION).recommend("ann", 1)[0].id == "b"
    assert Champion("fruit", registry.uri).current().recommend("ann", 1)[0].id == "b"
    made = open_registry(Tracking(uri=registry.uri), "fruit")
    assert made.champion_manifest() is not None
    assert made.bundle("1").is_dir()
    assert not registry.left()


def test_a_damaged_entry_is_fetched_again(registry: Remote) -> None:
    folder = locate_bundle(CHAMPION, registry.uri)
    for spoil in ("item_factors.npy", "manifest.json", "users.parquet"):
        path = folder / spoil
        path.write_bytes(path.read_bytes()[:-3] + b"xyz")
        assert load_bundle(locate_bundle(CHAMPION, registry.uri)).manifest["files"]
        path.unlink()
        assert load_bundle(locate_bundle(CHAMPION, registry.uri)).manifest["files"]
    assert len([path for path in registry.cache.root.iterdir() if path.is_dir()]) == 1


def test_what_is_damaged_in_the_registry_is_refused(registry: Remote) -> None:
    [folder] = registry.bundles
    factors = folder / "item_factors.npy"
    factors.write_bytes(factors.read_bytes()[:-3] + b"xyz")
    with pytest.raises(InputError, match="is damaged"):
        locate_bundle(CHAMPION, registry.uri)
    assert [path.name for path in registry.cache.root.iterdir()] == []


def test_a_bundle_that_is_not_the_registered_one_is_refused(
    registry: Remote, tmp_path: Path
) -> None:
    [folder] = registry.bundles
    other = write_bundle(tmp_path / "other", features=False)
    shutil.rmtree(folder)
    shutil.copytree(other, folder)
    with pytest.raises(InputError, match="not the one that was registered"):
        locate_bundle(CHAMPION, registry.uri)


def test_a_disk_of_the_cache_that_is_full_is_the_one_that_is_named(
    registry: Remote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with small_disk(tmp_path / "small", 8) as small:
        monkeypatch.setenv("RECSYS_MODEL_CACHE", str(small))
        with pytest.raises(StorageError) as found:
            locate_bundle(CHAMPION, registry.uri)
        said = f"a copy of the model cannot be written to {small} (No space left on device)"
        assert str(found.value).startswith(said)
        assert not list(small.iterdir())
        assert not registry.left()
        grow(small, 1024)
        folder = locate_bundle(CHAMPION, registry.uri)
        assert folder.parent == small
        assert Recommender.load(folder).recommend("ann", 1)[0].id == "b"


def test_processes_fetch_one_copy_side_by_side(registry: Remote) -> None:
    program = f"""
from recsys.tracking.bundles import locate_bundle
print(locate_bundle({CHAMPION!r}, {registry.uri!r}))
"""
    command = [sys.executable, "-c", program]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(2)]
    said = {process.communicate()[0].strip() for process in started}
    assert [process.returncode for process in started] == [0, 0]
    assert said == {str(locate_bundle(CHAMPION, registry.uri))}
    assert [path.name for path in registry.cache.root.iterdir()] == [Path(said.pop()).name]


def test_a_bundle_larger_than_any_is_not_fetched(
    registry: Remote, monkeypatch: pytest.MonkeyPatch
) -> None:
    [folder] = registry.bundles
    size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
    monkeypatch.setattr(remote, "MOST_BYTES", size - 1)
    with pytest.raises(RegistryError, match=f"has {size:,} bytes"):
        locate_bundle(CHAMPION, registry.uri)
    monkeypatch.setattr(remote, "MOST_BYTES", size)
    assert locate_bundle(CHAMPION, registry.uri).is_dir()


def test_what_the_server_does_not_have_is_said(registry: Remote) -> None:
    for address in ("models:/fruit@nobody", "models:/fruit/7", "models:/vegetables@champion"):
        with pytest.raises(NotFoundError, match=f"no model {address}"):
            locate_bundle(address, registry.uri)
    shutil.rmtree(registry.bundles[0])
    with pytest.raises(LostBundleError, match="no bundle at"):
        locate_manifest(CHAMPION, registry.uri)
