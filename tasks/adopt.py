"""Adopt: the champion's configuration taken over as it is, instead of a search."""

from __future__ import annotations

from recsys.base.config import Config
from recsys.base.errors import NotFoundError
from recsys.data.outcomes import Encoded, HeldOut, Thresholded
from recsys.pipeline import adoption
from recsys.pipeline.outcomes import Adopted
from recsys.store.stages import Stage
from recsys.tracking.registry import open_registry
from tasks.caching import cached_task

_adopt = cached_task(adoption.adopt)


def adopt(
    config: Config, core: Stage[Thresholded], holdouts: Stage[HeldOut], features: Stage[Encoded]
) -> Stage[Adopted]:
    champion = open_registry(config.tracking, config.model).champion_manifest()
    if champion is None:
        raise NotFoundError(
            f"{config.model} has no champion in {config.tracking.uri} to take over",
            "a version with the alias champion",
            "train first (recsys train), or promote a version",
        )
    first = adoption.warm_start(champion, core.digest)
    adopted = adoption.adoptable(champion)
    return _adopt(config.storage.interim, holdouts, features, adopted, first, config.seed)
