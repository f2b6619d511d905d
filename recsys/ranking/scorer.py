"""Scorers: whatever gives every item a score for some users, which is all that ranking asks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from recsys.base.arrays import Float32Array, IntArray


@runtime_checkable
class Scorer(Protocol):
    """Scores every item for a block of users.

    `recsys.ranking.factors.Factors` is the common special case, which ranking multiplies tile by
    tile. Any other scorer (likes times an item-item matrix, a weighted sum of two scorers) is
    asked for a block of users at a time, so that no matrix of all users and items is ever made.
    """

    @property
    def n_items(self) -> int:
        """How many items are scored."""
        ...

    def score(self, users: IntArray) -> Float32Array:
        """Score all items for some users.

        Parameters
        ----------
        users : int (b,)
            User indices, in any order, repeated or not.

        Returns
        -------
        float32 (b, n_items)
            Higher is better. What is not finite is never recommended.
        """
        ...


@dataclass(frozen=True)
class ScoreTable:
    """Scores that are there already; a `Scorer`.

    Parameters
    ----------
    scores : float32 (n_users, n_items)
    """

    scores: Float32Array

    @property
    def n_items(self) -> int:
        """How many items are scored."""
        return self.scores.shape[1]

    def score(self, users: IntArray) -> Float32Array:
        """The rows of some users: int (b,) to float32 (b, n_items)."""
        return self.scores[users]
