"""Naming: what a flow run is called, so that a list of runs says what each is about and when."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from prefect.runtime import flow_run

from recsys.base.config import Config


def about_run() -> str:
    """The subject of a run and the minute: `sample 2026-11-24 03:00`."""
    return f"{subject(_config())} {_when():%Y-%m-%d %H:%M}"


def subject(config: Config) -> str:
    """What a run is about: its model or its experiment, where they are named, else its data.

    Files of one's own are called `likes` more often than not.
    """
    return config.tracking.model or config.tracking.experiment or config.title


def _config() -> Config:
    given: Any = flow_run.parameters.get("config") or {}
    return given if isinstance(given, Config) else Config.model_validate(given)


def _when() -> datetime:
    # In the server's time zone it would be another night for half of the world.
    return flow_run.scheduled_start_time.astimezone()
