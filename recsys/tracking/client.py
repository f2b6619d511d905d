"""MLflow's client: the addresses it is told, the database it writes, calls that are made again."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.tracking import MlflowClient

from recsys.base.disk import as_storage_error, storage_errors
from recsys.base.errors import RegistryError
from recsys.base.redaction import redacted
from recsys.base.retries import retry
from recsys.store.locks import locked

# MLflow prints where to see a run, with the user and the password of a server's address.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

# What MLflow answers where there is no such model, version or alias.
MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
ADDRESSES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")

SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "1",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    # It is drawn on standard error, which is a broken pipe once a worker that read it is dead.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}

T = TypeVar("T")


def resolved(uri: str) -> str:
    """The address with a local database's path made absolute.

    MLflow keeps connections by address: a relative one would go on meaning the folder in which
    it was first used.
    """
    if not uri.startswith("sqlite:///"):
        return uri
    return f"sqlite:///{Path(uri.removeprefix('sqlite:///')).resolve()}"


def prepare_database(uri: str) -> None:
    """Make a local database where there is none yet; nothing for a server.

    Two processes that make it at the same moment break it, and one that is killed in the middle
    leaves half of it. So it is made under a lock and another name, and appears when it is whole.

    Raises
    ------
    StorageError
        If it cannot be written.
    """
    if not uri.startswith("sqlite:///"):
        return
    path = Path(uri.removeprefix("sqlite:///")).resolve()
    if path.exists():
        return
    with storage_errors("the tracking database", path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(f".{path.name}.lock")):
            if path.exists():
                return
            unfinished = path.with_name(f".{path.name}.unfinished")
            unfinished.unlink(missing_ok=True)
            with registry_at(f"sqlite:///{unfinished}"):
                client = MlflowClient()
                client.search_experiments(max_results=1)
                client.search_registered_models(max_results=1)
            unfinished.rename(path)


def require_registry(uri: str) -> None:
    """Refuse a local database that is not there; MLflow would make an empty one.

    Raises
    ------
    RegistryError
        If it is not there.
    """
    if uri.startswith("sqlite:///") and not Path(uri.removeprefix("sqlite:///")).exists():
        raise RegistryError(
            f"no model registry at {uri}",
            "the database that training writes",
            "train first (recsys train), or set MLFLOW_TRACKING_URI",
        )


class PatientClient:
    """MLflow's client, every call of which is made again while its server is away.

    Parameters
    ----------
    uri : str
    patience : float
        Seconds; see `recsys.base.retries`. With 0 every call is made once.

    Attributes
    ----------
    once : MlflowClient
        The client itself, for calls that must not be made twice unseen.
    """

    def __init__(self, uri: str, patience: float = 0.0) -> None:
        settle()
        self.uri, self.patience = uri, patience
        self.once = MlflowClient(tracking_uri=resolved(uri), registry_uri=resolved(uri))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self.once, name)
        return lambda *args, **kwargs: self.patiently(partial(call, *args, **kwargs))

    def patiently(self, call: Callable[[], T]) -> T:
        """Make a call of any kind, again and again while the server is away."""
        return retry(call, is_outage, self.patience, f"the tracking server at {self.uri}")


def settle() -> None:
    """MLflow's own retries and no progress bars, unless the environment sets them.

    By default it tries eight times over some minutes, unseen by anybody, and waits two minutes
    for each answer. One immediate retry mends a connection that was dropped; longer outages are
    ours to ride out. A minute is enough for a slow server to answer one call.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)


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
def registry_at(uri: str) -> Iterator[None]:
    """MLflow's global addresses set for the time being, its faults said in one line.

    MLflow writes them into the environment too, where a later call would take them for the
    user's; so that is put back as well.
    """
    before = {name: os.environ.get(name) for name in ADDRESSES}
    settle()
    mlflow.set_tracking_uri(resolved(uri))
    mlflow.set_registry_uri(resolved(uri))
    try:
        yield
    except Exception as fault:
        # A database that cannot be made raises what SQLAlchemy raises.
        if found := as_storage_error(fault, "the registry", uri):
            raise found from fault
        if not isinstance(fault, MlflowException | OSError):
            raise
        raise RegistryError(
            redacted(f"the registry at {uri} failed ({str(fault).splitlines()[0][:200]})"),
            "an MLflow registry",
            "start it, or set tracking.uri",
        ) from fault
    finally:
        # None, where nothing was set, unsets it; MLflow's types do not know that.
        mlflow.set_tracking_uri(before[ADDRESSES[0]])  # type: ignore[arg-type]
        mlflow.set_registry_uri(before[ADDRESSES[1]])  # type: ignore[arg-type]
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
