"""Events: what happens during a run, passed to listeners such as a terminal or a log."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from typing import Any

from recsys.base.redaction import redacted


@dataclass(frozen=True)
class StageStarted:
    """A stage begins."""

    stage: str


@dataclass(frozen=True)
class StageDone:
    """A stage is finished; `reused` if an earlier product was taken."""

    stage: str
    reused: bool
    seconds: float
    counts: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class SearchStarted:
    """A study begins, with at most so many trials."""

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
    """Bytes of a data set received so far; `total` is None if the server does not give it."""

    done: int
    total: int | None


@dataclass(frozen=True)
class Note:
    """A message for the person who watches the run; addresses in it lose their secrets."""

    text: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "text", redacted(self.text))


Event = StageStarted | StageDone | SearchStarted | TrialDone | Download | Note
Listener = Callable[[Event], None]

_listeners: list[Listener] = []


def emit(event: Event) -> None:
    """Pass an event to all listeners."""
    for listener in tuple(_listeners):
        listener(event)


@contextmanager
def listening(listener: Listener) -> Iterator[None]:
    """Pass all events of the block, of any thread, to a listener."""
    _listeners.append(listener)
    try:
        yield
    finally:
        _listeners.remove(listener)


def as_dict(event: Event) -> dict[str, Any]:
    """An event as a JSON object, with the name of its class as `event`."""
    return {"event": type(event).__name__, **asdict(event)}
