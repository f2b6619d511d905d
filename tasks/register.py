"""Register: figures and verdict logged on the study's run, the bundle registered as challenger."""

from __future__ import annotations

from recsys.pipeline import registration
from tasks.steps import step_task

register = step_task("register", registration.register)
