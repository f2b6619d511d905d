"""Serving: the bundle as a registered MLflow model, found by alias, asked by any program."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.models.signature import ModelSignature
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from mlflow.tracking import MlflowClient
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import Array

from recsys.errors import InputError, NotFoundError, RecsysError, RegistryError
from recsys.queries.questions import answer_all, read_questions
from recsys.recommender import Recommender

# MLflow prints where to see a run, with the user and the password of a server's address.
os.environ.setdefault("MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT", "true")

DEFAULT_URI = "sqlite:///mlruns/mlflow.db"
CHAMPION = "champion"
# What MLflow answers where there is no such model, version or alias.
MISSING = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
ADDRESSES = ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI")

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
) -> str:
    """Log a bundle as a model of a run, register it and return the new version.

    Raises
    ------
    RegistryError
        If the registry does not answer.
    """
    package = Path(__file__).resolve().parent
    requirements = [f"{name}=={version(name)}" for name in ("mlflow", "numpy", "pandas", "pyarrow")]
    with _registry(uri), mlflow.start_run(run_id=run_id):
        info = mlflow.pyfunc.log_model(
            name="recommender",
            python_model=str(package / "serving.py"),
            artifacts={"bundle": str(bundle)},
            code_paths=[str(package)],
            signature=SIGNATURE,
            pip_requirements=requirements,
        )
        client = _client(uri)
        if not client.search_registered_models(f"name = '{model}'"):
            client.create_registered_model(model)
        made = client.create_model_version(
            model,
            info.model_uri,
            run_id,
            tags={name: value[:5000] for name, value in tags.items()},
            model_id=info.model_id,
        )
    return str(made.version)


def champion_version(uri: str, model: str) -> tuple[str, dict[str, str]] | None:
    """The champion's version and tags; None where there is no champion."""
    with _registry(uri):
        try:
            found = _client(uri).get_model_version_by_alias(model, CHAMPION)
        except MlflowException as fault:
            if fault.error_code in MISSING:
                return None
            raise
    return str(found.version), dict(found.tags)


def champion_manifest(uri: str, model: str) -> Mapping[str, Any] | None:
    """What the champion's bundle says of itself; None where there is no champion."""
    if champion_version(uri, model) is None:
        return None
    return Recommender.load(download(f"models:/{model}@{CHAMPION}", uri)).manifest


def download(address: str, uri: str | None = None) -> Path:
    """The bundle's folder of a registered model; fetched if the registry is elsewhere.

    Parameters
    ----------
    address : str
        "models:/NAME@ALIAS" or "models:/NAME/VERSION".
    uri : str or None
        The registry; by default MLFLOW_TRACKING_URI, or the project's own database.

    Raises
    ------
    NotFoundError
        If there is no such model, alias or version.
    RegistryError
        If the registry is not there.
    """
    uri = uri or os.environ.get("MLFLOW_TRACKING_URI", DEFAULT_URI)
    require_registry(uri)
    with _registry(uri):
        try:
            folder = mlflow.artifacts.download_artifacts(artifact_uri=address)
        except MlflowException as fault:
            if fault.error_code not in MISSING:
                raise
            raise NotFoundError(
                f"no model {address} in {shown(uri)}",
                "a registered model with that alias or version",
                "train one first (recsys train), or check the name",
            ) from fault
    return Path(folder) / "artifacts" / "bundle"


def resolved(uri: str) -> str:
    """The address with a local database's path made absolute.

    MLflow keeps connections by address: a relative one would go on meaning the folder in which
    it was first used.
    """
    if not uri.startswith("sqlite:///"):
        return uri
    return f"sqlite:///{Path(uri.removeprefix('sqlite:///')).resolve()}"


def shown(text: str) -> str:
    """A text as it may be read by everybody: addresses in it without their passwords."""
    return re.sub(r"(://[^/@:\s]*):[^/@\s]*@", r"\1:***@", text)


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


def _client(uri: str) -> MlflowClient:
    return MlflowClient(tracking_uri=resolved(uri), registry_uri=resolved(uri))


@contextmanager
def _registry(uri: str) -> Iterator[None]:
    """MLflow's global addresses set for the time being, its faults said in one line.

    MLflow writes them into the environment too, where a later call would take them for the
    user's; so that is put back as well.
    """
    before = {name: os.environ.get(name) for name in ADDRESSES}
    mlflow.set_tracking_uri(resolved(uri))
    mlflow.set_registry_uri(resolved(uri))
    try:
        yield
    except (MlflowException, OSError) as fault:
        raise RegistryError(
            shown(f"the registry at {uri} failed ({str(fault).splitlines()[0][:200]})"),
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
