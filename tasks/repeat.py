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
    """The figures of all folds; None where the configuration asks for none."""
    options = config.evaluate
    if options.half_width is None:
        return None
    return _repeat(
        config.storage.interim,
        core,
        holdouts,
        features,
        chosen,
        measured,
        options.half_width,
        options.most_folds,
        options.bootstrap_samples,
        config.split.n,
        config.split.method == "last",
        config.seed,
    )
