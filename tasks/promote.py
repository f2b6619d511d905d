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
from recsys.store.stages import Stage
from recsys.tracking.bundles import CHAMPION
from recsys.tracking.registry import PROMOTED, ROLLED_BACK, Registry, whoami

ANNOUNCED = "announced"  # which event of a version automations have been told


@task(name="promote", task_run_name="promote", cache_policy=NO_CACHE)
def _promote(config: Config, number: str, verdict: Stage) -> tuple[list[str], bool]:
    """Why the version is held, if it is; and whether it was champion before."""
    registry = Registry(config.tracking.uri, config.model, config.tracking.patience)
    with registry.locked(Path(config.storage.interim)):
        reasons, reigned = _moved(registry, number, verdict)
        event = "held" if reasons else "promoted"
        # The tag comes last: an event may be told twice, and is never left out.
        if registry.version(number).tags.get(ANNOUNCED) != event:
            announce(config, number, event, reasons)
            registry.tag(number, {ANNOUNCED: event})
    return reasons, reigned


def _moved(registry: Registry, number: str, verdict: Stage) -> tuple[list[str], bool]:
    version, champion = registry.version(number), registry.at(CHAMPION)
    reigned = champion is not None and champion.number == number
    before, judged = (champion.number if champion else None), verdict.counts["champion"]
    reasons: list[str] = list(verdict.counts["reasons"])
    if ROLLED_BACK in version.tags:
        reasons.append(f"rolled back by hand: {version.tags.get(f'{ROLLED_BACK}_why', '')}")
    if before != judged:
        reasons.append(f"judged against version {judged}, but version {before} is champion now")
    if reigned:
        reasons = []
    if not reasons and not (reigned and PROMOTED in version.tags):
        why = f"passed the gate against {f'version {judged}' if judged else 'popularity'}"
        registry.promote(number, by=whoami(), why=why)
    return reasons, reigned


def announce(config: Config, number: str, event: str, reasons: Sequence[str]) -> None:
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


def promote(config: Config, number: str, verdict: Stage) -> list[str]:
    """Why the version is held; empty where it is the champion now."""
    emit(StageStarted("promote"))
    start = time.monotonic()
    reasons, reigned = _promote(config, number, verdict)
    counts = {"version": number, "champion": not reasons, "held": "; ".join(reasons)}
    emit(StageDone("promote", reigned, time.monotonic() - start, counts))
    return reasons
