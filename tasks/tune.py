"""Tune: the search, every trial a run in MLflow, two or more side by side."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from recsys.base.config import Config
from recsys.base.events import Event, SearchStarted, TrialDone, listening
from recsys.data.outcomes import Encoded, HeldOut, Thresholded
from recsys.pipeline import adoption, tuning
from recsys.pipeline.outcomes import Tuned
from recsys.store.journal import Journal
from recsys.store.stages import Stage
from recsys.tracking.recorder import StudyRecorder
from recsys.tracking.registry import open_registry
from tasks.caching import cached_task
from tasks.opening import connected, opened
from tasks.runners import runner_pool

_tune = cached_task(tuning.tune)


def tune(
    config: Config, core: Stage[Thresholded], holdouts: Stage[HeldOut], features: Stage[Encoded]
) -> Stage[Tuned]:
    search = config.article if config.protocol == "article" else config.search
    tracker = connected(config)  # first: it makes the database where there is none
    champion = open_registry(config.tracking, config.model).champion_manifest()
    first = adoption.warm_start(champion, core.digest)
    key = tuning.tune.key(holdouts, features, search, config.seed, first)
    recorder = StudyRecorder(
        tracker,
        opened(config, key, core, "study"),
        Journal(Path(config.storage.interim) / f"trials-{key}.jsonl"),
    )
    with _progress(config.title), runner_pool(config.search) as pool:
        tuned = _tune(
            config.storage.interim,
            holdouts,
            features,
            search,
            config.seed,
            first,
            workers=config.search.workers,
            recorder=recorder,
            pool=pool,
            exchange=config.search.exchange,
        )
    # The product may be there from a run that could not tell MLflow of it.
    recorder.deliver_rest()
    return tuned


@contextmanager
def _progress(title: str) -> Iterator[None]:
    """A bar on the Prefect server, moved by every trial that ends."""
    bar: list[tuple[UUID, int]] = []
    ended: list[int] = []

    def watch(event: Event) -> None:
        if isinstance(event, SearchStarted) and not bar:
            about = f"trials of the search on {title}"
            # Outside of a running loop it is no coroutine, whatever its type says.
            made = cast("UUID", create_progress_artifact(0.0, description=about))
            bar.append((made, event.trials))
        elif isinstance(event, TrialDone) and event.status != "paused" and bar:
            ended.append(event.number)
            artifact, trials = bar[0]
            done = min(100.0, 100 * len(ended) / trials)
            text = f"trial {event.number}: {event.precision:.4f}, best {event.best:.4f}"
            update_progress_artifact(artifact, done, text)

    with listening(watch):
        yield
    if bar:
        # A search that converged made fewer trials than it might have.
        update_progress_artifact(bar[0][0], 100.0)
