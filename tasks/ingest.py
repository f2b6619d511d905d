"""Ingest: likes and features read, checked and indexed."""

from __future__ import annotations

from pathlib import Path

from recsys.base.config import Config, Data
from recsys.base.events import Download, emit
from recsys.data import datasets
from recsys.data.outcomes import Ingested
from recsys.pipeline import preparation
from recsys.store.stages import Stage
from tasks.caching import cached_task

_ingest = cached_task(preparation.ingest, retries=3)


def ingest(config: Config) -> Stage[Ingested]:
    data = config.data or _named(config.dataset)
    return _ingest(config.storage.interim, data, preparation.sources_of(data))


def _named(dataset: str) -> Data:
    located = datasets.locate(
        dataset, Path("data"), progress=lambda done, total: emit(Download(done, total))
    )
    return Data.model_validate(located.as_config())
