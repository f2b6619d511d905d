"""Weights of interactions: damped where they span orders of magnitude, halved with age."""

from __future__ import annotations

from typing import Literal, TypeAlias

import numpy as np

from recsys.base.arrays import Float32Array, Float64Array

Damping: TypeAlias = Literal["auto", "as_given", "log1p", "none"]

# Play counts span orders of magnitude, ratings and weights of events do not.
_WIDE = 100.0
_SMALLEST, _LARGEST = 0.25, 4.0  # damped weights, in multiples of their mean


def damped(
    weight: Float32Array | None, damping: Damping, named: str
) -> tuple[Float32Array | None, tuple[str, ...]]:
    """Weights as they are trained with, and what was done to them, if anything.

    The logarithm of one plus the weight, in multiples of a small one (the 1 % quantile), is scaled
    to a mean of one and clipped to 0.25..4: a weight multiplies the step that LightFM takes, and
    one of thousands undoes all others (docs/experiments/weights.md).

    Parameters
    ----------
    weight : float32 (n,) or None
        Of distinct pairs, positive.
    damping : {"auto", "as_given", "log1p", "none"}
        "auto" damps weights of which the largest is more than 100 times the smallest; "none"
        counts every interaction alike.
    named : str
        The table, for notes.

    Returns
    -------
    weight : float32 (n,) or None
    notes : tuple of str
    """
    if weight is None or damping == "none" or not len(weight):
        return None, ()
    low, high = float(weight.min()), float(weight.max())
    if damping == "as_given" or (damping == "auto" and high <= _WIDE * low):
        return weight, ()
    found = np.log1p(weight.astype(np.float64) / np.quantile(weight, 0.01))
    found = np.clip(found / found.mean(), _SMALLEST, _LARGEST)
    notes: tuple[str, ...] = ()
    if damping == "auto":
        notes = (
            f"weights of {named} span {low:g} to {high:g}, and are damped by their logarithm; set "
            'data.weights = "as_given" to train with them as they are, or "none" without them',
        )
    return found.astype(np.float32), notes


def halved_with_age(
    weight: Float32Array | None, age: Float64Array, half_life: float
) -> Float32Array:
    """Weights that are halved with each half-life of age, not below a thousandth.

    Parameters
    ----------
    weight : float32 (n,) or None
        None: all one.
    age : float64 (n,)
        In the unit of `half_life`.
    half_life : float
    """
    factor = np.maximum(np.exp2(-np.maximum(age, 0) / half_life), 1e-3)
    return (factor if weight is None else factor * weight).astype(np.float32)
