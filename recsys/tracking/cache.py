"""The bundle cache: bundles of registries elsewhere, each fetched once and checked at every use."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from recsys.base.disk import storage_errors
from recsys.base.environment import model_cache
from recsys.base.errors import InputError
from recsys.store.locks import locked
from recsys.store.scratch import scratch_folder

CACHE_BYTES = 10 * 2**30
UNFINISHED = ".unfinished-"  # what names of entries begin with while they are filled


@dataclass(frozen=True)
class CacheKey:
    """What a cached bundle is kept under.

    Parameters
    ----------
    registry : str
        The registry's address.
    model, number : str
    digest : str
        Of the bundle: a registry that was set up anew may give a number once more.
    """

    registry: str
    model: str
    number: str
    digest: str

    @property
    def name(self) -> str:
        """The folder's name: what a person looks for, and a hash of the whole key."""
        whole = "\n".join((self.registry, self.model, self.number, self.digest))
        readable = re.sub(r"[^A-Za-z0-9_-]+", "_", self.model)[:60]
        return f"{readable}-{self.number}-{hashlib.sha256(whole.encode()).hexdigest()[:20]}"


@dataclass(frozen=True)
class BundleCache:
    """A folder of bundles, shared by all processes of a user.

    An entry appears under its name when it is whole. The entries that were used longest ago are
    removed when all of them together have more than `most_bytes`; the one just fetched stays.

    Parameters
    ----------
    folder : Path or None
        By default what RECSYS_MODEL_CACHE says, or a folder in the user's cache directory.
    most_bytes : int
    """

    folder: Path | None = None
    most_bytes: int = CACHE_BYTES

    @property
    def root(self) -> Path:
        """The folder that holds the entries."""
        return self.folder or model_cache()

    def find(self, key: CacheKey, check: Callable[[Path], object]) -> Path | None:
        """The entry of a key; None if there is none, or it is damaged.

        Parameters
        ----------
        key : CacheKey
        check : callable
            Raises InputError, OSError included, for an entry that is damaged.
        """
        entry = self.root / key.name
        if not entry.is_dir():
            return None
        try:
            check(entry)
        except (InputError, OSError):
            return None
        with suppress(OSError):  # a cache that may only be read
            os.utime(entry)
        return entry

    def get(
        self, key: CacheKey, fetch: Callable[[Path], object], check: Callable[[Path], object]
    ) -> Path:
        """The entry of a key, fetched if it is not there or damaged.

        Parameters
        ----------
        key : CacheKey
        fetch : callable
            Fills an empty folder.
        check : callable
            Raises InputError for an entry that is damaged.

        Raises
        ------
        InputError
            If what was fetched is damaged.
        StorageError
            If the cache cannot be written.
        """
        if found := self.find(key, check):
            return found
        with storage_errors("the cache of models", self.root):
            self.root.mkdir(parents=True, exist_ok=True)
            with locked(self.root / f".{key.name}.lock"):
                # Another process may have fetched it while this one waited.
                if found := self.find(key, check):
                    return found
                entry = self.root / key.name
                self._remove(entry)
                self._fill(entry, fetch, check)
            with locked(self.root / ".trim.lock"):
                self._trim(entry)
        return entry

    def _fill(
        self, entry: Path, fetch: Callable[[Path], object], check: Callable[[Path], object]
    ) -> None:
        with scratch_folder(self.root, UNFINISHED) as unfinished:
            fetch(unfinished)
            check(unfinished)
            unfinished.rename(entry)

    def _trim(self, newest: Path) -> None:
        """Remove the entries used longest ago, as long as all have too many bytes."""
        used: list[tuple[float, Path]] = []
        for path in self.root.iterdir():
            with suppress(OSError):  # removed by another process in the meantime
                at = path.stat().st_mtime
                if path.is_dir() and path != newest and not path.name.startswith(UNFINISHED):
                    used.append((at, path))
        sizes = {path: _size(path) for _, path in used}
        total = _size(newest) + sum(sizes.values())
        for _, path in sorted(used):
            if total <= self.most_bytes:
                break
            self._remove(path)
            total -= sizes[path]

    def _remove(self, entry: Path) -> None:
        """Remove an entry in one step for other processes; files that are open can be read on."""
        if not entry.exists():
            return
        with (
            scratch_folder(self.root, UNFINISHED) as aside,
            suppress(FileNotFoundError),  # removed by another process in the meantime
        ):
            entry.rename(aside / "entry")


DEFAULT_CACHE = BundleCache()


def _size(folder: Path) -> int:
    """Bytes of all files below a folder."""
    found = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            found += path.stat().st_size
    return found
