"""The progress of a search as an artifact of its flow run."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast
from uuid import UUID

from prefect.artifacts import create_progress_artifact, update_progress_artifact

from recsys.base.events import Event, SearchStarted, TrialDone, listening


@contextmanager
def search_progress(title: str) -> Iterator[None]:
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
