"""Night metrics: what a run says of itself to Prometheus, as a file to be scraped or pushed.

A file is for the textfile collector of Prometheus' node exporter; a Pushgateway takes the same by
HTTP. Names and labels follow https://prometheus.io/docs/practices/naming/.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from recsys.base.config import Tracking
from recsys.base.redaction import redacted
from recsys.pipeline.outcomes import TrainingStages
from recsys.pipeline.promotion import Ending

if TYPE_CHECKING:
    from prometheus_client import CollectorRegistry

FAILED = "failed"
VERDICTS = (*(ending.value for ending in Ending), FAILED)
JOB = "recsys"
_SECONDS = 10.0  # for a Pushgateway to answer
_LABELS = ("model", "flow")


@dataclass
class Night:
    """What a run has come to, so far.

    Parameters
    ----------
    model, flow : str
    verdict : str
        One of `VERDICTS`.
    seconds : mapping of str to float
        Wall seconds of each finished stage; of one that was reused what it took to find it.
    stages : TrainingStages or None
        None where the run failed.
    version : str
        '' where none was registered.
    """

    model: str
    flow: str
    verdict: str = FAILED
    seconds: Mapping[str, float] = field(default_factory=dict)
    stages: TrainingStages | None = None
    version: str = ""


def night_metrics(night: Night, ended: float) -> CollectorRegistry:
    """The metrics of a run.

    Parameters
    ----------
    night : Night
    ended : float
        Seconds since 1970.
    """
    from prometheus_client import CollectorRegistry, Gauge

    registry = CollectorRegistry()
    own = {"model": night.model, "flow": night.flow}
    gauges: dict[str, Gauge] = {}

    def say(name: str, text: str, value: float, **more: str) -> None:
        known = gauges.get(name)
        if known is None:
            labels = (*_LABELS, *more)
            known = gauges[name] = Gauge(f"recsys_night_{name}", text, labels, registry=registry)
        known.labels(**own, **more).set(value)

    say("end_timestamp_seconds", "When the last run ended, since 1970.", ended)
    for verdict in VERDICTS:
        say(
            "verdict",
            "1 for what became of the last run.",
            verdict == night.verdict,
            verdict=verdict,
        )
    for stage, seconds in night.seconds.items():
        say("stage_seconds", "Wall seconds of a stage of the last run.", seconds, stage=stage)
    if night.stages is None:
        return registry
    data, core = night.stages.data.outcome, night.stages.core.outcome
    say("version", "The version that the last run registered.", float(night.version))
    for name, size in (
        ("users", core.users),
        ("items", core.items),
        ("interactions", core.interactions),
    ):
        say(name, f"The {name} that the last run trained on.", size)
    for source, rows in data.rows.items():
        say("rows", "Rows of a source that the last run read.", rows, source=source)
    for source, reasons in data.rejected.items():
        for reason, rows in reasons.items():
            say("rejected_rows", "Rows left out, by reason.", rows, source=source, reason=reason)
    precision = night.stages.measured.outcome.precision_at_5
    for model, value in precision.items():
        say("precision_at_5", "On the holdout of the last run.", value, ranked_by=model)
    if night.stages.drifted is not None:
        drifts = len(night.stages.drifted.outcome.drifts)
        say("drifts", "Quantities of the data that differ from earlier nights.", drifts)
    return registry


def deliver(night: Night, tracking: Tracking) -> list[str]:
    """Write and push the metrics of a run where settings say so.

    Returns
    -------
    list of str
        What could not be delivered and why; a run does not fail for it.
    """
    if tracking.metrics is None and tracking.pushgateway is None:
        return []
    from prometheus_client import push_to_gateway, write_to_textfile

    registry = night_metrics(night, time.time())
    faults = []
    if tracking.metrics is not None:
        path = Path(tracking.metrics) / f"{night.model}-{night.flow}.prom"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_to_textfile(str(path), registry)
        except OSError as fault:
            faults.append(f"metrics are not in {path} ({fault.strerror})")
    if tracking.pushgateway is not None:
        key = {"model": night.model, "flow": night.flow}
        try:
            push_to_gateway(
                tracking.pushgateway, job=JOB, registry=registry, grouping_key=key, timeout=_SECONDS
            )
        except (OSError, ValueError) as fault:  # of urllib: nobody answers, or with an error
            address = redacted(tracking.pushgateway)
            faults.append(f"metrics were not pushed to {address} ({fault})")
    return faults
