"""Checkpoints: where the models of paused trials wait, in memory or in files."""

from __future__ import annotations

import threading
from collections import OrderedDict
from dataclasses import dataclass
from typing import Protocol

from recsys.models.lightfm import Training
from recsys.store.exchange import Exchange


class CheckpointStore(Protocol):
    """Models of paused trials by the trial's name."""

    def save(self, name: str, training: Training) -> None:
        """Keep a model, in the place of what was there before."""

    def restore(self, name: str, fresh: Training) -> Training | None:
        """The model that was put, perhaps in `fresh`, one of its configuration; None if gone."""

    def drop(self, name: str) -> None:
        """Its trial will not go on."""


class MemoryCheckpoints:
    """Models kept warm as they are.

    Parameters
    ----------
    most : int
        Bytes kept; beyond, the longest untouched model goes.
    """

    def __init__(self, most: int = 2 * 10**9) -> None:
        self._most = most
        self._models: OrderedDict[str, Training] = OrderedDict()
        self._lock = threading.Lock()

    def save(self, name: str, training: Training) -> None:
        with self._lock:
            self._models[name] = training
            while sum(model.bytes for model in self._models.values()) > self._most:
                self._models.popitem(last=False)

    def restore(self, name: str, fresh: Training) -> Training | None:
        with self._lock:
            return self._models.pop(name, None)

    def drop(self, name: str) -> None:
        with self._lock:
            self._models.pop(name, None)


@dataclass(frozen=True)
class FileCheckpoints:
    """Models as arrays in files: whoever reaches the exchange goes on with them, to the bit.

    A model stays until its trial ends, so a segment that was lost with its worker can be submitted
    again.
    """

    exchange: Exchange

    def save(self, name: str, training: Training) -> None:
        self.exchange.save(_file(name), training.state())

    def restore(self, name: str, fresh: Training) -> Training | None:
        state = self.exchange.load(_file(name))
        if state is None:
            return None
        fresh.restore(state)
        return fresh

    def drop(self, name: str) -> None:
        self.exchange.drop(_file(name))


def _file(name: str) -> str:
    return f"paused-{name}.npz"
