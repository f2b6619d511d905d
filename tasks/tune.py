"""Tune: the search, every trial a run in MLflow, two or more side by side."""

from __future__ import annotations

from pathlib import Path

from recsys import learning, serving
from recsys.config import Config
from recsys.journal import Journal
from recsys.stages import Stage
from recsys.tracking import StudyRecorder, Tracker, flat
from tasks.caching import cached_task

_tune = cached_task(learning.tune)


def tune(config: Config, core: Stage, holdouts: Stage, features: Stage) -> Stage:
    search = config.article if config.protocol == "article" else config.search
    tracking = config.tracking
    tracker = Tracker.connect(tracking.uri, config.experiment, tracking.patience)
    champion = serving.champion_manifest(tracking.uri, config.model, tracking.patience)
    first = learning.warm_start(champion, core.digest)
    key = learning.tune.key(holdouts, features, search, config.seed, first)
    recorder = StudyRecorder(
        tracker,
        key,
        f"{config.title}, seed {config.seed}",
        flat(config.model_dump(mode="json", exclude_none=True)),
        Journal(Path(config.storage.interim) / f"trials-{key}.jsonl"),
    )
    tuned = _tune(
        config.storage.interim,
        holdouts,
        features,
        search,
        config.seed,
        first,
        workers=config.search.workers,
        recorder=recorder,
    )
    # The product may be there from a run that could not tell MLflow of it.
    recorder.deliver_left()
    return tuned
