"""Fit: the winner's configuration trained on everything, written as a portable bundle."""

from __future__ import annotations

from recsys.base.config import Config
from recsys.data.outcomes import Encoded, Thresholded
from recsys.pipeline import fitting
from recsys.pipeline.outcomes import Chosen, Evaluated, Fitted
from recsys.store.stages import Stage
from recsys.tracking.provenance import library_versions
from tasks.caching import cached_task

_fit = cached_task(fitting.fit)


def fit(
    config: Config,
    core: Stage[Thresholded],
    features: Stage[Encoded],
    tuned: Stage[Chosen],
    measured: Stage[Evaluated],
) -> Stage[Fitted]:
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
