"""Drift: tonight's data compared with those of the nights before."""

from __future__ import annotations

from prefect.events import emit_event

from recsys.base import config
from recsys.data.outcomes import Ingested
from recsys.evaluation.drift import Limits
from recsys.pipeline import drifting
from recsys.pipeline.outcomes import Drifted, Fitted
from recsys.pipeline.promotion import model_resource
from recsys.pipeline.tracked import Tracked
from recsys.store.stages import Stage
from tasks.caching import cached_task

_drift = cached_task(drifting.drift)


def drift(
    interim: str,
    data: Stage[Ingested],
    fitted: Stage[Fitted],
    options: config.Gate,
    tracked: Tracked,
) -> Stage[Drifted] | None:
    """What differs from the last nights in the registry; None where it is not to be looked for."""
    if not options.drift_nights:
        return None
    nights = drifting.find_nights(tracked.registry(), fitted, options.drift_nights)
    return _drift(interim, data, nights, Limits(options.drift_psi, options.drift_factor))


def announce_drift(model: str, drifted: Stage[Drifted] | None) -> None:
    """Tell Prefect's automations what drifts, if anything does; the run it is in is related."""
    if drifted is None or not drifted.outcome.drifts:
        return
    emit_event(
        event="recsys.data.drifted",
        resource=model_resource(model),
        payload={"model": model, "drifts": list(drifted.outcome.drifts)},
    )
