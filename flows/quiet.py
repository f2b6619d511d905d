"""Silences the logs of libraries in a terminal, where a run shows its own progress."""

from __future__ import annotations

import logging
import os
import warnings


def silence() -> None:
    """Turn off telemetry, logs and warnings that would disturb the progress display.

    Call it before Prefect is imported. With RECSYS_DEBUG set, logs and warnings stay on.
    """
    os.environ.setdefault("PREFECT_SERVER_ANALYTICS_ENABLED", "false")
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("PREFECT_SERVER_EPHEMERAL_STARTUP_TIMEOUT_SECONDS", "120")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    if os.environ.get("RECSYS_DEBUG"):
        return
    os.environ.setdefault("PREFECT_LOGGING_LEVEL", "CRITICAL")
    # MLflow raises its errors; it would log them as well, with a traceback for a full disk.
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "CRITICAL")
    os.environ.setdefault("DASK_LOGGING__DISTRIBUTED", "error")
    # Prefect's event worker logs under its own name, outside of Prefect's settings; urllib3 and
    # psycopg log every attempt to reach a server that is down.
    for name in ("mlflow", "EventsWorker", "urllib3", "psycopg"):
        logging.getLogger(name).setLevel(logging.CRITICAL)
    warnings.filterwarnings("ignore")
