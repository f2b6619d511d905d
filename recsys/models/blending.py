"""Blending: the scores of neighbours added to those of factors, both brought to one spread."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import scipy.sparse as sp

from recsys.base.arrays import Int64Array
from recsys.data.ages import InteractionTimes
from recsys.models.configuration import HybridParameters
from recsys.models.ease import Ease
from recsys.models.item_to_item import ItemToItemModel, binary, truncated
from recsys.models.rp3beta import Rp3Beta
from recsys.ranking.factors import Factors
from recsys.ranking.neighbours import Neighbours
from recsys.ranking.rows import blocks_of

SAMPLED_USERS = 1000
"""How many users the spread of the neighbours' scores is measured on, at most."""


def item_to_item_model(parameters: HybridParameters) -> ItemToItemModel | None:
    """The item-to-item model that a configuration asks for; None where it asks for none."""
    if parameters.neighbours == "ease":
        return Ease(
            parameters.neighbours_regularization,
            parameters.neighbours_dropout,
            parameters.neighbours_kept,
            parameters.neighbours_nearest,
            parameters.neighbours_half_life,
            parameters.neighbours_window,
        )
    if parameters.neighbours == "rp3beta":
        return Rp3Beta(
            parameters.neighbours_alpha,
            parameters.neighbours_beta,
            parameters.neighbours_kept,
            parameters.neighbours_half_life,
            parameters.neighbours_window,
        )
    return None


def parameters_of(model: ItemToItemModel, weight: float) -> dict[str, float | int | str]:
    """A model as the names of a configuration; `item_to_item_model` turned round."""
    values = {f"neighbours_{name}": value for name, value in model.hyperparameters().items()}
    return {"neighbours": model.name, "neighbours_weight": weight, **values}


def without_neighbours(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration of the factors alone."""
    return {n: v for n, v in configuration.items() if not n.startswith("neighbours")}


def fit_neighbours(
    factors: Factors,
    interactions: sp.csr_matrix,
    parameters: HybridParameters,
    fitted: Neighbours | None = None,
    *,
    times: InteractionTimes | None = None,
) -> Neighbours | None:
    """Fit the neighbours of a configuration, to be added to these factors as they are.

    Parameters
    ----------
    factors : Factors
        Trained on these interactions.
    interactions : csr_matrix (n_users, n_items)
    parameters : HybridParameters
    fitted : Neighbours or None
        The same model as it was fitted on these interactions already, with at least as many
        weights of each row.
    times : InteractionTimes or None
        When the interactions were, for neighbours with a half-life or a window.

    Returns
    -------
    Neighbours or None
        Weights on the scale of the factors; None where the configuration asks for none.
    """
    if fitted is None:
        fitted = solve_neighbours(interactions, parameters, times)
    if fitted is None or _weighted_model(parameters) is None:
        return None
    kept = truncated(fitted, parameters.neighbours_kept)
    return scaled(kept, factors, binary(interactions), parameters.neighbours_weight)


def solve_neighbours(
    interactions: sp.csr_matrix,
    parameters: HybridParameters,
    times: InteractionTimes | None = None,
) -> Neighbours | None:
    """The neighbours of a configuration on their own scale, for which no factors are needed.

    None where the configuration asks for none.
    """
    model = _weighted_model(parameters)
    if model is None:
        return None
    return model.neighbours(model.aging.applied(binary(interactions), times))


def _weighted_model(parameters: HybridParameters) -> ItemToItemModel | None:
    """The model that a configuration asks for; None where there is none, or it has no weight."""
    return item_to_item_model(parameters) if parameters.neighbours_weight != 0 else None


def scaled(
    neighbours: Neighbours, factors: Factors, likes: sp.csr_matrix, weight: float
) -> Neighbours:
    """Neighbours whose scores spread over the items `weight` times as much as the factors'.

    One factor for all users: dividing by the spread of each user's scores was no better, and
    would leave no sum whose parts a person could be shown (docs/experiments/neighbours.md).
    """
    theirs, ours = neighbour_spread(neighbours, likes), factor_spread(factors)
    scale = weight * ours / theirs if theirs > 0 and ours > 0 else weight
    return replace(neighbours, weights=(neighbours.weights * scale).astype(np.float32))


def factor_spread(factors: Factors) -> float:
    """The root mean square, over users, of the standard deviation of their scores of all items.

    Worked out from the covariance of the item vectors, without scoring anybody.
    """
    items = np.hstack([factors.item_factors, factors.item_biases[:, None]]).astype(np.float64)
    covariance = np.cov(items, rowvar=False, bias=True).reshape(items.shape[1], -1)
    variances = np.empty(factors.n_users)
    for block in blocks_of(factors.n_users, len(covariance)):
        vectors = factors.user_factors[block]
        users = np.hstack([vectors, np.ones((len(vectors), 1))]).astype(np.float64)
        variances[block] = np.vecdot(users @ covariance, users)
    return float(np.sqrt(max(0.0, variances.mean())))


def neighbour_spread(neighbours: Neighbours, likes: sp.csr_matrix) -> float:
    """The same of the neighbours' scores, over users with likes, evenly chosen."""
    users: Int64Array = np.flatnonzero(np.diff(likes.indptr))
    if not len(users):
        return 0.0
    step = max(1, len(users) // SAMPLED_USERS)
    chosen = users[::step]
    weights = sp.csr_matrix(
        (neighbours.weights, neighbours.indices, neighbours.indptr), shape=(likes.shape[1],) * 2
    )
    scores = sp.csr_matrix(likes[chosen] @ weights).astype(np.float64)
    n_items = likes.shape[1]
    means = np.asarray(scores.sum(axis=1)).ravel() / n_items
    squares = np.asarray(scores.multiply(scores).sum(axis=1)).ravel() / n_items
    return float(np.sqrt(max(0.0, (squares - means**2).mean())))
