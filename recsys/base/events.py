"""Progress: what happens during a run, told to whoever listens (a terminal, a log)."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass(frozen=True)
class StageStarted:
    """A stage begins."""

    stage: str


@dataclass(frozen=True)
class StageDone:
    """A stage's product is there, made now or reused."""

    stage: str
    reused: bool
    seconds: float
    counts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SearchStarted:
    """A study begins; `trials` is how many it may make."""

    trials: int


@dataclass(frozen=True)
class TrialDone:
    """A trial has paused or ended."""

    number: int
    precision: float
    best: float
    epochs: int
    seconds: float
    status: str
    reason: str
    configuration: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Download:
    """Bytes of a data set that have arrived; `total` is None where the server does not say."""

    done: int
    total: int | None


@dataclass(frozen=True)
class Note:
    """Something a person should know."""

    text: str


Event = StageStarted | StageDone | SearchStarted | TrialDone | Download | Note
Listener = Callable[[Event], None]

_listeners: list[Listener] = []


def emit(event: Event) -> None:
    """Pass an event to everyone who listens."""
    for listener in tuple(_listeners):
        listener(event)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Have a listener told of everything that happens inside the block, in any thread."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def as_dict(event: Event) -> dict[str, Any]:
    """An event as a JSON object, named by its kind."""
    return {"event": type(event).__name__, **asdict(event)}
