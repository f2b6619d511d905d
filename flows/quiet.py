"""Quiet: settings for a flow in a terminal, where its own progress is what a person reads."""

from __future__ import annotations

import logging
import os
import warnings


def calm() -> None:
    """Nothing calls home, nothing talks over the progress; call it before Prefect is imported."""
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    if os.environ.get("RECSYS_DEBUG"):
        return
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    # What MLflow cannot do is raised; it would log it as well, with a traceback for a full disk.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "error")
    # Prefect's event worker logs under its own name, outside of Prefect's settings; urllib3 tells
    # of each attempt at a server that is away.
    for name in ("mlflow", "EventsWorker", "urllib3"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore")
