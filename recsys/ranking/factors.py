"""Factors: user and item vectors with their biases, what training a factor model results in."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from recsys.base.arrays import Float32Array, IntArray


@dataclass(frozen=True)
class Factors:
    """User and item vectors with their biases; a score is their inner product plus both biases.

    Parameters
    ----------
    user_factors : float32 (n_users, d)
    item_factors : float32 (n_items, d)
    user_biases : float32 (n_users,)
    item_biases : float32 (n_items,)

    Raises
    ------
    ValueError
        If the shapes do not belong together.
    """

    user_factors: Float32Array
    item_factors: Float32Array
    user_biases: Float32Array
    item_biases: Float32Array

    def __post_init__(self) -> None:
        if self.user_factors.ndim != 2 or self.item_factors.ndim != 2:
            raise ValueError("factors must be two-dimensional")
        if self.user_factors.shape[1] != self.item_factors.shape[1]:
            raise ValueError("user and item factors differ in their number of components")
        if self.user_biases.shape != (self.n_users,) or self.item_biases.shape != (self.n_items,):
            raise ValueError("one bias per user and per item is needed")

    @property
    def n_users(self) -> int:
        """How many users there are."""
        return self.user_factors.shape[0]

    @property
    def n_items(self) -> int:
        """How many items there are."""
        return self.item_factors.shape[0]

    @property
    def n_components(self) -> int:
        """The length d of every vector."""
        return self.user_factors.shape[1]

    def score(self, users: IntArray) -> Float32Array:
        """Score all items for some users; makes `Factors` a `recsys.ranking.scorer.Scorer`.

        Ranking does not call it: it multiplies the factors tile by tile.

        Parameters
        ----------
        users : int (b,)

        Returns
        -------
        float32 (b, n_items)
        """
        products: Float32Array = self.user_factors[users] @ self.item_factors.T
        return products + self.user_biases[users, None] + self.item_biases

    def transposed(self) -> Factors:
        """Users in the place of items, and items in that of users; nothing is copied."""
        return Factors(self.item_factors, self.user_factors, self.item_biases, self.user_biases)

    def finite(self) -> bool:
        """Whether every number is finite, which is not so if training diverged."""
        parts = (self.user_factors, self.item_factors, self.user_biases, self.item_biases)
        # A sum is finite exactly when no NaN or infinity entered it (float64: no overflow here).
        return all(bool(np.isfinite(part.sum(dtype=np.float64))) for part in parts)
