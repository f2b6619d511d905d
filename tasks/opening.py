"""Opening: what the MLflow run of a study, or of a refit, says before anything is measured."""

from __future__ import annotations

from datetime import datetime

from recsys.base.config import Config
from recsys.base.redaction import redacted
from recsys.data.outcomes import Thresholded
from recsys.store.stages import Stage
from recsys.tracking.params import flat
from recsys.tracking.provenance import TrackedDataset
from recsys.tracking.runs import StudyDescription, Tracker, open_tracker


def opened(config: Config, key: str, core: Stage[Thresholded], kind: str) -> StudyDescription:
    """What the run of a study, or of a refit, says before it begins."""
    sizes = core.outcome
    counts = {"users": sizes.users, "items": sizes.items, "interactions": sizes.interactions}
    source = redacted(config.data.likes) if config.data else config.dataset
    return StudyDescription(
        key,
        f"{datetime.now().astimezone():%Y-%m-%d %H:%M} {kind}, seed {config.seed}",
        flat(config.model_dump(mode="json", exclude_none=True)),
        kind,
        TrackedDataset(config.title, core.digest, source, counts),
    )


def connected(config: Config) -> Tracker:
    """The tracking server or database, and the experiment of the data set."""
    return open_tracker(config.tracking, config.experiment)
