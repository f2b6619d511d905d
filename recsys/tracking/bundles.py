"""Registered models: the champion and any other version, found by alias and fetched."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository

from recsys.base.environment import tracking_uri
from recsys.base.errors import NotFoundError, RegistryError
from recsys.base.redaction import redacted
from recsys.bundle import load_bundle
from recsys.tracking.client import PatientClient, require_registry, using_registry
from recsys.tracking.faults import MISSING

CHAMPION = "champion"
MOST_BYTES = 2**36  # of a model that is fetched: 250 million vectors with 64 factors


def champion_version(
    uri: str, model: str, patience: float = 0.0
) -> tuple[str, dict[str, str]] | None:
    """The champion's version and tags; None where there is no champion."""
    with using_registry(uri):
        try:
            found = PatientClient(uri, patience).get_model_version_by_alias(model, CHAMPION)
        except MlflowException as fault:
            if fault.error_code in MISSING:
                return None
            raise
    return str(found.version), dict(found.tags)


def champion_manifest(uri: str, model: str, patience: float = 0.0) -> Mapping[str, Any] | None:
    """What the champion's bundle says of itself; None where there is no champion."""
    if champion_version(uri, model, patience) is None:
        return None
    return load_bundle(locate_bundle(f"models:/{model}@{CHAMPION}", uri, patience)).manifest


def locate_bundle(address: str, uri: str | None = None, patience: float = 0.0) -> Path:
    """The bundle's folder of a registered model; fetched if the registry is elsewhere.

    Parameters
    ----------
    address : str
        "models:/NAME@ALIAS" or "models:/NAME/VERSION".
    uri : str or None
        The registry; by default MLFLOW_TRACKING_URI, or the project's own database.
    patience : float
        Seconds that a server which does not answer is waited for.

    Raises
    ------
    NotFoundError
        If there is no such model, alias or version.
    RegistryError
        If the registry is not there, or the model is larger than anything that is a bundle.
    """
    uri = uri or tracking_uri()
    require_registry(uri)
    with using_registry(uri):
        try:
            client = PatientClient(uri, patience)
            _require_size(client.patiently(partial(_size, address)), address, uri)
            fetch = partial(mlflow.artifacts.download_artifacts, artifact_uri=address)
            folder = client.patiently(fetch)
        except MlflowException as fault:
            if fault.error_code not in MISSING:
                raise
            raise NotFoundError(
                f"no model {address} in {redacted(uri)}",
                "a registered model with that alias or version",
                "train one first (recsys train), or check the name",
            ) from fault
    return Path(folder) / "artifacts" / "bundle"


def _size(address: str) -> int:
    """Bytes of a registered model's files, as the registry lists them."""
    repository = get_artifact_repository(address)

    def inside(folder: str | None) -> int:
        listed = repository.list_artifacts(folder)
        return sum(inside(e.path) if e.is_dir else e.file_size or 0 for e in listed)

    return inside(None)


def _require_size(size: int, address: str, uri: str) -> None:
    if size > MOST_BYTES:
        raise RegistryError(
            f"{address} in {redacted(uri)} has {size:,} bytes",
            f"at most {MOST_BYTES:,}, which is far more than bundles have",
            "see whether it is the model that was meant",
        )
