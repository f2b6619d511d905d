"""Evaluate: winner and baselines measured once on the test holdout."""

from __future__ import annotations

from recsys.base.config import Config
from recsys.data.outcomes import Encoded, HeldOut
from recsys.pipeline import evaluation
from recsys.pipeline.outcomes import Chosen, Evaluated
from recsys.store.stages import Stage
from tasks.caching import cached_task

_evaluate = cached_task(evaluation.evaluate)


def evaluate(
    config: Config, holdouts: Stage[HeldOut], features: Stage[Encoded], tuned: Stage[Chosen]
) -> Stage[Evaluated]:
    return _evaluate(
        config.storage.interim,
        holdouts,
        features,
        tuned,
        config.evaluate,
        config.seed,
        workers=config.search.workers,
    )
