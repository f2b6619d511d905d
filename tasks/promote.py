"""Promote: the challenger becomes champion if the gate let it pass; otherwise it is held."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.events import emit_event

from recsys.base.config import Config
from recsys.base.events import StageDone, StageStarted, emit
from recsys.base.redaction import redacted
from recsys.pipeline.outcomes import Judged
from recsys.pipeline.promotion import Decision, Ending, decide
from recsys.store.stages import Stage
from recsys.tracking.registry import Registry, open_registry, whoami
from recsys.tracking.versions import CHAMPION, PROMOTED

ANNOUNCED = "announced"  # which event of a version automations have been told


@task(name="promote", task_run_name="promote", cache_policy=NO_CACHE)
def _promote(config: Config, number: str, verdict: Stage[Judged]) -> tuple[Decision, bool]:
    """What becomes of the version; and whether it was champion before."""
    registry = open_registry(config.tracking, config.model)
    with registry.locked(Path(config.storage.interim)):
        decision, reigned = _moved(registry, number, verdict.outcome)
        event = "promoted" if decision.ending is Ending.PROMOTED else "held"
        # The tag comes last: an event may be told twice, and is never left out.
        if registry.version(number).tags.get(ANNOUNCED) != event:
            emit_trial(config, number, event, decision.reasons)
            registry.tag(number, {ANNOUNCED: event})
    return decision, reigned


def _moved(registry: Registry, number: str, judged: Judged) -> tuple[Decision, bool]:
    version, champion = registry.version(number), registry.at(CHAMPION)
    decision = decide(judged, version, champion)
    reigned = champion is not None and champion.number == number
    if decision.ending is Ending.PROMOTED and not (reigned and PROMOTED in version.tags):
        against = f"version {judged.champion}" if judged.champion else "popularity"
        registry.promote(number, by=whoami(), why=f"passed the gate against {against}")
    return decision, reigned


def emit_trial(config: Config, number: str, event: str, reasons: Sequence[str]) -> None:
    """Tell Prefect's automations what became of a version; the run it happened in is related.

    The payload holds what a run of `recommend` has to be told to write lists of this model. An
    address with a password in it is left out, for events can be read by everybody: whoever hears of
    it has to know the address (MLFLOW_TRACKING_URI).
    """
    model, tracking = config.model, {"model": config.model}
    if redacted(config.tracking.uri) == config.tracking.uri:
        tracking["uri"] = config.tracking.uri
    told = {"tracking": tracking, "batch": config.batch.model_dump()}
    emit_event(
        event=f"recsys.champion.{event}",
        resource={"prefect.resource.id": f"recsys.model.{model}", "prefect.resource.name": model},
        payload={"model": model, "version": number, "reasons": list(reasons), "config": told},
    )


def promote(config: Config, number: str, verdict: Stage[Judged]) -> Decision:
    """Make the version champion, or hold it; which, and why."""
    emit(StageStarted("promote"))
    start = time.monotonic()
    decision, reigned = _promote(config, number, verdict)
    champion = decision.ending is Ending.PROMOTED
    counts = {"version": number, "champion": champion, "held": "; ".join(decision.reasons)}
    emit(StageDone("promote", reigned, time.monotonic() - start, counts))
    return decision
