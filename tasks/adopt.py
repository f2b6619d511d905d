"""Adopt: the champion's configuration taken over as it is, instead of a search."""

from __future__ import annotations

from recsys.data.outcomes import Encoded, HeldOut, Thresholded
from recsys.pipeline import adoption
from recsys.pipeline.outcomes import Adopted
from recsys.pipeline.tracked import Tracked
from recsys.store.stages import Stage
from tasks.caching import cached_task

_adopt = cached_task(adoption.adopt)


def adopt(
    interim: str,
    core: Stage[Thresholded],
    holdouts: Stage[HeldOut],
    features: Stage[Encoded],
    seed: int,
    tracked: Tracked,
) -> Stage[Adopted]:
    """The configuration of the champion there is now."""
    champion = adoption.champion_manifest(tracked.registry())
    first = adoption.warm_start(champion, core.digest)
    return _adopt(
        interim, holdouts, features, adoption.adopted_configuration(champion), first, seed
    )
