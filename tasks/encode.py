"""Encode: tags and categories as sparse matrices."""

from __future__ import annotations

from recsys.base.config import Config
from recsys.data.outcomes import Encoded, Ingested, Thresholded
from recsys.pipeline import preparation
from recsys.store.stages import Stage
from tasks.caching import cached_task

_encode = cached_task(preparation.encode)


def encode(config: Config, data: Stage[Ingested], core: Stage[Thresholded]) -> Stage[Encoded]:
    return _encode(config.storage.interim, data, core, config.encode)
