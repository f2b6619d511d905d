"""Recommend: the champion's lists for everybody and everything, written as Parquet."""

from __future__ import annotations

from pathlib import Path

from recsys.base import config
from recsys.pipeline import batch
from recsys.pipeline.fresh_likes import read_log
from recsys.pipeline.outcomes import Listed
from recsys.pipeline.tracked import Tracked
from recsys.store.stages import Stage
from tasks.caching import cached_task

_recommend = cached_task(batch.recommend)


def recommend(
    options: config.Batch, tracked: Tracked, likes_log: Path | None = None
) -> Stage[Listed]:
    """Lists of the champion there is now, with what users have said since it was trained."""
    source, bundle = batch.champion_source(tracked.registry())
    said = read_log(likes_log)
    return _recommend(
        options.folder,
        source,
        options.n,
        bundle,
        workers=options.workers,
        only=batch.available_ids(options.only),
        fresh=None if said is None else said.digest,
        said=said,
    )
