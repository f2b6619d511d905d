"""Names of flow runs: the model, experiment or data of each, and when it was scheduled."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect.runtime import flow_run

from recsys.base.config import Config


def run_name() -> str:
    """The name of the current run: `sample 2026-11-24 03:00`."""
    return f"{subject(_config())} {_when():%Y-%m-%d %H:%M}"


def subject(config: Config) -> str:
    """What a run is about: the model or the experiment, where the configuration names one, else the
    data.
    """
    return config.tracking.model or config.tracking.experiment or config.title


def _config() -> Config:
    given: Any = flow_run.parameters.get("config") or {}
    return given if isinstance(given, Config) else Config.model_validate(given)


def _when() -> datetime:
    # In the server's time zone it would be another night for half of the world.
    return flow_run.scheduled_start_time.astimezone()
