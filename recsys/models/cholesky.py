"""Cholesky: the inverse of a positive definite matrix by LAPACK, in place, while other threads run.

SciPy's own wrappers of LAPACK hold the GIL for as long as a factorisation takes. What it offers to
Cython is called here by ctypes, which releases the GIL; the numbers are the same.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from functools import cache
from typing import Any

import numpy as np
from scipy.linalg import cython_lapack

from recsys.base.arrays import Float32Array
from recsys.base.libraries import address

_POINTER = ctypes.c_void_p
_NUMBER = ctypes.POINTER(ctypes.c_int)


@cache
def _routine(name: str) -> Callable[..., None]:
    """A routine of LAPACK that takes a triangle, an order, a matrix and its stride."""
    capsule = cython_lapack.__pyx_capi__[name]
    python = ctypes.pythonapi
    python.PyCapsule_GetName.restype, python.PyCapsule_GetName.argtypes = (
        ctypes.c_char_p,
        [ctypes.py_object],
    )
    python.PyCapsule_GetPointer.restype = _POINTER
    python.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
    place = python.PyCapsule_GetPointer(capsule, python.PyCapsule_GetName(capsule))
    takes: Any = ctypes.CFUNCTYPE(None, ctypes.c_char_p, _NUMBER, _POINTER, _NUMBER, _NUMBER)
    found: Callable[..., None] = takes(place)
    return found


def invert_lower(matrix: Float32Array) -> bool:
    """Put the lower triangle of its inverse in the place of that of a matrix.

    Parameters
    ----------
    matrix : float32 (n, n)
        In the order of Fortran. Its upper triangle is not read, and left as it is.

    Returns
    -------
    bool
        Whether it is positive definite in this precision; if not, it has been spoilt.
    """
    assert matrix.dtype == np.float32
    assert matrix.flags.f_contiguous
    assert matrix.flags.writeable
    assert matrix.ndim == 2
    assert matrix.shape[0] == matrix.shape[1]
    order, failed = ctypes.c_int(len(matrix)), ctypes.c_int(0)
    stride = ctypes.c_int(max(1, len(matrix)))
    for name in ("spotrf", "spotri"):
        _routine(name)(b"L", order, address(matrix), stride, failed)
        if failed.value:
            return False
    return True
