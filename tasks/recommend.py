"""Recommend: the champion's lists for everybody and everything, written as Parquet."""

from __future__ import annotations

from pathlib import Path

from recsys.base.config import Config
from recsys.base.errors import NotFoundError
from recsys.base.redaction import redacted
from recsys.pipeline import batch
from recsys.pipeline.outcomes import Listed, Source
from recsys.store.stages import Stage
from recsys.tracking.registry import open_registry
from recsys.tracking.versions import BUNDLE, CHAMPION
from tasks.caching import cached_task

_recommend = cached_task(batch.recommend)


def recommend(config: Config) -> Stage[Listed]:
    registry = open_registry(config.tracking, config.model)
    champion = registry.at(CHAMPION)
    if champion is None:
        raise NotFoundError(
            f"{config.model} has no champion in {redacted(config.tracking.uri)}",
            "a version with the alias champion",
            "train first (recsys train), or promote a version",
        )
    version, digest = champion.number, champion.tags.get(BUNDLE, "")
    return _recommend(
        config.batch.folder,
        Source(config.model, version, digest),
        config.batch.n,
        registry.bundle(version),
        workers=config.batch.workers,
    )


def publish(config: Config, made: Stage[Listed]) -> str:
    """Make the batch the model's latest; returns the path that always leads there."""
    latest = Path(config.batch.folder) / config.model
    batch.point(latest, Path(made.path))
    return str(latest)
