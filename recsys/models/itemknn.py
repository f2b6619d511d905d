"""ItemKNN: item-to-item weights by the cosine of who likes the items."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from recsys.base.arrays import Float32Array, IntArray
from recsys.data.ages import ALL
from recsys.models.configuration import require_number
from recsys.models.item_to_item import (
    ItemToItemModel,
    largest_of_product,
    likes_of_items,
    rooted,
)
from recsys.ranking.neighbours import Neighbours


@dataclass(frozen=True)
class ItemKnn(ItemToItemModel):
    """Cosine similarity of items over the users who like them, shrunk [1]_.

    Parameters
    ----------
    shrinkage : float
        Added to the product of two items' lengths: similarities that few likes speak for count
        less.
    kept : int
        Neighbours of each item, those most similar.
    half_life, window : str
        How the age of interactions counts, see `recsys.data.ages.Aging`.

    References
    ----------
    .. [1] M. Ferrari Dacrema, S. Boglio, P. Cremonesi and D. Jannach, A troubling analysis of
       reproducibility and progress in recommender systems research, ACM TOIS 39 (2021).
    """

    name: ClassVar[str] = "itemknn"

    shrinkage: float = 10.0
    kept: int = 100
    half_life: str = ALL
    window: str = ALL

    def __post_init__(self) -> None:
        require_number("shrinkage", self.shrinkage, 0.0, 1e9)
        require_number("kept", self.kept, 1, 1_000_000, whole=True)
        _ = self.aging

    def neighbours(self, likes: sp.csr_matrix, threads: int = 1) -> Neighbours:
        """Count who likes both items, over the product of their lengths."""
        lengths = np.sqrt(likes_of_items(likes)).astype(np.float32)

        def cosine(rows: IntArray, columns: IntArray, together: Float32Array) -> Float32Array:
            found: Float32Array = together / (lengths[rows] * lengths[columns] + self.shrinkage)
            return found.astype(np.float32)

        likes = rooted(likes)
        return largest_of_product(likes.T.tocsr(), likes, self.kept, cosine)
