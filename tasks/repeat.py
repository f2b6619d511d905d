"""Repeat: further users tested, where the figures of a few would say too little."""

from __future__ import annotations

from recsys.base.config import Config
from recsys.data.outcomes import Encoded, HeldOut, Thresholded
from recsys.pipeline import repeating
from recsys.pipeline.outcomes import Chosen, Evaluated, Repeated
from recsys.store.stages import Stage
from tasks.caching import cached_task

_repeat = cached_task(repeating.repeat)


def repeat(
    core: Stage[Thresholded],
    holdouts: Stage[HeldOut],
    features: Stage[Encoded],
    chosen: Stage[Chosen],
    measured: Stage[Evaluated],
    config: Config,
) -> Stage[Repeated] | None:
    """The figures of all folds; None where the test holdout says enough, or is not repeated."""
    options = config.evaluate
    half_width = options.half_width
    if not half_width or not config.repeats_holdouts:
        return None
    if repeating.narrow_enough(measured, half_width):
        return None
    return _repeat(
        config.storage.interim,
        core,
        holdouts,
        features,
        chosen,
        measured,
        half_width,
        options.rounds,
        options.most_folds,
        options.bootstrap_samples,
        config.split.n,
        config.split.method == "last",
        config.seed,
        machines=config.fit,
    )
