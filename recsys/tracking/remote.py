"""Remote registries: versions asked of MLflow, their manifests and bundles fetched by parts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repo import ArtifactRepository
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.store.artifact.utils.models import get_model_name_and_version

from recsys.base.disk import as_storage_error
from recsys.base.errors import NotFoundError, RegistryError, StorageError
from recsys.base.redaction import redacted
from recsys.bundle import MANIFEST, read_bundle_manifest
from recsys.store.scratch import scratch_folder
from recsys.tracking.address import absolute_uri
from recsys.tracking.cache import UNFINISHED
from recsys.tracking.client import PatientClient
from recsys.tracking.faults import MISSING, registry_errors
from recsys.tracking.versions import (
    BUNDLE_PATH,
    CHAMPION,
    PREVIOUS,
    LostBundleError,
    ModelAddress,
    Version,
    missing_version,
)

MOST_BYTES = 2**36  # of a bundle that is fetched: 250 million vectors with 64 factors

_MODELS = "models:/"


def as_version(found: ModelVersion, location: str = "") -> Version:
    """MLflow's version as ours."""
    return Version(
        str(found.version),
        str(found.run_id),
        dict(found.tags),
        location,
        found.creation_timestamp,
        found.model_id or _model_in(found.source or ""),
    )


def _model_in(source: str) -> str | None:
    """The id of a logged model in its address; databases keep this alone of it."""
    return source.removeprefix(_MODELS) if source.startswith(f"{_MODELS}m-") else None


def find_version(client: PatientClient, address: str) -> tuple[str, Version]:
    """The model and the version that an address names, as MLflow resolves it.

    Raises
    ------
    NotFoundError
        If there is no such model, alias or version.
    RegistryError
        If the registry does not answer.
    """
    with _missing(client, address), registry_errors(client.uri):
        resolved = client.patiently(partial(get_model_name_and_version, client.once, address))
        if len(resolved) != 2:
            raise NotFoundError(
                f"{address}, which is a logged model",
                "a registered model with an alias or version",
                "name the registered model",
            )
        model, number = resolved
        found = client.get_model_version(model, number)
        location = client.get_model_version_download_uri(model, number)
    return str(model), as_version(found, str(location))


def fetch_manifest(client: PatientClient, location: str) -> dict[str, Any]:
    """The manifest of the bundle at a location: one small file, kept nowhere.

    Raises
    ------
    InputError
        If it is damaged, or its schema is a newer one.
    RegistryError
        If the registry does not answer.
    LostBundleError
        If it has no such file.
    """
    with registry_errors(client.uri), tempfile.TemporaryDirectory() as folder:
        path = f"{BUNDLE_PATH}/{MANIFEST}"
        repository = _repository(client, location)
        _require_manifest(client.patiently(partial(_listed, repository, BUNDLE_PATH)), location)
        client.patiently(partial(repository.download_artifacts, path, folder))
        return read_bundle_manifest(Path(folder) / BUNDLE_PATH)


def fetch_bundle(client: PatientClient, location: str, folder: Path) -> None:
    """Fill an empty folder with the files of the bundle at a location.

    Raises
    ------
    RegistryError
        If the registry does not answer, or the bundle is larger than anything that is one.
    """
    full: StorageError | None = None
    with registry_errors(client.uri):
        repository = _repository(client, location)
        sizes = client.patiently(partial(_listed, repository, BUNDLE_PATH))
        _require_manifest(sizes, location)
        size = sum(sizes.values())
        if size > MOST_BYTES:
            raise RegistryError(
                f"the bundle at {redacted(location)} has {size:,} bytes",
                f"at most {MOST_BYTES:,}, which is far more than bundles have",
                "see whether it is the model that was meant",
            )
        with scratch_folder(folder.parent, UNFINISHED) as partial_:
            fetch = partial(repository.download_artifacts, BUNDLE_PATH, str(partial_))
            try:
                client.patiently(fetch)
            except (MlflowException, OSError) as fault:
                # MLflow's error names no file, and the cache may have a disk of its own.
                full = as_storage_error(fault, "a copy of the model", folder.parent)
                if full is None:
                    raise
            else:
                for path in (partial_ / BUNDLE_PATH).iterdir():
                    path.rename(folder / path.name)
    # Out here, as `registry_errors` would say of it that another folder is full.
    if full is not None:
        raise full


def _repository(client: PatientClient, location: str) -> ArtifactRepository:
    return get_artifact_repository(location, tracking_uri=absolute_uri(client.uri))


def _listed(repository: ArtifactRepository, folder: str) -> dict[str, int]:
    """The files below a folder and their bytes, as the registry lists them."""
    found: dict[str, int] = {}
    for entry in repository.list_artifacts(folder):
        if entry.is_dir:
            found |= _listed(repository, entry.path)
        else:
            found[entry.path] = entry.file_size or 0
    return found


def _require_manifest(files: Mapping[str, int], location: str) -> None:
    # Asked before it is downloaded: MLflow does not tell a missing file from a broken download.
    if f"{BUNDLE_PATH}/{MANIFEST}" not in files:
        raise LostBundleError(
            f"no bundle at {redacted(location)}",
            "a model that recsys registered, with its files",
            "check the model's name, put the files back, or train and register it again",
        )


@contextmanager
def _missing(client: PatientClient, address: str) -> Iterator[None]:
    """Turn MLflow's answer that there is no such version into NotFoundError."""
    try:
        yield
    except RegistryError as fault:
        cause = fault.__cause__
        if not isinstance(cause, MlflowException) or cause.error_code not in MISSING:
            raise
        previous = _previous(client, address)
        raise missing_version(address, client.uri, previous=previous) from cause


def _previous(client: PatientClient, address: str) -> str | None:
    """The version before the champion, where that is asked for; None if there is none."""
    named = ModelAddress.parse(address)
    if named is None or named.alias != CHAMPION:
        return None
    try:
        with registry_errors(client.uri):
            return str(client.get_model_version_by_alias(named.model, PREVIOUS).version)
    except RegistryError:
        return None
