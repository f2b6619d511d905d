"""Drawings for items without a picture: dots whose sizes come from the item's vector.

One fixed projection turns the direction of the vector into the sizes of 24 dots, so drawings of
similar items look similar.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from recsys.base.arrays import Float32Array, IntArray
from recsys.recommend.queries.view import BundleView

COLUMNS, ROWS = 6, 4
WIDTH, HEIGHT = 120, 80
_STEP = 20
_SMALLEST, _LARGEST = 1.2, 8.4


@dataclass(frozen=True)
class Dot:
    """A circle in a drawing of 120 by 80."""

    x: int
    y: int
    r: float


@dataclass(frozen=True)
class Placeholders:
    """The drawings of one model's items.

    Parameters
    ----------
    source : BundleView
    """

    source: BundleView

    @cached_property
    def _projection(self) -> Float32Array:
        """float32 (d, 24), orthonormal columns if d is at least 24."""
        d = self.source.vectors.shape[1]
        drawn = np.random.default_rng(0).normal(size=(max(d, COLUMNS * ROWS), COLUMNS * ROWS))
        return np.linalg.qr(drawn)[0][:d].astype(np.float32)

    def dots(self, items: IntArray) -> list[tuple[Dot, ...]]:
        """The dots of items' drawings; none for an item whose vector is zero."""
        items = np.asarray(items, np.int64)
        directions = self.source.vectors[items] * self.source.inverse_lengths[items][:, None]
        turned = directions @ self._projection
        spread = np.sqrt(directions.shape[1])
        radii = _SMALLEST + (_LARGEST - _SMALLEST) / (1 + np.exp(-1.7 * spread * turned))
        known = self.source.inverse_lengths[items] > 0
        return [
            _placed(row) if there else () for row, there in zip(radii.tolist(), known, strict=True)
        ]


def _placed(radii: list[float]) -> tuple[Dot, ...]:
    return tuple(
        Dot(
            _STEP // 2 + _STEP * (place % COLUMNS), _STEP // 2 + _STEP * (place // COLUMNS),
            round(radius, 1),
        )
        for place, radius in enumerate(radii)
    )  # fmt: skip
