"""Buffers: large arrays that are kept from one call to the next."""

from __future__ import annotations

import math
import threading
from collections.abc import Generator
from contextlib import contextmanager

import numpy as np

from recsys.base.arrays import Float32Array


class BufferPool:
    """Large arrays kept from one call to the next.

    On virtual machines that return free memory to the host, first use of a new array's pages can
    cost as much time as the product that fills them. Safe to use from several threads.

    Parameters
    ----------
    limit : int
        Bytes that are kept, at most.
    """

    def __init__(self, limit: int) -> None:
        self._limit, self._lock = limit, threading.Lock()
        self._kept: list[Float32Array] = []

    @contextmanager
    def borrow(self, shape: tuple[int, ...]) -> Generator[Float32Array]:
        """An uninitialised float32 array of this shape, not to be used after the context."""
        size = math.prod(shape)
        array = self._take(size)
        try:
            yield array[:size].reshape(shape)
        finally:
            self._give(array)

    def clear(self) -> None:
        """Release what is kept."""
        with self._lock:
            self._kept.clear()

    def _take(self, size: int) -> Float32Array:
        with self._lock:
            fitting = [i for i, array in enumerate(self._kept) if len(array) >= size]
            if fitting:
                return self._kept.pop(min(fitting, key=lambda i: len(self._kept[i])))
            self._kept.clear()  # all too small for this call, which allocates a larger one
        return np.empty(size, np.float32)

    def _give(self, array: Float32Array) -> None:
        with self._lock:
            if sum(kept.nbytes for kept in self._kept) + array.nbytes <= self._limit:
                self._kept.append(array)
