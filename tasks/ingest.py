"""Ingest: likes and features read, checked and indexed."""

from __future__ import annotations

from recsys.base import config
from recsys.data.outcomes import Ingested
from recsys.pipeline import preparation
from recsys.store.stages import Stage
from tasks.caching import cached_task

_ingest = cached_task(preparation.ingest, retries=3)


def ingest(interim: str, data: config.Data) -> Stage[Ingested]:
    """What is in the files now."""
    return _ingest(interim, data, preparation.sources_of(data))
