"""Serving: the bundle as a registered MLflow model, found by alias, asked by any program."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import mlflow
import pandas as pd
from mlflow.entities.model_registry import ModelVersion
from mlflow.exceptions import MlflowException
from mlflow.models import set_model
from mlflow.models.model import ModelInfo
from mlflow.models.signature import ModelSignature
from mlflow.pyfunc.model import PythonModel, PythonModelContext
from mlflow.types import ColSpec, DataType, Schema
from mlflow.types.schema import AnyType, Array

from recsys.base.errors import InputError, RecsysError
from recsys.bundle import bundle_digest, read_bundle_manifest
from recsys.recommend.availability import WatchedAvailability
from recsys.recommend.house_rules import WatchedRules
from recsys.recommend.recommender import Recommender
from recsys.serving.model_code import copy_model_code
from recsys.serving.questions import answer_all, read_questions
from recsys.tracking.client import PatientClient, using_registry
from recsys.tracking.versions import BUNDLE

# What the registered model imports; of each the version that is installed here.
REQUIRED = ("mlflow", "numpy", "pandas", "pyarrow", "pydantic")
TEXT = DataType.string
# Not an array of texts, into which MLflow makes no number; what is no list of ids is refused below.
TEXTS = AnyType()  # type: ignore[no-untyped-call]
OPTIONAL: dict[str, DataType | Array | AnyType] = {
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
    "only": TEXTS,
    "lists": TEXTS,
    "items": TEXTS,
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
        """Open the bundle; MLflow calls it before the first question.

        The model's configuration (`mlflow.pyfunc.load_model(…, model_config=…)`) may name files:
        `rules`, of house rules, and `only`, of the items that may be shown. Both are read again
        when they change.
        """
        given = getattr(context, "model_config", None) or {}
        self._recommender = replace(
            Recommender.load(context.artifacts["bundle"]),
            rules=WatchedRules(given["rules"]) if given.get("rules") else None,
            availability=WatchedAvailability(given["only"]) if given.get("only") else None,
        )

    def predict(
        self,
        context: PythonModelContext | None,
        model_input: pd.DataFrame,
        params: dict[str, Any] | None = None,
    ) -> pd.DataFrame:
        """Answer every row; see :mod:`recsys.serving.questions` for what a row may ask.

        Several rows of one table have the same columns; null where a question has no use for one.
        """
        try:
            questions = read_questions(model_input.to_dict("records"), _attributing)
        except InputError as fault:
            raise MlflowException.invalid_parameter_value(str(fault)) from fault
        rows: list[dict[str, Any]] = []
        for position, found in enumerate(answer_all(self._recommender, questions, _attributing)):
            notes = "; ".join(found.notes)
            rows += [{"row": position, **row.as_dict(), "notes": notes} for row in found]
        columns = ["row", "id", "name", "score", "reason", "notes"]
        return pd.DataFrame(rows, columns=columns).astype({"row": "int64", "score": "float64"})


@contextmanager
def _attributing(position: int) -> Iterator[None]:
    """Reports an error in a question with the row it is in."""
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
    requirements = [f"{name}=={version(name)}" for name in REQUIRED]
    client = PatientClient(uri, patience)
    example = _example(bundle)
    # The cache of bundles is keyed by it, and checks by it what was fetched.
    tags = {BUNDLE: bundle_digest(read_bundle_manifest(bundle)), **tags}

    def log() -> ModelInfo:
        # Again from the start if it is cut off: a model that was logged in part is not registered.
        with tempfile.TemporaryDirectory() as folder, mlflow.start_run(run_id=run_id):
            code = copy_model_code("recsys.serving.pyfunc", Path(folder))
            return mlflow.pyfunc.log_model(
                name="recommender",
                python_model=str(code / "serving" / "pyfunc.py"),
                artifacts={"bundle": str(bundle)},
                code_paths=[str(code)],
                signature=SIGNATURE,
                input_example=example,
                pip_requirements=requirements,
                model_config={"rules": "", "only": ""},
            )

    def create(info: ModelInfo) -> ModelVersion:
        # An earlier attempt may have arrived although its answer got lost.
        found = client.once.search_model_versions(f"name = '{model}' and run_id = '{run_id}'")
        if same := [entry for entry in found if entry.source == info.model_uri]:
            return same[0]
        if not client.once.search_registered_models(f"name = '{model}'"):
            client.once.create_registered_model(model)
        shortened = {name: value[:5000] for name, value in tags.items()}
        return client.once.create_model_version(
            model, info.model_uri, run_id, tags=shortened, model_id=info.model_id
        )

    with using_registry(uri):
        info = client.patiently(log)
        made = client.patiently(partial(create, info))
    return str(made.version)


def _example(bundle: Path) -> pd.DataFrame:
    """An example question for the model's page in MLflow: what is like the most liked item."""
    most_liked = Recommender.load(bundle).popular(1)[0]
    return pd.DataFrame([{"query": "similar", "id": most_liked.id, "n": 5}])


# MLflow runs this file to make the model ("models from code"): nothing is pickled.
set_model(ServedRecommender())
