"""Popularity: the most liked items for everybody, the least that a model has to beat."""

from __future__ import annotations

import numpy as np
import scipy.sparse as sp

from recsys.ranking.factors import Factors


def popularity(interactions: sp.csr_matrix) -> Factors:
    """Every user gets the most liked items: no factors, the number of likes as item bias."""
    n_users, n_items = interactions.shape
    likes = np.bincount(interactions.indices, minlength=n_items).astype(np.float32)
    nothing = np.zeros((n_users, 0), np.float32), np.zeros((n_items, 0), np.float32)
    return Factors(*nothing, np.zeros(n_users, np.float32), likes)
