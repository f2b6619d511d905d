"""Placeholders: a small drawing for an item without a picture, of dots as large as its vector says.

The vector's direction is turned into the sizes of a few dots by one fixed projection, so items
that the model holds alike have tiles that look alike.
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
    """A circle in a tile of 120 by 80."""

    x: int
    y: int
    r: float


@dataclass(frozen=True)
class Placeholders:
    """The tiles of one model's items.

    Parameters
    ----------
    source : BundleView
    """

    source: BundleView

    @cached_property
    def _projection(self) -> Float32Array:
        """Orthonormal where there are components enough: float32 (d, 24)."""
        d = self.source.vectors.shape[1]
        drawn = np.random.default_rng(0).normal(size=(max(d, COLUMNS * ROWS), COLUMNS * ROWS))
        return np.linalg.qr(drawn)[0][:d].astype(np.float32)

    def dots(self, items: IntArray) -> list[tuple[Dot, ...]]:
        """The dots of items' tiles; none for an item without a direction."""
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
