"""Retraining: the body that `train` and `refresh` share, one line a stage."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

from flows.results import TrainingResult
from recsys.base.config import Config
from recsys.base.events import Event, Note, StageDone, emit, listening
from recsys.base.redaction import redacted
from recsys.data.outcomes import Encoded, HeldOut, Thresholded
from recsys.data.sources import locate_data
from recsys.pipeline.expected import read_expected
from recsys.pipeline.fresh_likes import archive_log
from recsys.pipeline.night_metrics import Night, deliver
from recsys.pipeline.outcomes import Chosen, TrainingStages
from recsys.pipeline.tracked import RunDetails, Tracked
from recsys.store.stages import Stage
from recsys.tracking.params import flat
from recsys.tracking.provenance import library_versions
from tasks.drift import announce_drift, drift
from tasks.encode import encode
from tasks.evaluate import evaluate
from tasks.fit import fit
from tasks.gate import gate
from tasks.ingest import ingest
from tasks.promote import announce, promote
from tasks.register import register
from tasks.repeat import repeat
from tasks.report import report
from tasks.split import split
from tasks.threshold import threshold

# Finds the configuration to be trained: by a search, or as the champion has it.
Choose: TypeAlias = Callable[
    [Config, Tracked, RunDetails, Stage[Thresholded], Stage[HeldOut], Stage[Encoded]],
    Stage[Chosen],
]


def retrain(flow: str, config: Config, choose: Choose) -> TrainingResult:
    """Choose a configuration on today's data, measure, register, promote what is good enough.

    Parameters
    ----------
    flow : str
        Its name.
    config : Config
    choose : callable
        The one stage in which the flows differ.
    """
    config = config.effective()
    seconds: dict[str, float] = {}
    night = Night(config.model, flow, seconds=seconds)

    def time_stages(event: Event) -> None:
        if isinstance(event, StageDone):
            seconds[event.stage] = event.seconds

    try:
        with listening(time_stages):
            return _retrain(config, choose, night)
    finally:
        for fault in deliver(night, config.tracking):
            emit(Note(fault))


def _retrain(config: Config, choose: Choose, night: Night) -> TrainingResult:
    interim, seed, workers = config.storage.interim, config.seed, config.search.workers
    tracked, details = tracked_by(config), details_of(config)
    expected = read_expected(config.gate, config.batch)
    memory = config.storage.memory
    data = ingest(interim, locate_data(config.dataset, config.data), config.likes_log, memory)
    core = threshold(interim, data, config.threshold, memory)
    holdouts = split(interim, data, core, config)
    features = encode(interim, data, core, config.encode)
    chosen = choose(config, tracked, details, core, holdouts, features)
    measured = evaluate(
        interim,
        holdouts,
        features,
        chosen,
        config.evaluate,
        seed,
        workers=workers,
        machines=config.fit,
    )
    repeated = repeat(core, holdouts, features, chosen, measured, config)
    versions = library_versions()
    fitted = fit(interim, core, features, chosen, measured, config.fit, seed, versions)
    drifted = drift(interim, data, fitted, config.gate, tracked)
    announce_drift(tracked.model, drifted)
    verdict = gate(
        interim,
        holdouts,
        features,
        measured,
        fitted,
        config.gate,
        seed,
        tracked,
        workers,
        *expected,
        core=core,
        repeated=repeated,
        drifted=drifted,
        machines=config.fit,
    )
    study = details.describe(chosen.key, chosen.outcome.kind, core)
    version = register(
        tracked, Path(interim), study, chosen, measured, fitted, verdict, repeated, drifted
    ).version
    online = config.online if config.gate.online else None
    decision = promote(
        tracked, Path(interim), version, verdict.outcome, config.batch, announce, online
    ).decision
    archive_log(config.likes_log, data.outcome.log, decision)
    stages = TrainingStages(
        data, core, holdouts, features, chosen, measured, fitted, verdict, repeated, drifted
    )
    page = report(tracked, version, decision.reasons, stages).page
    night.verdict, night.version, night.stages = decision.ending.value, version, stages
    return TrainingResult.of(tracked.model, version, decision, page, stages)


def tracked_by(config: Config) -> Tracked:
    """Where a run with this configuration is tracked."""
    return Tracked(config.tracking, config.experiment, config.model)


def details_of(config: Config) -> RunDetails:
    """What is known of a run with this configuration when it begins."""
    return RunDetails(
        config.title,
        redacted(config.data.likes) if config.data else config.dataset,
        config.seed,
        flat(config.model_dump(mode="json", exclude_none=True)),
    )
