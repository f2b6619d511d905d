"""Naming: what a flow run is called, so that a list of runs says what each is about and when."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect.runtime import flow_run

from recsys.base.config import Config


def about_data() -> str:
    """The data set and the minute: `sample 2026-11-24 03:00`."""
    return f"{_config().title} {_when():%Y-%m-%d %H:%M}"


def about_model() -> str:
    """The registered model and the minute."""
    return f"{_config().model} {_when():%Y-%m-%d %H:%M}"


def _config() -> Config:
    given: Any = flow_run.parameters.get("config") or {}
    return given if isinstance(given, Config) else Config.model_validate(given)


def _when() -> datetime:
    # In the server's time zone it would be another night for half of the world.
    return flow_run.scheduled_start_time.astimezone()
