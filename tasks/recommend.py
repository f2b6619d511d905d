"""Recommend: the champion's lists for everybody and everything, written as Parquet."""

from __future__ import annotations

from recsys.base import config
from recsys.pipeline import batch
from recsys.pipeline.outcomes import Listed
from recsys.pipeline.tracked import Tracked
from recsys.store.stages import Stage
from tasks.caching import cached_task

_recommend = cached_task(batch.recommend)


def recommend(options: config.Batch, tracked: Tracked) -> Stage[Listed]:
    """Lists of the champion there is now."""
    source, bundle = batch.champion_source(tracked.registry())
    only = batch.available_ids(options.only)
    return _recommend(options.folder, source, options.n, bundle, workers=options.workers, only=only)
