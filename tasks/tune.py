"""Tune: the search, every trial a run in MLflow, two or more side by side."""

from __future__ import annotations

from pathlib import Path

from recsys.base import config
from recsys.data.outcomes import Encoded, HeldOut, Thresholded
from recsys.pipeline import tuning
from recsys.pipeline.outcomes import Tuned
from recsys.pipeline.tracked import RunDetails, Tracked
from recsys.store.stages import Stage
from tasks.caching import cached_task
from tasks.runners import runner_pool
from tasks.search_progress import search_progress

_tune = cached_task(tuning.tune)


def tune(
    interim: str,
    core: Stage[Thresholded],
    holdouts: Stage[HeldOut],
    features: Stage[Encoded],
    search: config.Search,
    article: config.Article | None,
    tracked: Tracked,
    details: RunDetails,
) -> Stage[Tuned]:
    """The winner of our own search, or of the founding article's where its settings are given.

    `search` says in any case who trains the trials.
    """
    space = article or search
    study = tuning.open_study(tracked, details, Path(interim), core, holdouts, features, space)
    with search_progress(details.title), runner_pool(search) as pool:
        tuned = _tune(
            interim,
            holdouts,
            features,
            space,
            details.seed,
            study.started_from,
            workers=search.workers,
            recorder=study.recorder,
            pool=pool,
            exchange=search.exchange,
        )
    # The product may be there from a run that could not tell MLflow of it.
    study.recorder.deliver_rest()
    return tuned
