"""Popularity: the items with most interactions for everybody, the least a model has to beat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np
import scipy.sparse as sp

from recsys.models.model import FactorModel
from recsys.ranking.factors import Factors


@dataclass(frozen=True)
class Popularity(FactorModel):
    """Every user gets the items with most interactions, whatever their weights."""

    name: ClassVar[str] = "popularity"

    def _fit(self, interactions: sp.csr_matrix, seed: int, threads: int) -> Factors:
        """No factors, the number of interactions as item bias."""
        n_users, n_items = interactions.shape
        counts = np.bincount(interactions.indices, minlength=n_items).astype(np.float32)
        return Factors(
            np.zeros((n_users, 0), np.float32),
            np.zeros((n_items, 0), np.float32),
            np.zeros(n_users, np.float32),
            counts,
        )
