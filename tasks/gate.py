"""Gate: the fitted bundle judged against popularity and the reigning champion."""

from __future__ import annotations

from recsys.base import config
from recsys.data.outcomes import Encoded, HeldOut, Thresholded
from recsys.pipeline import gating, rivals
from recsys.pipeline.outcomes import Drifted, Evaluated, Fitted, Judged, Repeated
from recsys.pipeline.tracked import Tracked
from recsys.recommend.expectations import Expectations
from recsys.recommend.house_rules import HouseRules
from recsys.store.stages import Stage
from tasks.caching import cached_task

_gate = cached_task(gating.gate)


def gate(
    interim: str,
    holdouts: Stage[HeldOut],
    features: Stage[Encoded],
    measured: Stage[Evaluated],
    fitted: Stage[Fitted],
    limits: config.Gate,
    seed: int,
    tracked: Tracked,
    workers: int,
    expectations: Expectations | None = None,
    rules: HouseRules | None = None,
    core: Stage[Thresholded] | None = None,
    repeated: Stage[Repeated] | None = None,
    drifted: Stage[Drifted] | None = None,
    machines: config.Fit | None = None,
) -> Stage[Judged]:
    """The verdict against the champion there is now, and the best configuration so far."""
    registry = tracked.registry()
    rival, bundle = rivals.find_rival(registry, fitted)
    return _gate(
        interim,
        holdouts,
        features,
        measured,
        fitted,
        rival,
        limits,
        seed,
        champion_bundle=bundle,
        reference=rivals.find_reference(registry, fitted, limits),
        workers=workers,
        expectations=expectations,
        rules=rules,
        # Without folds, nothing of the core is read.
        core=None if repeated is None else core,
        repeated=repeated,
        drifted=drifted,
        machines=machines,
    )
