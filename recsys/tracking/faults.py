"""Faults of MLflow: which of them are outages, and how they are said in one line."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from mlflow.exceptions import MlflowException

from recsys.base.disk import as_storage_error
from recsys.base.errors import RegistryError
from recsys.base.redaction import redacted

# What MLflow answers where there is no such model, version or alias.
MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")


def is_outage(fault: Exception) -> bool:
    """Whether a fault of MLflow's may pass by itself: no answer, a server error, a busy database.

    What a server refuses (a wrong parameter, a missing run) and what a disk refuses is none.
    """
    if isinstance(fault, MlflowException):
        said = str(fault)
        return said.startswith("API request to ") or "database is locked" in said
    if isinstance(fault, OSError):
        status = getattr(getattr(fault, "response", None), "status_code", 500)
        local = fault.filename is not None or as_storage_error(fault, "", ".") is not None
        return not local and status >= 500
    return False


@contextmanager
def tracking_errors(uri: str) -> Iterator[None]:
    try:
        yield
    except Exception as fault:
        # A database that cannot be made raises what SQLAlchemy raises.
        if found := as_storage_error(fault, "the tracking database", uri):
            raise found from fault
        if not isinstance(fault, MlflowException | OSError):
            raise
        said = str(fault).splitlines()[0][:200]
        raise RegistryError(
            redacted(f"no tracking server or database answers at {uri} ({said})"),
            "an MLflow tracking address",
            "start it, or set tracking.uri",
        ) from fault


def is_outage_error(fault: RegistryError) -> bool:
    """Whether a fault is an outage, which may pass by itself."""
    return isinstance(fault.__cause__, Exception) and is_outage(fault.__cause__)
