"""RP3beta: item-to-item weights from random walks of three steps, with popularity held down."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from recsys.data.ages import ALL
from recsys.models.configuration import require_number
from recsys.models.item_to_item import (
    ItemToItemModel,
    largest_of_product,
    likes_of_items,
    likes_of_users,
)
from recsys.ranking.neighbours import Neighbours


@dataclass(frozen=True)
class Rp3Beta(ItemToItemModel):
    """Random walks from an item over the users who like it to other items [1]_.

    Parameters
    ----------
    alpha : float
        Exponent of the probabilities of a step.
    beta : float
        An item reached is divided by the number of its likes to this power.
    kept : int
        Weights of each row that are kept, by magnitude.
    half_life, window : str
        How the age of interactions counts, see `recsys.data.ages.Aging`.

    References
    ----------
    .. [1] B. Paudel, F. Christoffel, C. Newell and A. Bernstein, Updatable, accurate, diverse, and
       scalable recommendations for interactive applications, ACM TiiS 7 (2016).
    """

    name: ClassVar[str] = "rp3beta"

    alpha: float = 0.8
    beta: float = 0.3
    kept: int = 200
    half_life: str = ALL
    window: str = ALL

    def __post_init__(self) -> None:
        require_number("alpha", self.alpha, 0.0, 10.0)
        require_number("beta", self.beta, 0.0, 10.0)
        require_number("kept", self.kept, 1, 1_000_000, whole=True)
        _ = self.aging

    def neighbours(self, likes: sp.csr_matrix, threads: int = 1) -> Neighbours:
        """Multiply two steps of the walk and keep the largest weights of each row."""
        users, items = likes_of_users(likes), likes_of_items(likes)
        # Nobody walks from those without likes.
        users[users == 0], items[items == 0] = 1, 1
        from_users = (users**-self.alpha).astype(np.float32)
        from_items = (items**-self.alpha).astype(np.float32)
        damping = (items**-self.beta).astype(np.float32)
        # A step is as probable as the share of its like, to the power alpha.
        steps = likes.power(self.alpha) if bool((likes.data != 1).any()) else likes
        first = sp.csr_matrix(sp.diags_array(from_items) @ steps.T.tocsr())
        second = sp.csr_matrix(sp.diags_array(from_users) @ steps @ sp.diags_array(damping))
        return largest_of_product(first, second, self.kept)
