"""The registry: versions of one model, and which of them is challenger, champion, previous.

Every move of `champion` is one write, so a reader finds the old champion or the new one. The
writes around it are ordered so that a move which is cut off between any two leaves a champion,
and is completed by making it again.
"""

from __future__ import annotations

import getpass
import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from mlflow.exceptions import MlflowException

from recsys.base.config import Tracking
from recsys.base.disk import storage_errors
from recsys.base.errors import NotFoundError
from recsys.base.redaction import redacted
from recsys.store.locks import locked
from recsys.tracking.address import database_path, require_registry
from recsys.tracking.bundles import RegisteredBundle
from recsys.tracking.cache import DEFAULT_CACHE, BundleCache
from recsys.tracking.client import PatientClient
from recsys.tracking.faults import MISSING, tracking_errors
from recsys.tracking.remote import as_version
from recsys.tracking.versions import (
    BUNDLE,
    CHALLENGER,
    CHAMPION,
    DRIFT_PROFILE,
    GATE,
    GATE_HELD,
    JUDGED_AGAINST,
    JUDGED_REFERENCE,
    PREVIOUS,
    PROMOTED,
    REFERENCE,
    ROLLED_BACK,
    ROLLED_BACK_TO,
    LostBundleError,
    ModelAddress,
    Version,
    held_for_data,
)

TAG_LENGTH = 5000  # MLflow's limit


def whoami() -> str:
    """The name of the user that this process runs as."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container may run as a number without a name
        return "unknown"


@dataclass(frozen=True)
class Registry:
    """One registered model.

    Parameters
    ----------
    uri : str
        MLflow's registry.
    model : str
        The registered name.
    patience : float
        Seconds that a server which does not answer is waited for.
    cache : BundleCache
        Where bundles of a registry elsewhere are kept.
    """

    uri: str
    model: str
    patience: float = 0.0
    cache: BundleCache = DEFAULT_CACHE

    @cached_property
    def _client(self) -> PatientClient:
        return PatientClient(self.uri, self.patience)

    @contextmanager
    def locked(self, otherwise: Path) -> Iterator[None]:
        """Hold the registry against other runs: to look and then move is not one write.

        The lock lies beside a local database; for a server, which has none to offer, in the folder
        `otherwise`, which is there: runs that share that folder exclude one another.
        """
        local = database_path(self.uri)
        folder = otherwise if local is None else local.parent
        with ExitStack() as stack:
            with storage_errors("the lock of the registry", folder):
                stack.enter_context(locked(folder / ".registry.lock"))
            yield

    def at(self, alias: str) -> Version | None:
        """The version an alias points at; None where there is none.

        Raises
        ------
        RegistryError
            If the registry does not answer. So do all others.
        """
        with tracking_errors(self.uri):
            try:
                return as_version(self._client.get_model_version_by_alias(self.model, alias))
            except MlflowException as fault:
                if fault.error_code in MISSING:
                    return None
                raise

    def version(self, number: str) -> Version:
        """A version by its number.

        Raises
        ------
        NotFoundError
            If there is none.
        """
        with tracking_errors(self.uri):
            try:
                return as_version(self._client.get_model_version(self.model, number))
            except MlflowException as fault:
                if fault.error_code not in MISSING:
                    raise
                raise NotFoundError(
                    f"no version {number} of {self.model} in {redacted(self.uri)}",
                    "a registered version",
                    "see the Models page of the MLflow UI for those there are",
                ) from fault

    def versions(self) -> list[Version]:
        """All versions, newest first."""
        with tracking_errors(self.uri):
            found = self._client.search_model_versions(f"name = '{self.model}'", max_results=1000)
        return sorted(map(as_version, found), key=lambda version: -int(version.number))

    def aliases(self) -> dict[str, str]:
        """Aliases and the numbers of the versions they point at."""
        with tracking_errors(self.uri):
            try:
                found = self._client.get_registered_model(self.model).aliases
            except MlflowException as fault:
                if fault.error_code in MISSING:
                    return {}
                raise
        return {str(alias): str(number) for alias, number in found.items()}

    def find(self, digest: str) -> Version | None:
        """The newest version of a bundle, by the bundle's digest; None if it is not registered.

        A version whose files are gone or damaged does not count: its bundle is registered again.
        """
        found = self._newest(BUNDLE, digest)
        return found if found is not None and self.has_files(found.number) else None

    def standing(self) -> Version | None:
        """The version that others have to measure up to; None if there is none.

        That is the champion. Where its version was deleted, or its files are gone or damaged, it is
        the one before it, `previous`, if that can still be read.
        """
        for alias in (CHAMPION, PREVIOUS):
            found = self.at(alias)
            if found is not None and self.has_files(found.number):
                return found
        return None

    def not_standing(self) -> str:
        """Why others do not have to measure up to the champion; empty if they have, or none was."""
        champion, standing = self.at(CHAMPION), self.standing()
        if (champion and champion.number) == (standing and standing.number):
            return ""
        lost = (
            f"{self.model} has no champion any more, its version or alias was deleted"
            if champion is None
            else f"the files of version {champion.number}, the champion of {self.model}, "
            "are gone or damaged"
        )
        if standing is None:
            return f"{lost}, and there is none before it to compare with"
        return f"{lost}; version {standing.number}, the one before it, stands in for it"

    def has_files(self, number: str) -> bool:
        """Whether the bundle of a version is where the registry says, as it was registered.

        Raises
        ------
        RegistryError
            If the registry does not answer, which says nothing of the files.
        """
        try:
            self._registered(number).require_whole()
        except LostBundleError:
            return False
        return True

    def rival(self, digest: str) -> Version | None:
        """The version that a bundle has to measure up to; None if there is none.

        That is the one of `standing`. Where the bundle is its own, it is what that was judged
        against when it came: the same night again ends in the same verdict.
        """
        champion = self.standing()
        if champion is None or champion.tags.get(BUNDLE) != digest:
            return champion
        before = champion.tags.get(JUDGED_AGAINST)
        if before is None:
            return champion
        try:
            found = self.version(before) if before else None
        except NotFoundError:  # deleted since
            return champion
        return found if found is None or self.has_files(found.number) else champion

    def reference(self, digest: str) -> Version | None:
        """The version whose configuration is the best so far; None if there is no champion.

        It is the first champion's, until a champion is shown to be better, which its version
        records. Whoever is promoted against the gate's verdict was chosen by a person, and is the
        reference from then on. Where the bundle is the champion's own, it is the version that that
        was compared with when it came.

        Parameters
        ----------
        digest : str
            Of the bundle that is to be judged.
        """
        champion = self.standing()
        if champion is None:
            return None
        if champion.tags.get(BUNDLE) == digest:
            number = champion.tags.get(JUDGED_REFERENCE, champion.number)
        elif champion.tags.get(GATE) == GATE_HELD:
            number = champion.number
        else:
            number = champion.tags.get(REFERENCE, champion.number)
        if number in ("", champion.number):
            return champion if number else None
        try:
            found = self.version(number)
        except NotFoundError:  # deleted since
            return champion
        return champion if ROLLED_BACK in found.tags or not self.has_files(number) else found

    def nights_before(self, digest: str, most: int) -> list[Version]:
        """The last versions before a bundle whose data were profiled, the latest last.

        What was held for its data says nothing of what is usual, unless a person promoted it.
        Where the bundle is registered, versions from it on do not count: the same night again is
        compared with the same nights.

        Parameters
        ----------
        digest : str
            Of the bundle that is to be judged.
        most : int
        """
        if not most:
            return []
        versions = self.versions()
        own = next((int(v.number) for v in versions if v.tags.get(BUNDLE) == digest), None)
        found = [
            version
            for version in versions
            if DRIFT_PROFILE in version.tags
            and (own is None or int(version.number) < own)
            and (PROMOTED in version.tags or not held_for_data(version))
        ]
        # Data that several versions in a row were made of are one night, that of the first.
        nights: list[Version] = []
        for version in reversed(found):
            profile = version.tags[DRIFT_PROFILE]
            if not nights or nights[-1].tags[DRIFT_PROFILE] != profile:
                nights.append(version)
        return nights[-most:]

    def read_json(self, version: Version, path: str) -> Any:
        """A JSON file among those of a version's run; None where it is not there any more."""
        folder = path.rpartition("/")[0] or None
        with tracking_errors(self.uri), tempfile.TemporaryDirectory() as local:
            try:
                there = self._client.list_artifacts(version.run_id, folder)
            except MlflowException as fault:
                if fault.error_code in MISSING:  # the run was deleted
                    return None
                raise
            # Asked before: MLflow does not tell a missing file from a broken download.
            if path not in [entry.path for entry in there]:
                return None
            copy = self._client.download_artifacts(version.run_id, path, local)
            return json.loads(Path(copy).read_text(encoding="utf-8"))

    def tag(self, number: str, tags: Mapping[str, str]) -> None:
        """Set tags of a version."""
        with tracking_errors(self.uri):
            for name, value in tags.items():
                self._client.set_model_version_tag(self.model, number, name, value[:TAG_LENGTH])

    def describe(self, number: str, text: str) -> None:
        """Say what a version is, as Markdown for its page in MLflow; the first words are kept."""
        with tracking_errors(self.uri):
            if not self._client.get_model_version(self.model, number).description:
                self._client.update_model_version(self.model, number, text)

    def challenge(self, number: str) -> None:
        """Point `challenger` at a version."""
        self._point(CHALLENGER, number)

    def bundle(self, number: str) -> Path:
        """The bundle's folder of a version; fetched into the cache if the registry is elsewhere."""
        return self._registered(number).folder()

    def champion_manifest(self) -> Mapping[str, Any] | None:
        """What the bundle of `standing` says of itself; None where there is none."""
        champion = self.standing()
        return None if champion is None else self.manifest(champion.number)

    def manifest(self, number: str) -> Mapping[str, Any]:
        """What a version's bundle says of itself, without the rest of the bundle."""
        return self._registered(number).manifest()

    def _registered(self, number: str) -> RegisteredBundle:
        address = str(ModelAddress(self.model, number=number))
        return RegisteredBundle(address, self.uri, self.patience, self.cache)

    def promote(self, number: str, *, by: str, why: str) -> Version | None:
        """Make a version champion, and the champion before it `previous`.

        Returns
        -------
        Version or None
            The champion before it.

        Raises
        ------
        NotFoundError
            If there is no such version.
        """
        version, champion = self.version(number), self.at(CHAMPION)
        if champion is not None and champion.number != number:
            # First: cut off after it, `previous` and `champion` are the same, and nothing is lost.
            self._point(PREVIOUS, champion.number)
        self._point(CHAMPION, number)
        self.tag(number, _signed(PROMOTED, by, why))
        with tracking_errors(self.uri):
            for name in version.tags:
                if name.startswith(ROLLED_BACK):
                    self._client.delete_model_version_tag(self.model, number, name)
        return champion

    def rollback(self, *, by: str, why: str) -> tuple[Version | None, Version]:
        """Make `previous` champion again, and the champion `previous`.

        Done twice it does not undo itself: a version that was rolled back comes back by
        `promote` only. Where the champion's version was deleted, there is no `previous` afterwards.

        Returns
        -------
        fallen : Version or None
            None if there was no champion any more.
        restored : Version

        Raises
        ------
        NotFoundError
            If there is no previous champion, it was rolled back itself, or its files are gone.
        """
        champion, previous = self.at(CHAMPION), self.at(PREVIOUS)
        if champion is None and previous is not None:
            return None, self._restore(previous, by, why)
        fallen = self._cut_off(champion, previous)
        if fallen is not None and champion is not None:
            restored = champion
        else:
            fallen, restored = self._rolled(champion, previous)
            # First, for it names both: cut off anywhere after it, the rest is done next time.
            tags = {**_signed(ROLLED_BACK, by, why), ROLLED_BACK_TO: restored.number}
            self.tag(fallen.number, tags)
            self._point(CHAMPION, restored.number)
        self._point(PREVIOUS, fallen.number)
        self.tag(restored.number, _signed(PROMOTED, by, f"back from {fallen.number}: {why}"))
        return fallen, restored

    def _rolled(
        self, champion: Version | None, previous: Version | None
    ) -> tuple[Version, Version]:
        """The champion and the version before it, if that can be gone back to."""
        found = None
        if champion is None:
            found = f"{self.model} has no champion in {redacted(self.uri)}"
        elif previous is None or previous.number == champion.number:
            found = f"{self.model} has no champion before version {champion.number}"
        else:
            self._require_whole(previous)
        if found or champion is None or previous is None:
            raise _no_way_back(str(found))
        return champion, previous

    def _require_whole(self, previous: Version) -> None:
        """Refuse a version to go back to that was left before, or cannot be read."""
        if ROLLED_BACK in previous.tags:
            raise _no_way_back(f"version {previous.number} of {self.model} was rolled back itself")
        self._registered(previous.number).require_whole()

    def _restore(self, previous: Version, by: str, why: str) -> Version:
        """Make `previous` champion where there is none any more."""
        self._require_whole(previous)
        self._point(CHAMPION, previous.number)
        gone = "a champion that was deleted"
        self.tag(previous.number, _signed(PROMOTED, by, f"back from {gone}: {why}"))
        with tracking_errors(self.uri):
            self._client.delete_registered_model_alias(self.model, PREVIOUS)
        return previous

    def _cut_off(self, champion: Version | None, previous: Version | None) -> Version | None:
        """The version that an interrupted rollback replaced without pointing `previous` at it."""
        if champion is None or previous is None or champion.number != previous.number:
            return None
        return self._newest(ROLLED_BACK_TO, champion.number)

    def _newest(self, tag: str, value: str) -> Version | None:
        with tracking_errors(self.uri):
            found = self._client.search_model_versions(
                f"name = '{self.model}' and tags.`{tag}` = '{value}'"
            )
        versions = sorted((as_version(entry) for entry in found), key=lambda v: int(v.number))
        return versions[-1] if versions else None

    def _point(self, alias: str, number: str) -> None:
        with tracking_errors(self.uri):
            self._client.set_registered_model_alias(self.model, alias, number)


def open_registry(tracking: Tracking, model: str) -> Registry:
    """The registry of a model as the configuration says.

    Parameters
    ----------
    tracking : Tracking
        The configuration's section.
    model : str
        The registered name.

    Raises
    ------
    RegistryError
        If it is a local database that is not there.
    """
    require_registry(tracking.uri)
    cache = BundleCache(Path(tracking.cache) if tracking.cache else None, tracking.cache_bytes)
    return Registry(tracking.uri, model, tracking.patience, cache)


def _no_way_back(found: str) -> NotFoundError:
    return NotFoundError(found, "a champion to go back to", "use recsys promote VERSION")


def _signed(what: str, by: str, why: str) -> dict[str, str]:
    """What was done to a version: when, by whom, why."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    return {what: now, f"{what}_by": by, f"{what}_why": why}
