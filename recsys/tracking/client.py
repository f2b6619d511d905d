"""MLflow's client: its addresses, its local database, calls that are made again in an outage."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import mlflow
from mlflow.tracking import MlflowClient

from recsys.base.disk import storage_errors
from recsys.base.errors import OutageError, RegistryError
from recsys.base.proxies import spare_loopback
from recsys.base.retries import retry
from recsys.store.locks import locked
from recsys.store.templates import copy_template, keep_template, with_logs
from recsys.tracking.address import absolute_uri, database_path
from recsys.tracking.databases import check_database
from recsys.tracking.faults import is_outage, registry_errors

# MLflow prints where to see a run, with the user and the password of a server's address.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")
ADDRESSES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")
SETTINGS = {
    "MLFLOW_HTTP_REQUEST_MAX_RETRIES": "0",
    "MLFLOW_HTTP_REQUEST_BACKOFF_FACTOR": "0",
    "MLFLOW_HTTP_REQUEST_TIMEOUT": "60",
    # It is drawn on standard error, which is a broken pipe once a worker that read it is dead.
    "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
}
T = TypeVar("T")


def prepare_database(uri: str) -> None:
    """Make a local database where there is none yet; nothing for a server.

    Two processes that make it at the same moment break it, and one that is killed in the middle
    leaves half of it. So it is made under a lock and another name, and appears when it is whole.

    Raises
    ------
    StorageError
        If it cannot be written.
    RegistryError
        If MLflow cannot make it, or there are the logs of a database that is gone.
    """
    path = database_path(uri)
    if path is None or path.exists():
        return
    with storage_errors("the tracking database", path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with locked(path.with_name(f".{path.name}.lock")):
            if path.exists():
                return
            unfinished = path.with_name(f".{path.name}.unfinished")
            for left in with_logs(unfinished):
                left.unlink(missing_ok=True)
            _require_no_logs(path)
            with registry_errors(uri):
                copy_template("mlflow", unfinished)
                _open(unfinished)
            unfinished.rename(path)


def make_template(folder: Path) -> None:
    """Keep a new database, without the default experiment, which names the folder it is made in."""
    made = folder / "mlflow.db"
    _open(made)
    with closing(sqlite3.connect(made)) as database, database:
        database.execute("DELETE FROM experiments")
    keep_template("mlflow", made)


def _require_no_logs(path: Path) -> None:
    """Refuse to make a database where the logs of one are that is gone."""
    for log in with_logs(path)[1:]:
        if log.exists():
            raise RegistryError(
                f"{log} is there, and {path.name}, whose changes it holds, is not",
                "both, or neither",
                f"put {path.name} back, or move {log.name} away",
            )


def _open(path: Path) -> None:
    """Have MLflow bring a database up to date, and make the experiment that it always has."""
    made = f"sqlite:///{path}"
    client = MlflowClient(tracking_uri=made, registry_uri=made)
    client.search_experiments(max_results=1)
    client.search_registered_models(max_results=1)


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

    Raises
    ------
    RegistryError, ConfigError
        If a database at the address cannot be used; see `check_database`.
    """

    def __init__(self, uri: str, patience: float = 0.0) -> None:
        set_defaults()
        self.uri, self.patience = uri, patience
        who = f"the tracking database at {uri}"
        retry(lambda: check_database(uri), lambda f: isinstance(f, OutageError), patience, who)
        self.once = MlflowClient(tracking_uri=absolute_uri(uri), registry_uri=absolute_uri(uri))

    def __getattr__(self, name: str) -> Callable[..., Any]:
        call = getattr(self.once, name)
        return lambda *args, **kwargs: self.patiently(partial(call, *args, **kwargs))

    def patiently(self, call: Callable[[], T]) -> T:
        """Make a call of any kind, again and again while the server is away."""
        return retry(
            call,
            partial(is_outage, uri=self.uri),
            self.patience,
            f"the tracking server at {self.uri}",
        )


def set_defaults() -> None:
    """MLflow's own retries and no progress bars, unless the environment sets them.

    By default it tries eight times over some minutes, without a word, and waits two minutes
    for each answer. It also repeats what must not be done twice: where the answer to the creation
    of a run or of a version is lost, there are two of them. So nothing is repeated but by
    `PatientClient`, which reports it. A minute is enough for a slow server to answer one call.
    """
    for name, value in SETTINGS.items():
        os.environ.setdefault(name, value)
    spare_loopback()


@contextmanager
def using_registry(uri: str) -> Iterator[None]:
    """MLflow's global addresses set within a `with` block, its faults as errors in one line.

    MLflow writes them into the environment too, where a later call would take them for the
    user's; so that is put back as well.
    """
    before = {name: os.environ.get(name) for name in ADDRESSES}
    set_defaults()
    mlflow.set_tracking_uri(absolute_uri(uri))
    mlflow.set_registry_uri(absolute_uri(uri))
    try:
        with registry_errors(uri):
            yield
    finally:
        # None, where nothing was set, unsets it; MLflow's types do not know that.
        mlflow.set_tracking_uri(before[ADDRESSES[0]])  # type: ignore[arg-type]
        mlflow.set_registry_uri(before[ADDRESSES[1]])  # type: ignore[arg-type]
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
