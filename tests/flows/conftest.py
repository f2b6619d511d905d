"""One Prefect server for all flow tests, and a small configuration to run on."""

from __future__ import annotations

import atexit
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

# A home of its own: what tasks keep of their results is found by content, and another run of these
# tests, or of the pipeline by whoever runs them, has the same content.
os.environ["PREFECT_HOME"] = tempfile.mkdtemp(prefix="prefect-")
os.environ["PREFECT_SERVER_ANALYTICS_ENABLED"] = "false"
os.environ["PREFECT_LOGGING_LEVEL"] = "CRITICAL"

from prefect.testing.utilities import prefect_test_harness

from recsys.base.config import Config, load_config
from tests.fixtures.planted import write_planted

# Whoever collects these tests has made one, whether they run here or not.
atexit.register(shutil.rmtree, os.environ["PREFECT_HOME"], ignore_errors=True)


@pytest.fixture(scope="session", autouse=True)
def prefect_server() -> Iterator[None]:
    with prefect_test_harness(server_startup_timeout=120):
        yield


def small_config(folder: Path, **settings: object) -> Config:
    """Three short trials on the planted world, everything written below `folder`."""
    likes, features = write_planted(folder / "input")
    values = {
        "data.likes": str(likes),
        "data.features": str(features),
        "storage.interim": str(folder / "interim"),
        "tracking.uri": f"sqlite:///{folder}/mlruns/mlflow.db",
        "tracking.model": "planted",
        "search.trials": 3,
        "search.max_epochs": 12,
        "evaluate.als_trials": 1,
        "evaluate.bootstrap_samples": 100,
    }
    return load_config(None, values | settings)
