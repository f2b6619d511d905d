"""Fit: the winner's configuration trained on everything, written as a portable bundle."""

from __future__ import annotations

from recsys.base.config import Config
from recsys.pipeline import learning
from recsys.store.stages import Stage
from recsys.tracking.provenance import library_versions
from tasks.caching import cached_task

_fit = cached_task(learning.fit)


def fit(config: Config, core: Stage, features: Stage, tuned: Stage, measured: Stage) -> Stage:
    return _fit(
        config.storage.interim,
        core,
        features,
        tuned,
        measured,
        config.fit,
        config.seed,
        library_versions(),
    )
