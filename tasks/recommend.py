"""Recommend: the champion's lists for everybody and everything, written as Parquet."""

from __future__ import annotations

from pathlib import Path

from recsys.base import config
from recsys.base.config import default_answers_log
from recsys.data.answers_log import today
from recsys.pipeline import batch
from recsys.pipeline.fresh_likes import read_log
from recsys.pipeline.outcomes import Listed
from recsys.pipeline.tracked import Tracked
from recsys.recommend.house_rules import read_rules
from recsys.store.stages import Stage
from tasks.caching import cached_task

_recommend = cached_task(batch.recommend)


def recommend(
    options: config.Batch, tracked: Tracked, likes_log: Path | None = None
) -> Stage[Listed]:
    """Lists of the champion there is now, with what users have said since it was trained."""
    source, bundle = batch.champion_source(tracked.registry())
    said = read_log(likes_log)
    rules = None if options.rules is None else read_rules(options.rules)
    hides = rules is not None and rules.hide_shown is not None
    return _recommend(
        options.folder,
        source,
        options.n,
        bundle,
        workers=options.workers,
        only=batch.available_ids(options.only),
        fresh=None if said is None else said.digest,
        said=said,
        rules=rules,
        answers=(options.answers or str(default_answers_log(tracked.model))) if hides else None,
        day=today() if hides else None,
    )
