"""Popularity: the items with most interactions for everybody, the least a model has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from recsys.data.ages import ALL, Aging, InteractionTimes
from recsys.models.item_to_item import binary, likes_of_items
from recsys.models.model import FactorModel
from recsys.ranking.factors import Factors


@dataclass(frozen=True)
class Popularity(FactorModel):
    """Every user gets the items with most interactions, whatever their weights.

    Parameters
    ----------
    half_life, window : str
        How the age of interactions counts, see `recsys.data.ages.Aging`.
    """

    name: ClassVar[str] = "popularity"

    half_life: str = ALL
    window: str = ALL

    def __post_init__(self) -> None:
        _ = self.aging

    @property
    def aging(self) -> Aging:
        """How the age of interactions counts; refuses what is no duration."""
        return Aging(self.half_life, self.window)

    def _fit(self, interactions: sp.csr_matrix, seed: int, threads: int) -> Factors:
        return self._fit_timed(interactions, seed, threads, None)

    def _fit_timed(
        self, interactions: sp.csr_matrix, seed: int, threads: int, times: InteractionTimes | None
    ) -> Factors:
        """No factors, the number of interactions as item bias."""
        n_users, n_items = interactions.shape
        fitted = self.aging.applied(binary(interactions), times)
        counts = likes_of_items(fitted).astype(np.float32)
        return Factors(
            np.zeros((n_users, 0), np.float32),
            np.zeros((n_items, 0), np.float32),
            np.zeros(n_users, np.float32),
            counts,
        )
