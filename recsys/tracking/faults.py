"""Faults of MLflow: which of them are outages, and the errors in one line that they become."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager

import requests
from mlflow.exceptions import MlflowException, RestException

from recsys.base.disk import as_storage_error
from recsys.base.errors import OutageError, RegistryError
from recsys.base.redaction import redacted
from recsys.tracking.address import database_path
from recsys.tracking.schemas import another_schema

MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
"""What MLflow answers where there is no such model, version or alias."""

_TRANSIENT = {
    "TEMPORARILY_UNAVAILABLE",
    "DEADLINE_EXCEEDED",
    "REQUEST_LIMIT_EXCEEDED",
    "RESOURCE_EXHAUSTED",
}
_UNNAMED = "INTERNAL_ERROR"
_OTHER_SCHEMA = re.compile(r"found version (\w+), but expected (\w+)")
_BUSY = {sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED}
_NO_ANSWER = (
    requests.ConnectionError,
    requests.Timeout,
    requests.exceptions.ChunkedEncodingError,
    requests.exceptions.ContentDecodingError,
    requests.exceptions.RetryError,
)


def is_outage(fault: Exception, uri: str = "") -> bool:
    """Whether a fault of MLflow's may pass by itself: no answer, a server error, a busy database.

    What a server refuses (a wrong parameter, a missing run) and what a disk refuses is none.

    Parameters
    ----------
    fault : Exception
    uri : str
        Of the server or database. Nobody is between us and a database of this machine: what MLflow
        says of it without a code or a cause is a refusal.
    """
    if not isinstance(fault, MlflowException | OSError):
        return False
    if as_storage_error(fault, "", ".") is not None or _OTHER_SCHEMA.search(str(fault)):
        return False
    for cause in _causes(fault):
        if isinstance(cause, sqlite3.Error):
            # The low byte is the error; the others say more of it.
            return getattr(cause, "sqlite_errorcode", 0) & 0xFF in _BUSY
        if isinstance(cause, requests.HTTPError) and cause.response is not None:
            return cause.response.status_code >= 500
        if isinstance(cause, requests.RequestException):
            return isinstance(cause, _NO_ANSWER)
    if isinstance(fault, RestException):
        return fault.error_code in _TRANSIENT
    if isinstance(fault, MlflowException):
        # Where an answer is not MLflow's own, as the page of a proxy whose server is away, and
        # where a download breaks off, MLflow knows no better code and names no cause.
        asked = database_path(uri) is None
        unnamed = asked and fault.error_code == _UNNAMED and _cause(fault) is None
        return unnamed or fault.error_code in _TRANSIENT
    return fault.filename is None


def _causes(fault: BaseException) -> Iterator[BaseException]:
    """A fault, what it was raised from or while handling, and so on."""
    found: BaseException | None = fault
    while found is not None:
        yield found
        found = _cause(found)


def _cause(fault: BaseException) -> BaseException | None:
    if fault.__cause__ is not None or fault.__suppress_context__:
        return fault.__cause__
    return fault.__context__


@contextmanager
def tracking_errors(uri: str) -> Iterator[None]:
    """Turn faults of a tracking server or database into errors in one line.

    Parameters
    ----------
    uri : str
        Its address.

    Raises
    ------
    OutageError
        For a fault that may pass by itself; see `is_outage`.
    RegistryError
        For any other fault of MLflow's.
    StorageError
        If a disk is full, or a folder may not be written to.
    """
    with _translated(uri, "the tracking database", "tracking server or database"):
        yield


@contextmanager
def registry_errors(uri: str) -> Iterator[None]:
    """Turn faults of a model registry into errors in one line; as `tracking_errors`."""
    with _translated(uri, "the registry", "model registry"):
        yield


@contextmanager
def _translated(uri: str, what: str, who: str) -> Iterator[None]:
    try:
        yield
    except Exception as fault:
        # A database that cannot be made raises what SQLAlchemy raises.
        if refused := as_storage_error(fault, what, uri, copied=True):
            raise refused from fault
        if not isinstance(fault, MlflowException | OSError):
            raise
        reason = str(fault).splitlines()[0][:200] if str(fault) else type(fault).__name__
        if is_outage(fault, uri):
            found = redacted(f"no {who} answers at {uri} ({reason})")
            action = "start it, or set tracking.uri"
            raise OutageError(found, "an MLflow tracking address", action) from fault
        if other := _OTHER_SCHEMA.search(str(fault)):
            raise another_schema(uri, *other.groups()) from fault
        found = redacted(f"the {who} at {uri} failed ({reason})")
        raise RegistryError(found, "an MLflow tracking address", _advice(reason)) from fault


def _advice(reason: str) -> str:
    """What to do about what MLflow refuses."""
    if "must be in the 'active' state" in reason:
        return "restore what was deleted (mlflow runs restore, mlflow experiments restore)"
    return "see its log"
