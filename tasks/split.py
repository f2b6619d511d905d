"""Split: likes held out for validation and test, and cold items chosen."""

from __future__ import annotations

from recsys.base.config import Config
from recsys.data.outcomes import HeldOut, Ingested, Thresholded
from recsys.pipeline import preparation
from recsys.store.stages import Stage
from tasks.caching import cached_task

_split = cached_task(preparation.split)


def split(config: Config, data: Stage[Ingested], core: Stage[Thresholded]) -> Stage[HeldOut]:
    return _split(config.storage.interim, data, core, config.split, config.seed)
