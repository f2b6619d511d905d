"""Bundles of registered models: read in place where they are on this machine, else cached.

A local registry is read without MLflow, which takes seconds to import.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from recsys.base.environment import tracking_uri
from recsys.base.errors import InputError
from recsys.base.redaction import redacted
from recsys.bundle import (
    MANIFEST,
    DamagedBundleError,
    bundle_digest,
    find_bundle_damage,
    read_bundle_manifest,
)
from recsys.store.checksums import find_damage
from recsys.tracking.address import database_path, local_folder, require_registry
from recsys.tracking.cache import DEFAULT_CACHE, BundleCache, CacheKey
from recsys.tracking.local import require_version
from recsys.tracking.moved import find_moved
from recsys.tracking.versions import (
    BUNDLE,
    BUNDLE_PATH,
    ModelAddress,
    Version,
    lost_bundle,
)

if TYPE_CHECKING:
    from recsys.tracking.client import PatientClient


def locate_bundle(
    address: str,
    uri: str | None = None,
    patience: float = 0.0,
    cache: BundleCache = DEFAULT_CACHE,
) -> Path:
    """The bundle's folder of a registered model; fetched into the cache if it is elsewhere.

    Parameters
    ----------
    address : str
        "models:/NAME@ALIAS" or "models:/NAME/VERSION".
    uri : str or None
        The registry; by default MLFLOW_TRACKING_URI, or the project's own database.
    patience : float
        Seconds that a server which does not answer is waited for.
    cache : BundleCache
        Where a bundle that is elsewhere is kept. It is fetched when it is first asked for, and
        again if the copy is damaged.

    Raises
    ------
    NotFoundError
        If there is no such model, alias or version.
    LostBundleError
        If the version is registered and its files are gone, or damaged.
    RegistryError
        If the registry is not there, or the bundle is larger than anything that is one.
    InputError
        If what was fetched is damaged.
    """
    return RegisteredBundle(address, uri or tracking_uri(), patience, cache).folder()


def locate_manifest(
    address: str,
    uri: str | None = None,
    patience: float = 0.0,
    cache: BundleCache = DEFAULT_CACHE,
) -> Mapping[str, Any]:
    """The manifest of a registered model's bundle, without the rest of the bundle.

    Parameters and errors are those of `locate_bundle`.
    """
    return RegisteredBundle(address, uri or tracking_uri(), patience, cache).manifest()


def _files(folder: Path) -> tuple[tuple[str, int, int, int], ...]:
    """The files of a folder, with what changes when one is written: size, time and number."""
    found = [(path, path.stat()) for path in sorted(folder.rglob("*")) if path.is_file()]
    return tuple((str(path), at.st_size, at.st_mtime_ns, at.st_ino) for path, at in found)


# A night asks five times whether the champion stands; its files are read again if they changed.
@lru_cache(maxsize=8)
def _damage(folder: Path, _: tuple[tuple[str, int, int, int], ...]) -> str | None:
    return find_bundle_damage(folder)


@dataclass(frozen=True)
class RegisteredBundle:
    """The bundle of one registered version.

    Parameters
    ----------
    address, uri, patience, cache
        See `locate_bundle`.
    """

    address: str
    uri: str
    patience: float
    cache: BundleCache

    def folder(self) -> Path:
        """Its folder on this machine, with all files in their size."""
        if (local := self._in_place) is not None:
            self._manifest_in_place(local)
            return local
        from recsys.tracking.remote import fetch_bundle

        client, location = self._client, self._found[1].location
        return self.cache.get(
            self._key, lambda folder: fetch_bundle(client, location, folder), self._check
        )

    def manifest(self) -> Mapping[str, Any]:
        """What it says of itself."""
        if (local := self._in_place) is not None:
            return self._manifest_in_place(local)
        if BUNDLE in self._found[1].tags:
            kept = self.cache.find(self._key, read_bundle_manifest)
            if kept is not None:
                return read_bundle_manifest(kept)
        return self._fetched_manifest

    def require_whole(self) -> None:
        """Check the content of its files, where they are on this machine; else that it is there.

        Raises
        ------
        LostBundleError
            If they are not as they were registered.
        """
        self.manifest()
        local = self._in_place
        if local is not None and (damage := _damage(local, _files(local))):
            raise lost_bundle(self.address, self.uri, str(local), damage)

    def _manifest_in_place(self, folder: Path) -> Mapping[str, Any]:
        try:
            manifest = read_bundle_manifest(folder)
        except DamagedBundleError as fault:
            raise lost_bundle(self.address, self.uri, str(folder), fault.found) from fault
        # The content is checked by those who load it; that takes long.
        if damage := find_damage(folder, manifest["files"], contents=False):
            raise lost_bundle(self.address, self.uri, str(folder), damage)
        return manifest

    @cached_property
    def _found(self) -> tuple[str, Version]:
        """The model and the version that the address names."""
        address = ModelAddress.parse(self.address)
        if address is None:
            require_registry(self.uri)
        elif (version := require_version(self.uri, address)) is not None:
            return address.model, version
        from recsys.tracking.remote import find_version

        return find_version(self._client, self.address)

    @cached_property
    def _in_place(self) -> Path | None:
        """The bundle's folder where the registry's files are on this machine."""
        model = local_folder(self._found[1].location)
        if model is None:
            return None
        if not (model / BUNDLE_PATH / MANIFEST).is_file():
            database = database_path(self.uri)
            moved = None if database is None else find_moved(model, database)
            if moved is None:
                raise lost_bundle(self.address, self.uri, str(model / BUNDLE_PATH))
            model = moved
        return model / BUNDLE_PATH

    @cached_property
    def _client(self) -> PatientClient:
        from recsys.tracking.client import PatientClient

        return PatientClient(self.uri, self.patience)

    @cached_property
    def _fetched_manifest(self) -> Mapping[str, Any]:
        from recsys.tracking.remote import fetch_manifest

        return fetch_manifest(self._client, self._found[1].location)

    @cached_property
    def _digest(self) -> str:
        """The bundle's digest: the version's tag, or where there is none what its manifest says."""
        return self._found[1].tags.get(BUNDLE) or bundle_digest(self._fetched_manifest)

    @cached_property
    def _key(self) -> CacheKey:
        model, version = self._found
        return CacheKey(redacted(self.uri), model, version.number, self._digest)

    def _check(self, folder: Path) -> None:
        """Refuse a copy that is damaged or not the bundle that was registered."""
        manifest = read_bundle_manifest(folder)
        damaged = find_damage(folder, manifest["files"])
        if damaged is None and bundle_digest(manifest) != self._digest:
            damaged = "its digest is not the one that was registered"
        if damaged:
            raise InputError(
                f"the bundle of {self.address} in {redacted(self.uri)} is damaged ({damaged})",
                "the files as they were registered",
                "register the bundle again",
            )
