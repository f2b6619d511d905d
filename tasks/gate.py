"""Gate: the fitted bundle judged against popularity and the reigning champion."""

from __future__ import annotations

from recsys.base.config import Config
from recsys.bundle import bundle_digest, load_bundle
from recsys.data.outcomes import Encoded, HeldOut
from recsys.pipeline import gating
from recsys.pipeline.outcomes import Evaluated, Fitted, Judged, Rival
from recsys.store.stages import Stage
from recsys.tracking.registry import open_registry
from recsys.tracking.versions import BUNDLE
from tasks.caching import cached_task

_gate = cached_task(gating.gate)


def gate(
    config: Config,
    holdouts: Stage[HeldOut],
    features: Stage[Encoded],
    measured: Stage[Evaluated],
    fitted: Stage[Fitted],
) -> Stage[Judged]:
    registry = open_registry(config.tracking, config.model)
    rival = registry.rival(bundle_digest(load_bundle(fitted.file("bundle")).manifest))
    return _gate(
        config.storage.interim,
        holdouts,
        features,
        measured,
        fitted,
        None if rival is None else Rival(rival.number, rival.tags.get(BUNDLE, "")),
        config.gate,
        config.seed,
        champion_bundle=None if rival is None else registry.bundle(rival.number),
    )
