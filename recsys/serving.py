"""Serving: the bundle as a registered MLflow model, found by alias, asked by any program."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeVar

import mlflow
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.models.model import ModelInfo
from mlflow.models.signature import ModelSignature
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from mlflow.store.artifact.artifact_repository_registry import get_artifact_repository
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array

from recsys.errors import InputError, NotFoundError, RecsysError, RegistryError
from recsys.location import tracking_uri
from recsys.locks import alone
from recsys.outages import ride_out
from recsys.queries.questions import answer_all, read_questions
from recsys.recommender import Recommender
from recsys.redaction import redacted
from recsys.storage import refusal, writing

# MLflow prints where to see a run, with the user and the password of a server's address.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

CHAMPION = "champion"
MOST_BYTES = 2**36  # of a model that is fetched: 250 million vectors with 64 factors
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
TEXT = DataType.string
TEXTS = Array(DataType.string)
OPTIONAL: dict[str, DataType | Array] = {
    "id": TEXT,
    "item": TEXT,
    "liked": TEXTS,
    "liked_by": TEXTS,
    "tags": TEXTS,
    "weights": Array(DataType.double),
    "features": TEXTS,
    "type": TEXT,
    "must": TEXTS,
    "must_not": TEXTS,
    "exclude": TEXTS,
    "include_seen": DataType.boolean,
    "include_untrained": DataType.boolean,
    "n": DataType.long,
}

SIGNATURE = ModelSignature(
    inputs=Schema(
        [
            ColSpec(TEXT, "query"),
            *(ColSpec(kind, name, required=False) for name, kind in OPTIONAL.items()),
        ]
    ),
    outputs=Schema(
        [
            ColSpec(DataType.long, "row"),
            ColSpec(TEXT, "id"),
            ColSpec(TEXT, "name"),
            ColSpec(DataType.double, "score"),
            ColSpec(TEXT, "reason"),
            ColSpec(TEXT, "notes"),
        ]
    ),
)


class ServedRecommender(PythonModel):
    """Answers a table of questions with a table of answers, `row` telling whose they are."""

    def load_context(self, context: PythonModelContext) -> None:
        self._recommender = Recommender.load(context.artifacts["bundle"])

    def predict(
        self,
        context: PythonModelContext | None,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Answer every row; see :mod:`recsys.queries.questions` for what a row may ask.

        Several rows of one table have the same columns; null where a question has no use for one.
        """
        try:
            questions = read_questions(model_input.to_dict("records"), _saying)
        except InputError as fault:
            raise MlflowException.invalid_parameter_value(str(fault)) from fault
        rows: list[dict[str, Any]] = []
        for position, found in enumerate(answer_all(self._recommender, questions, _saying)):
            notes = "; ".join(found.notes)
            rows += [{"row": position, **row.as_dict(), "notes": notes} for row in found]
        columns = ["row", "id", "name", "score", "reason", "notes"]
        return pd.DataFrame(rows, columns=columns).astype({"row": "int64", "score": "float64"})


@contextmanager
def _saying(position: int) -> Iterator[None]:
    """A fault of the asker's, with the row it is in."""
    try:
        yield
    except RecsysError as fault:
        raise MlflowException.invalid_parameter_value(f"row {position}: {fault}") from fault


def register(
    uri: str,
    run_id: str,
    model: str,
    bundle: Path,
    tags: Mapping[str, str],
    patience: float = 0.0,
) -> str:
    """Log a bundle as a model of a run, register it and return the new version.

    Parameters
    ----------
    uri, run_id, model : str
    bundle : Path
    tags : mapping
        Of the version.
    patience : float
        Seconds that a server which does not answer is waited for.

    Raises
    ------
    RegistryError
        If the registry does not answer.
    """
    package = Path(__file__).resolve().parent
    requirements = [f"{name}=={version(name)}" for name in ("mlflow", "numpy", "pandas", "pyarrow")]
    client = PatientClient(uri, patience)
    example = _example(bundle)

    def log() -> ModelInfo:
        # Again from the start if it is cut off: a model that was logged in part is nobody's.
        with mlflow.start_run(run_id=run_id):
            return mlflow.pyfunc.log_model(
                name="recommender",
                python_model=str(package / "serving.py"),
                artifacts={"bundle": str(bundle)},
                code_paths=[str(package)],
                signature=SIGNATURE,
                input_example=example,
                pip_requirements=requirements,
            )

    def create(info: ModelInfo) -> ModelVersion:
        # An earlier attempt may have arrived although its answer got lost.
        found = client.once.search_model_versions(f"name = '{model}' and run_id = '{run_id}'")
        if same := [entry for entry in found if entry.model_id == info.model_id]:
            return same[0]
        if not client.once.search_registered_models(f"name = '{model}'"):
            client.once.create_registered_model(model)
        told = {name: value[:5000] for name, value in tags.items()}
        return client.once.create_model_version(
            model, info.model_uri, run_id, tags=told, model_id=info.model_id
        )

    with _registry(uri):
        info = client.patiently(log)
        made = client.patiently(partial(create, info))
    return str(made.version)


def _example(bundle: Path) -> pd.DataFrame:
    """A question for whoever looks at the model in MLflow: what is like the most liked item."""
    most_liked = Recommender.load(bundle).popular(1)[0]
    return pd.DataFrame([{"query": "similar", "id": most_liked.id, "n": 5}])


def champion_version(
    uri: str, model: str, patience: float = 0.0
) -> tuple[str, dict[str, str]] | None:
    """The champion's version and tags; None where there is no champion."""
    with _registry(uri):
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
    return Recommender.load(download(f"models:/{model}@{CHAMPION}", uri, patience)).manifest


def download(address: str, uri: str | None = None, patience: float = 0.0) -> Path:
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
    with _registry(uri):
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
    with writing("the tracking database", path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        with alone(path.with_name(f".{path.name}.lock")):
            if path.exists():
                return
            unfinished = path.with_name(f".{path.name}.unfinished")
            unfinished.unlink(missing_ok=True)
            with _registry(f"sqlite:///{unfinished}"):
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
        Seconds; see `recsys.outages`. With 0 every call is made once.

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
        return ride_out(call, is_outage, self.patience, f"the tracking server at {self.uri}")


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
        local = fault.filename is not None or refusal(fault, "", ".") is not None
        return not local and status >= 500
    return False


@contextmanager
def _registry(uri: str) -> Iterator[None]:
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
        if found := refusal(fault, "the registry", uri):
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


# MLflow runs this file to make the model ("models from code"): nothing is pickled.
set_model(ServedRecommender())
