"""Tune: the search, every trial a run in MLflow, two or more side by side."""

from __future__ import annotations

from recsys import learning, serving
from recsys.config import Config
from recsys.stages import Stage
from recsys.tracking import StudyRecorder, Tracker, flat
from tasks.caching import cached_task
from tasks.runners import hired

_tune = cached_task(learning.tune)


def tune(config: Config, core: Stage, holdouts: Stage, features: Stage) -> Stage:
    search = config.article if config.protocol == "article" else config.search
    tracker = Tracker.connect(config.tracking.uri, config.experiment, config.tracking.artifacts)
    champion = serving.champion_manifest(config.tracking.uri, config.model)
    first = learning.warm_start(champion, core.digest)
    recorder = StudyRecorder(
        tracker,
        learning.tune.key(holdouts, features, search, config.seed, first),
        f"{config.title}, seed {config.seed}",
        flat(config.model_dump(mode="json", exclude_none=True)),
    )
    with hired(config.search) as pool:
        return _tune(
            config.storage.interim,
            holdouts,
            features,
            search,
            config.seed,
            first,
            workers=config.search.workers,
            recorder=recorder,
            pool=pool,
            exchange=config.search.exchange,
        )
