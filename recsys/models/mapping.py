"""Mapping: vectors for features, by ridge regression of item vectors on tf-idf features.

The model is trained on likes alone. Afterwards the regression finds a vector and a bias for each
feature, so that the features of an item add up to the item's own vector as well as they can:
items nobody has liked yet get a vector, and features can be asked like items.

A regression shrinks what it is unsure of: mapped vectors come out at less than half the length of
trained ones, those of obscure features shorter still. The direction is what they are good for, so
a mapped vector is scaled to the mean length of the vectors it was learned from, which is worth
more than any choice of the penalty; biases are shrunk as well and are multiplied by one factor.

Asking needs NumPy alone; SciPy is imported when a mapping is fitted.

References
----------
.. [1] Z. Gantner, L. Drumond, C. Freudenthaler, S. Rendle and L. Schmidt-Thieme, Learning
   attribute-to-feature mappings for cold-start recommendations, ICDM 2010.
.. [2] M. R. Hestenes and E. Stiefel, Methods of conjugate gradients for solving linear systems,
   Journal of Research of the National Bureau of Standards 49 (1952), preconditioned by the
   diagonal.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from recsys.base.arrays import Float32Array, Int64Array, IntArray
from recsys.models.content import Profiles
from recsys.ranking.factors import Factors
from recsys.ranking.metrics import precision_at_k
from recsys.ranking.rows import Rows, blocks_of, flatten
from recsys.ranking.scorer import ScoreTable

# Wide, since data sets differ: see docs/experiments/feature-mapping.md.
PENALTIES = (0.3, 1.0, 3.0, 10.0, 30.0)
BIAS_GAINS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)
TOLERANCE = 1e-3  # of the residual; smaller ones change no ranking
_MOST_USERS = 2000  # whose rankings choose the penalty


@dataclass(frozen=True)
class Mapping:
    """A vector and a bias for each feature.

    Parameters
    ----------
    feature_factors : float32 (n_features, d)
    feature_biases : float32 (n_features,)
        Already multiplied by the gain.
    length : float
        Length that every mapped vector is scaled to; 0 leaves them as they are.
    """

    feature_factors: Float32Array
    feature_biases: Float32Array
    length: float

    def vector(self, features: IntArray, weights: Float32Array) -> tuple[Float32Array, float]:
        """Vector (float32 (d,)) and bias of an item with these features; zeros for none.

        Parameters
        ----------
        features : int (n,)
        weights : float32 (n,)
            See :meth:`recsys.models.content.Profiles.weigh`.
        """
        vector = weights @ self.feature_factors[features]
        bias = float(weights @ self.feature_biases[features])
        return self._scaled(vector[None])[0], bias

    def vectors(self, profiles: Profiles) -> tuple[Float32Array, Float32Array]:
        """Vectors, float32 (n_items, d), and biases, float32 (n_items,); zeros without features."""
        matrix = _csr(profiles)
        return self._scaled(matrix @ self.feature_factors), matrix @ self.feature_biases

    def vectors_of_rows(self, profiles: Profiles) -> tuple[Float32Array, Float32Array]:
        """As `vectors`, by NumPy alone; slower for rows with many features."""
        weights = profiles.data
        sums = np.zeros((profiles.n_items, self.feature_factors.shape[1]), np.float32)
        biases = np.zeros(profiles.n_items, np.float32)
        filled = np.flatnonzero(np.diff(profiles.indptr))
        if len(filled):
            starts = profiles.indptr[filled]
            parts = weights[:, None] * self.feature_factors[profiles.indices]
            sums[filled] = np.add.reduceat(parts, starts, axis=0)
            biases[filled] = np.add.reduceat(
                weights * self.feature_biases[profiles.indices], starts
            )
        return self._scaled(sums), biases

    def _scaled(self, vectors: Float32Array) -> Float32Array:
        if self.length == 0:
            return vectors
        lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
        scale = np.divide(self.length, lengths, out=np.zeros_like(lengths), where=lengths > 0)
        return vectors * scale


@dataclass(frozen=True)
class MappingChoice:
    """The penalty and gain that rank hidden items best.

    Parameters
    ----------
    penalty, bias_gain : float
        The best of those tried, for :func:`fit_mapping`.
    precision : float
        Their mean precision, ranking hidden items only. An overestimate for items that are really
        new, since the users' vectors were trained with these; for comparison only.
    tried : dict of (float, float) to float
        The same for each penalty and gain.
    """

    penalty: float
    bias_gain: float
    precision: float
    tried: dict[tuple[float, float], float]


def fit_mapping(
    profiles: Profiles,
    factors: Factors,
    items: IntArray,
    penalty: float = 1.0,
    bias_gain: float = 1.0,
) -> Mapping:
    """Regress item vectors and biases on features [1]_.

    Minimises the sum over items of |features @ vectors - own vector|^2, plus penalty times the
    squared length of all feature vectors; likewise for biases.

    Parameters
    ----------
    profiles : Profiles
        Rows 0..n_items - 1 of the factors; more rows may follow.
    factors : Factors
    items : int array
        Items to learn from: those that were trained. Items without features take no part.
    penalty : float
    bias_gain : float
        Factor on the biases, against their shrinkage.

    Returns
    -------
    Mapping
    """
    chosen = np.asarray(items)[profiles.described[items]]
    targets = _Targets(factors, chosen)
    solution = ridge(_csr(profiles)[chosen], targets, penalty)
    lengths = np.empty(len(chosen), np.float32)
    for block in blocks_of(*targets.shape):
        lengths[block] = np.linalg.norm(targets[block][:, :-1], axis=1)
    length = float(lengths.mean()) if len(chosen) else 0.0
    return Mapping(
        np.ascontiguousarray(solution[:, :-1]), np.float32(bias_gain) * solution[:, -1], length
    )


@dataclass(frozen=True)
class _Targets:
    """The vectors of some items, each with its bias behind, made where they are asked for."""

    factors: Factors
    items: IntArray

    @property
    def shape(self) -> tuple[int, int]:
        return len(self.items), self.factors.n_components + 1

    def __getitem__(self, block: slice) -> Float32Array:
        chosen = self.items[block]
        vectors, biases = self.factors.item_factors[chosen], self.factors.item_biases[chosen, None]
        return np.hstack([vectors, biases])


def ridge(
    inputs: Any,
    targets: Float32Array | _Targets,
    penalty: float,
    tolerance: float = TOLERANCE,
    steps: int = 200,
) -> Float32Array:
    """The B that minimises |inputs @ B - targets|^2 + penalty |B|^2, by conjugate gradients [2]_.

    All columns are solved side by side, which makes every step two products of a sparse with a
    dense matrix: seconds at tens of thousands of features, where factors of the normal equations
    fill up. Products go block by block of rows, so what is held grows with the features alone.

    Parameters
    ----------
    inputs : csr_matrix float32 (n, n_features)
    targets : float32 (n, m)
    penalty : float
        Above 0.
    tolerance : float
        Of each column's residual, relative to that of zero.
    steps : int
        At most this number of iterations.

    Returns
    -------
    float32 (n_features, m)

    Raises
    ------
    ValueError
        If the penalty is not above 0.
    """
    if not penalty > 0:
        raise ValueError(f"the penalty must be above 0, not {penalty}")
    count, width = targets.shape
    parts = list(blocks_of(count, width, inputs.shape[1]))
    rows = [inputs[block] for block in parts]
    columns = [part.T.tocsr() for part in rows]
    residual = np.zeros((inputs.shape[1], width), np.float32)
    for transposed, block in zip(columns, parts, strict=True):
        residual += transposed @ targets[block]
    penalty32 = np.float32(penalty)
    diagonal = np.asarray(inputs.multiply(inputs).sum(axis=0)).ravel() + penalty32
    inverse = (1 / diagonal).astype(np.float32)[:, None]
    solution = np.zeros_like(residual)
    goal = tolerance**2 * _squares(residual, residual)
    direction = inverse * residual
    slope = _squares(residual, direction)
    for _ in range(steps):
        if (_squares(residual, residual) <= goal).all():
            break
        image = penalty32 * direction
        for part, transposed in zip(rows, columns, strict=True):
            image += transposed @ (part @ direction)
        step = _ratio(slope, _squares(direction, image))
        solution += step * direction
        residual -= step * image
        conditioned = inverse * residual
        last, slope = slope, _squares(residual, conditioned)
        direction = conditioned + _ratio(slope, last) * direction
    return solution


def _squares(a: Float32Array, b: Float32Array) -> Float32Array:
    return np.einsum("ij,ij->j", a, b)


def _ratio(above: Float32Array, below: Float32Array) -> Float32Array:
    return np.divide(above, below, out=np.zeros_like(above), where=below > 0)


def choose_mapping(
    profiles: Profiles,
    factors: Factors,
    likes: Rows,
    *,
    penalties: Sequence[float] = PENALTIES,
    bias_gains: Sequence[float] = BIAS_GAINS,
    share: float = 0.1,
    k: int = 5,
    seed: int = 0,
) -> MappingChoice:
    """Choose the penalty and the gain on items hidden from the regression.

    No model is fitted: a share of the trained items with features is left out of the regression,
    and ranked from features for users who like them. An extra fit without these items makes the
    same choice at many times the cost (docs/experiments/feature-mapping.md).

    Parameters
    ----------
    profiles : Profiles
    factors : Factors
    likes : Rows (n_users rows)
        What the factors were trained on.
    penalties, bias_gains : sequence of float
        The grid; of equals, the first wins.
    share : float
        Of the trained items with features, at least one.
    k : int
        Of the precision.
    seed : int

    Returns
    -------
    MappingChoice

    Raises
    ------
    ValueError
        If fewer than two trained items have features.
    """
    trained = np.unique(likes.indices)
    trained = trained[profiles.described[trained]]
    if len(trained) < 2:
        raise ValueError("fewer than two trained items have features")
    generator = np.random.default_rng(seed)
    hidden = np.sort(generator.choice(trained, max(1, int(share * len(trained))), replace=False))
    hidden_items = _HiddenItems.of(profiles, factors, likes, hidden, generator)
    shown = np.setdiff1d(trained, hidden)
    tried: dict[tuple[float, float], float] = {}
    for penalty in penalties:
        mapping = fit_mapping(profiles, factors, shown, penalty)
        tried |= {(penalty, gain): hidden_items.precision(mapping, gain, k) for gain in bias_gains}
    best = max(tried, key=lambda pair: tried[pair])
    return MappingChoice(*best, tried[best], tried)


@dataclass(frozen=True)
class _Lists:
    """Compressed sparse rows, without values."""

    indptr: Int64Array
    indices: Int64Array

    @staticmethod
    def of(rows: Rows, users: IntArray, keep: IntArray) -> _Lists:
        """Rows of `users`; `keep` renumbers the items, -1 drops one."""
        entries, owners = flatten(rows, users)
        items = keep[rows.indices[entries]]
        counts = np.bincount(owners[items >= 0], minlength=len(users))
        indptr = np.concatenate([[0], np.cumsum(counts)])
        return _Lists(indptr, items[items >= 0].astype(np.int64))


@dataclass(frozen=True)
class _HiddenItems:
    """Items hidden from the regression, and users who like one of them."""

    hidden: Profiles
    user_factors: Float32Array
    liked: _Lists

    @staticmethod
    def of(
        profiles: Profiles,
        factors: Factors,
        likes: Rows,
        hidden: IntArray,
        generator: np.random.Generator,
    ) -> _HiddenItems:
        place = np.full(factors.n_items, -1)
        place[hidden] = np.arange(len(hidden))
        users = np.flatnonzero(np.diff(_Lists.of(likes, np.arange(factors.n_users), place).indptr))
        if len(users) > _MOST_USERS:
            users = np.sort(generator.choice(users, _MOST_USERS, replace=False))
        liked = _Lists.of(likes, users, place)
        return _HiddenItems(profiles.rows(hidden), factors.user_factors[users], liked)

    def precision(self, mapping: Mapping, gain: float, k: int) -> float:
        vectors, biases = mapping.vectors(self.hidden)
        scores: Float32Array = self.user_factors @ vectors.T + np.float32(gain) * biases
        return float(precision_at_k(ScoreTable(scores), self.liked, k=k).mean())


def _csr(profiles: Profiles) -> Any:
    import scipy.sparse as sp

    parts = profiles.data, profiles.indices, profiles.indptr
    return sp.csr_matrix(parts, shape=(profiles.n_items, profiles.n_features))


def blend_content(
    factors: Factors, mapping: Mapping, profiles: Profiles, likes: IntArray, blending: float
) -> Factors:
    """Blend the features' vectors into the items', the more the fewer likes an item has.

    The share of the mapped part is blending / (blending + likes): all of it for an item without
    likes, half for one with `blending` likes, none for one without features.

    Parameters
    ----------
    factors : Factors
    mapping : Mapping
    profiles : Profiles
        Rows 0..n_items - 1 are those of the factors.
    likes : int (n_items,)
        Number of likes of each item.
    blending : float
        0 leaves items that were liked as they are. To be chosen on validation.

    Returns
    -------
    Factors
    """
    head = profiles.rows(np.arange(factors.n_items))
    vectors, biases = mapping.vectors(head)
    total = np.asarray(likes, np.float32) + np.float32(blending)
    share = np.divide(blending, total, out=np.ones_like(total), where=total > 0)
    share = np.where(head.described, share, 0).astype(np.float32)
    own, own_biases = factors.item_factors, factors.item_biases
    return replace(
        factors,
        item_factors=own + share[:, None] * (vectors - own),
        item_biases=own_biases + share * (biases - own_biases),
    )


def similar_features(mapping: Mapping, vector: Float32Array) -> Float32Array:
    """Cosine of each feature's vector to a vector; 0 where one has no direction."""
    lengths = np.linalg.norm(mapping.feature_factors, axis=1) * np.linalg.norm(vector)
    products = mapping.feature_factors @ vector
    return np.divide(products, lengths, out=np.zeros_like(products), where=lengths > 0)
