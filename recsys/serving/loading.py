"""Loading: a recommender from wherever its model is, a folder or an MLflow registry."""

from __future__ import annotations

from pathlib import Path

from recsys.recommend.recommender import Recommender
from recsys.tracking.bundles import locate_bundle

SCHEME = "models:/"


def load(where: str | Path) -> Recommender:
    """Open a trained model, memory-mapped.

    Parameters
    ----------
    where : str or Path
        A bundle's folder, or "models:/NAME@ALIAS" or "models:/NAME/VERSION" of an MLflow registry
        (MLFLOW_TRACKING_URI, or the project's own database).

    Raises
    ------
    InputError
        If the folder is no bundle, a file of it is damaged, or its schema is a newer one.
    NotFoundError, RegistryError
        If the registry does not have the model, or does not answer.
    """
    if not str(where).startswith(SCHEME):
        return Recommender.load(where)
    return Recommender.load(locate_bundle(str(where)))
