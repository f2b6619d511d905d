"""Environment: what environment variables set."""

from __future__ import annotations

import os
from pathlib import Path

DEFAULT_TRACKING_URI = "sqlite:///mlruns/mlflow.db"


def tracking_uri() -> str:
    """The value of MLFLOW_TRACKING_URI, as for MLflow itself, or a database in this folder.

    Training and serving find the same registry this way, and a team's workers get it from their
    environment, so that its credentials are in no deployment's parameters.
    """
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_TRACKING_URI


def model_cache() -> Path:
    """Where bundles of registries elsewhere are kept: RECSYS_MODEL_CACHE, or the user's cache."""
    if folder := os.environ.get("RECSYS_MODEL_CACHE"):
        return Path(folder)
    import platformdirs

    return platformdirs.user_cache_path("liked-this") / "models"
