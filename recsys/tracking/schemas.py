"""Schemas of MLflow's databases: which release a database is of, known without importing MLflow."""

from __future__ import annotations

import re
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from recsys.base.errors import RegistryError
from recsys.base.redaction import redacted

REVISION_QUERY = "SELECT version_num FROM alembic_version"
_OWN = re.compile(r'^revision = "(\w+)"', re.MULTILINE)
_BEFORE = re.compile(r'^down_revision = "(\w+)"', re.MULTILINE)


def check_schema(uri: str, there: str) -> None:
    """Refuse a database whose schema is not that of the MLflow that is installed.

    Where it cannot be found what that is, MLflow itself is left to say so.

    Parameters
    ----------
    uri : str
        Of the database.
    there : str
        Its revision.

    Raises
    ------
    RegistryError
    """
    here = _newest()
    if here is not None and there != here:
        raise another_schema(uri, there, here)


def another_schema(uri: str, there: str, here: str) -> RegistryError:
    """The error for a database whose schema is of another release of MLflow.

    Parameters
    ----------
    uri : str
    there, here : str
        Revisions of the schema: the database's, and the one of the MLflow that is installed.
    """
    import mlflow

    known = any(path.name.startswith(there) for path in _scripts())
    age = "an older" if known else "a newer"
    migrate = f"back it up, then migrate it (mlflow db upgrade '{uri}')"
    install = f"install the MLflow that wrote it, newer than {mlflow.__version__}"
    return RegistryError(
        redacted(f"the database at {uri} is of {age} MLflow, with schema {there}"),
        f"schema {here}, that of MLflow {mlflow.__version__}",
        migrate if known else f"{install} (pip install --upgrade mlflow)",
    )


@cache
def _newest() -> str | None:
    """The revision that MLflow expects; None if its migrations do not say."""
    texts = [path.read_text(encoding="utf-8") for path in _scripts()]
    own = {found for text in texts for found in _OWN.findall(text)}
    newest = own - {found for text in texts for found in _BEFORE.findall(text)}
    return newest.pop() if len(newest) == 1 else None


def _scripts() -> list[Path]:
    """MLflow's migrations, as in acf3f17fdcc7_add_storage_location_field.py."""
    found = find_spec("mlflow")
    folders = (found and found.submodule_search_locations) or []
    return [
        path
        for folder in folders
        for path in Path(folder, "store/db_migrations/versions").glob("*.py")
    ]
