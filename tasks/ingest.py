"""Ingest: likes and features read, checked and indexed."""

from __future__ import annotations

from pathlib import Path

from recsys.base import config
from recsys.data.outcomes import Ingested
from recsys.pipeline import preparation
from recsys.pipeline.fresh_likes import read_log
from recsys.store.stages import Stage
from tasks.caching import cached_task

_ingest = cached_task(preparation.ingest, retries=3)


def ingest(
    interim: str,
    data: config.Data,
    likes_log: Path | None = None,
    memory: int | None = None,
) -> Stage[Ingested]:
    """What is in the files and in the likes log now."""
    said = read_log(likes_log)
    return _ingest(interim, data, preparation.sources_of(data, said), said, memory)
