"""BLAS: held to one thread while users are ranked, on as many threads as are asked for."""

from __future__ import annotations

import importlib
import threading
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import cache
from typing import Any


class _BlasLimit:
    """Holds BLAS to one thread while at least one caller asks for it.

    The setting is one of the process: calls that overlap in time share it, and the last of them to
    return restores it.
    """

    def __init__(self, controller: Any) -> None:
        self._controller, self._lock = controller, threading.Lock()
        self._callers, self._limit = 0, nullcontext()

    @contextmanager
    def __call__(self) -> Generator[None]:
        with self._lock:
            if self._callers == 0:
                self._limit = self._controller.limit(limits=1, user_api="blas")
                self._limit.__enter__()
            self._callers += 1
        try:
            yield
        finally:
            with self._lock:
                self._callers -= 1
                if self._callers == 0:
                    self._limit.__exit__(None, None, None)


@cache
def _blas_limit() -> _BlasLimit | None:
    try:
        threadpoolctl = importlib.import_module("threadpoolctl")
    except ImportError:  # serving needs NumPy and PyArrow alone
        return None
    return _BlasLimit(threadpoolctl.ThreadpoolController())


def one_blas_thread() -> AbstractContextManager[None]:
    """Hold BLAS to one thread in this context; nothing happens without threadpoolctl."""
    limit = _blas_limit()
    return nullcontext() if limit is None else limit()
