"""Lazy faces: a package hands on names of its modules, each imported when it is first asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from typing import Any


def lazily(
    package: str, names: Mapping[str, Sequence[str]]
) -> tuple[Callable[[str], Any], Callable[[], list[str]]]:
    """The `__getattr__` and `__dir__` of a package whose names live in its modules (PEP 562).

    Importing the package imports none of its modules, so a program pays for what it uses.

    Parameters
    ----------
    package : str
        The package's `__name__`.
    names : mapping of str to sequence of str
        For each module, relative to the package where it begins with a dot, the names that the
        package hands on.

    Returns
    -------
    getattr, dir : callables
        To be assigned to `__getattr__` and `__dir__`.

    Examples
    --------
    >>> getattr_, dir_ = lazily("recsys.data", {".idmap": ["IdMap"]})
    >>> dir_()
    ['IdMap']
    """
    home = {name: module for module, listed in names.items() for name in listed}

    def get(name: str) -> Any:
        if name not in home:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(home[name], package), name)
        # Found at once from now on, without this function.
        setattr(sys.modules[package], name, value)
        return value

    return get, lambda: sorted(home)
