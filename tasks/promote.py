"""Promote: the challenger becomes champion if the gate let it pass; otherwise it is held."""

from __future__ import annotations

from prefect.events import emit_event

from recsys.pipeline import promotion
from tasks.steps import step_task

promote = step_task("promote", promotion.promote)


def announce(event: promotion.Announcement) -> None:
    """Tell Prefect's automations what became of a version; the run it happened in is related."""
    emit_event(event=event.name, resource=event.resource, payload=event.payload)
