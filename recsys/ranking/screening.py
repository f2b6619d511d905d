"""Screening: bounds above the products of rows with a vector, from one byte a number.

What cannot be among the best by its bound needs no exact product, so that a query reads a quarter
of the memory. The lists are the same to the last bit: bounds hold for products in single precision,
however they are rounded.

The idea is that of filter and refinement. A bound for inner products from whole numbers is in Li,
Chan, Yiu and Mamoulis, FEXIPRO (SIGMOD 2017); here the length of what was cut off is kept.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np

from recsys.base.arrays import AnyArray, Float32Array
from recsys.base.libraries import address
from recsys.ranking.compiled import load_sums

_ROWS = 32  # of a group, see sums.c
_LEAST = 2048
"""Rows from which on screening is faster than products of them all."""
_AT_ONCE = 2**18  # numbers that are packed together, few enough for the processor's cache
_FULL = 127  # the largest of a byte
_SUMS = 2**31 - 1  # what a sum of products of whole numbers may reach
_UNIT = 2.0**-24
"""How far a number in single precision is rounded, as a share of it."""
_SHORTEST, _LONGEST = 1e-15, 1e15
"""Between these, no product leaves single precision, and none is so small that it loses digits."""
_WIDE = 1  # 0 for the loop of processors without vectors of 256 bits
_TINY = 1e-22
"""What products of very small numbers may lose, for a vector of length one."""
_OFTEN = 64


@dataclass(frozen=True)
class Screen:
    """Rows of a matrix as whole numbers of one byte, each with a scale and an offset of its own.

    Parameters
    ----------
    packed : int8 (n_groups, n_pairs, 32, 2)
        In groups of rows, pairs of columns one after the other.
    scales : float32 (32 * n_groups,)
        A row is these whole numbers times its scale, but for what was cut off.
    errors : float32 (32 * n_groups,)
        How far a product with a vector of length one can be from its exact value, at most.
    offsets : float32 (32 * n_groups,)
        What is added to products.
    largest : float
        Of the offsets, whatever their sign; not finite if one of them is not.
    """

    packed: AnyArray
    scales: Float32Array
    errors: Float32Array
    offsets: Float32Array
    largest: float

    @staticmethod
    def of(matrix: Float32Array, offsets: Float32Array) -> Screen | None:
        """The screen of a matrix, float32 (n, d), with offsets, float32 (n,).

        None where nothing was compiled, there are few rows, or numbers that are not finite or very
        large.
        """
        n, d = matrix.shape
        if load_sums() is None or n < _LEAST or not d:
            return None
        groups, pairs = -(-n // _ROWS), -(-d // 2)
        packed = np.zeros((groups, pairs, _ROWS, 2), np.int8)
        scales, errors, added = np.zeros((3, groups * _ROWS), np.float32)
        added[:n] = offsets
        size = max(1, _AT_ONCE // d // _ROWS) * _ROWS
        for start in range(0, n, size):
            part = np.asarray(matrix[start : start + size])
            with np.errstate(over="ignore"):
                lengths = np.sqrt(np.vecdot(part, part))
            if not bool((lengths < _LONGEST).all()):  # false for a NaN
                return None
            rows = slice(start, start + len(part))
            whole = _pack(part, scales[rows])
            errors[rows] = _errors(part, whole, scales[rows], lengths)
            packed[start // _ROWS : -(-(start + len(part)) // _ROWS)] = _grouped(whole, pairs)
        return Screen(packed, scales, errors, added, float(np.abs(added).max()))

    def bounds(self, vector: Float32Array, n: int, added: float = 0.0) -> Float32Array | None:
        """For each of the first n rows, a number that its product plus its offset does not exceed.

        Parameters
        ----------
        vector : float32 (d,)
        n : int
        added : float
            Added to each bound.

        Returns
        -------
        float32 (n,), or None
            None for a vector that is not finite, very long or very short.
        """
        length = float(np.sqrt(np.vecdot(vector, vector, dtype=np.float64)))
        if not _SHORTEST < length < _LONGEST:
            return None
        groups, pairs = -(-n // _ROWS), self.packed.shape[1]
        whole = np.zeros(2 * pairs, np.int16)
        step = float(np.abs(vector).max()) / _most(2 * pairs)
        whole[: len(vector)] = np.rint(vector.astype(np.float64) / step)
        found = np.empty(groups * _ROWS, np.float32)
        library = load_sums()
        assert library is not None
        library.recsys_bound_products(
            address(self.packed), groups, pairs, address(whole), address(self.scales),
            address(self.errors), address(self.offsets), step, length, added, address(found), _WIDE,
        )  # fmt: skip
        return found[:n]


def _most(d: int) -> int:
    """The largest whole number of a vector of d numbers, so that no sum is too large."""
    return min(2**15 - 1, _SUMS // (_FULL * d))


def _pack(part: Float32Array, scales: Float32Array) -> Float32Array:
    """Rows in whole numbers, float32 (n, d), and their scales."""
    np.divide(np.maximum(part.max(axis=1), -part.min(axis=1)), _FULL, out=scales)
    scales[scales < _SHORTEST] = 0
    inverse = np.divide(1, scales, out=np.zeros_like(scales), where=scales > 0)
    whole = part * inverse[:, None]
    np.rint(whole, out=whole)
    return np.clip(whole, -_FULL, _FULL, out=whole)


def _errors(
    part: Float32Array, whole: Float32Array, scales: Float32Array, lengths: Float32Array
) -> Float32Array:
    """What a product with a vector of length one may differ by, float32 (n,).

    What was cut off the row, and off the vector (at most half a step in each of d numbers, where a
    step is at most the share 1 / most of its length), by Cauchy and Schwarz; and what single
    precision rounds off the exact product (at most d + 1 units of the lengths; Higham, Accuracy and
    Stability of Numerical Algorithms, section 3.1) and off all that is computed here.
    """
    d = part.shape[1]
    kept = whole * scales[:, None]
    of_vector = np.sqrt(np.vecdot(kept, kept)) * (np.sqrt(d) / (2 * _most(d + d % 2)))
    cut = np.subtract(part, kept, out=kept)
    of_row = np.sqrt(np.vecdot(cut, cut))
    rounded = (d + 16) * 4 * _UNIT
    found: Float32Array = (of_row + of_vector) * (1 + rounded) + rounded * lengths + _TINY
    return found.astype(np.float32)


def _grouped(whole: Float32Array, pairs: int) -> AnyArray:
    """Rows in the order in which they are read: (n_groups, pairs, 32, 2)."""
    n, d = whole.shape
    groups = -(-n // _ROWS)
    padded = np.zeros((groups * _ROWS, 2 * pairs), np.int8)
    padded[:n, :d] = whole
    return padded.reshape(groups, _ROWS, pairs, 2).transpose(0, 2, 1, 3)


class Screening:
    """The screen of a matrix, made once it is asked for often, or when it is told to be made.

    A program that asks once would wait longer for the screen than for the products.

    Parameters
    ----------
    matrix : float32 (n, d)
    offsets : float32 (n,)
    """

    def __init__(self, matrix: Float32Array, offsets: Float32Array) -> None:
        self._matrix, self._offsets, self._lock = matrix, offsets, threading.Lock()
        self._asked, self._made = 0, False
        self._screen: Screen | None = None

    def made(self) -> Screen | None:
        """The screen; made now, if it was not. None where there can be none."""
        with self._lock:
            if not self._made:
                self._screen = Screen.of(self._matrix, self._offsets)
                self._made = True
        return self._screen

    def often(self) -> Screen | None:
        """The screen, made when this is asked for the 64th time; None until then."""
        if self._made:
            return self._screen
        self._asked += 1
        return self.made() if self._asked >= _OFTEN else None
