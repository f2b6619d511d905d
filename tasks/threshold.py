"""Threshold: the k-core of users and items with enough likes."""

from __future__ import annotations

from recsys.base.config import Config
from recsys.data.outcomes import Ingested, Thresholded
from recsys.pipeline import preparation
from recsys.store.stages import Stage
from tasks.caching import cached_task

_threshold = cached_task(preparation.threshold)


def threshold(config: Config, data: Stage[Ingested]) -> Stage[Thresholded]:
    return _threshold(config.storage.interim, data, config.threshold)
