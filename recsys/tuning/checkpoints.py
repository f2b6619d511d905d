"""Checkpoints: where the models of paused trials wait, in memory or in files."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from recsys.base.events import Note, emit
from recsys.models.lightfm import Training
from recsys.store.exchange import Exchange

DEFAULT_LIMIT = 2 * 10**9  # bytes


class CheckpointStore(Protocol):
    """Keeps the models of paused trials by the trial's name."""

    def save(self, name: str, training: Training) -> None:
        """Keep a model, in the place of one saved under the same name."""

    def restore(self, name: str, create: Callable[[], Training]) -> Training | None:
        """The model as it was saved; None if it is not there.

        Parameters
        ----------
        name : str
        create : callable
            Returns an untrained model of the same configuration, for stores that keep arrays only.
        """

    def drop(self, name: str) -> None:
        """Delete a model, if it is there: its trial will not be resumed."""


class MemoryCheckpoints:
    """Models kept in memory up to a limit; beyond it those that were paused first go to files.

    Without files they are dropped, with a note and a count, and the trial is trained again from
    the start when it is resumed. The model saved last is never dropped.

    Parameters
    ----------
    limit : int
        Bytes of memory for the models.
    files : FileCheckpoints or None
        Where models beyond the limit go.

    Attributes
    ----------
    dropped : int
        How many models could not be kept.
    """

    def __init__(self, limit: int = DEFAULT_LIMIT, files: FileCheckpoints | None = None) -> None:
        self.dropped = 0
        self._limit, self._files = limit, files
        self._moved = False
        self._models: OrderedDict[str, Training] = OrderedDict()
        self._lock = threading.Lock()

    def save(self, name: str, training: Training) -> None:
        """Keep a model in memory, and move or drop others until it fits."""
        notes: list[str] = []
        with self._lock:
            self._models[name] = training
            self._models.move_to_end(name)
            while self._used() > self._limit:
                oldest = next(iter(self._models))
                fault = self._move(oldest, notes)
                if fault is None:
                    continue
                if oldest == name:
                    break
                del self._models[oldest]
                self.dropped += 1
                notes.append(
                    f"the model of a paused trial was dropped ({fault}; {self.dropped} so far): "
                    "the trial is trained again from the start if it is resumed; raise "
                    "search.checkpoint_bytes to keep it"
                )
        for note in notes:
            emit(Note(note))

    def restore(self, name: str, create: Callable[[], Training]) -> Training | None:
        """The model as it was saved, from memory or its file; it is not kept any longer."""
        with self._lock:
            training = self._models.pop(name, None)
        if training is None and self._files is not None:
            training = self._files.restore(name, create)
            self._files.drop(name)
        return training

    def drop(self, name: str) -> None:
        """Delete a model, in memory or its file."""
        with self._lock:
            self._models.pop(name, None)
        if self._files is not None:
            self._files.drop(name)

    def _used(self) -> int:
        return sum(model.bytes for model in self._models.values())

    def _move(self, name: str, notes: list[str]) -> str | None:
        """Move a model to a file; returns why it could not be moved."""
        if self._files is None:
            return f"more than {self._limit:,} bytes of models"
        try:
            self._files.save(name, self._models[name])
        except OSError as fault:
            return f"{fault.strerror or fault} in {self._files.exchange.address}"
        del self._models[name]
        if not self._moved:
            self._moved = True
            notes.append(
                f"models of paused trials take more than {self._limit:,} bytes "
                "(search.checkpoint_bytes): the others wait in files"
            )
        return None


@dataclass(frozen=True)
class FileCheckpoints:
    """Models kept as files of arrays, from which any process resumes to the same bits.

    A model stays until its trial ends, so a segment that was lost with its worker can be submitted
    again.

    Parameters
    ----------
    exchange : Exchange
        The folder or URL of the files.
    """

    exchange: Exchange

    def save(self, name: str, training: Training) -> None:
        """Write a model's arrays to a file."""
        self.exchange.save(_file(name), training.state())

    def restore(self, name: str, create: Callable[[], Training]) -> Training | None:
        """A new model with the arrays that were saved; the file stays."""
        state = self.exchange.load(_file(name))
        if state is None:
            return None
        training = create()
        training.restore(state)
        return training

    def drop(self, name: str) -> None:
        """Delete a model's file."""
        self.exchange.drop(_file(name))


def _file(name: str) -> str:
    return f"paused-{name}.npz"
