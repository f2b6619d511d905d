"""Compiled libraries: those of this package, found beside the modules that call them."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from importlib.machinery import EXTENSION_SUFFIXES
from pathlib import Path

from recsys.base.arrays import AnyArray


def load_library(
    folder: Path, name: str, prepare: Callable[[ctypes.CDLL], bool]
) -> ctypes.CDLL | None:
    """A library, or None where the package was installed without a compiler.

    Parameters
    ----------
    folder : Path
    name : str
        Without the suffix of Python's extensions.
    prepare : callable
        Declares its functions; False where it is of another release. One that lacks a function is
        as well.
    """
    for suffix in EXTENSION_SUFFIXES:
        path = folder / f"{name}{suffix}"
        if path.is_file():
            try:
                library = ctypes.CDLL(str(path))
                if prepare(library):
                    return library
            except (OSError, AttributeError):  # of another machine, or another release
                continue
    return None


def address(array: AnyArray | None) -> int | None:
    """Where the numbers of an array begin in memory; None, C's null, where there is no array."""
    return None if array is None else int(array.ctypes.data)
