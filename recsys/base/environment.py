"""Environment: what environment variables set."""

from __future__ import annotations

import os

DEFAULT_TRACKING_URI = "sqlite:///mlruns/mlflow.db"


def tracking_uri() -> str:
    """What MLFLOW_TRACKING_URI says, as for MLflow itself, or a database in this folder.

    Whoever trains and whoever asks look for the same registry this way, and a team's workers
    learn of it from their environment: credentials in it are in no deployment's parameters.
    """
    return os.environ.get("MLFLOW_TRACKING_URI") or DEFAULT_TRACKING_URI
