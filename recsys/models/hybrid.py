"""Hybrid models: LightFM without features, trained with them, or with features mapped later."""

from __future__ import annotations

from collections.abc import Callable
from collections.abc import Mapping as Dictionary
from concurrent.futures import Future
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from threading import Thread
from typing import Any, ClassVar, TypeVar

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from recsys.base.arrays import Float32Array, Int64Array, IntArray
from recsys.base.cores import add_seconds, cpu_seconds, shared
from recsys.base.errors import InputError
from recsys.data.ages import InteractionTimes
from recsys.data.features import EncodedFeatures, with_identity
from recsys.data.idmap import IdMap
from recsys.models.blending import fit_neighbours, solve_neighbours
from recsys.models.configuration import (
    HybridParameters,
    LightFMParameters,
    parse_configuration,
    require_number,
)
from recsys.models.content import Profiles, inverse_frequency, tf_idf
from recsys.models.foldin import blend_users
from recsys.models.lightfm import DivergedError, Training
from recsys.models.mapping import Mapping, blend_content, fit_mapping
from recsys.models.model import FactorModel
from recsys.models.side import SideInformation, Vocabulary
from recsys.models.spectral import Spectrum
from recsys.models.spreading import Spread
from recsys.ranking.factors import Factors
from recsys.ranking.neighbours import Blended, Neighbours, blended
from recsys.ranking.rows import Rows

SIDES = ("item", "user")


@dataclass(frozen=True)
class SideFeatures:
    """The encoded features of items, or of users.

    Parameters
    ----------
    encoded : EncodedFeatures
        A row for each item of the catalogue; after the `trained` ones those that are known by
        their features alone.
    trained : int
    identity : bool
        Whether each item (or user) has a column of its own beside the features when these are
        trained jointly; if not, only those without features have one.
    normalisation : {"l2", "l1", "none"}
        Of the encoded rows, before their weight.
    weight : float
        Factor on the features in joint training; the encoded rows are without it.
    """

    encoded: EncodedFeatures
    trained: int
    identity: bool = True
    normalisation: str = "l2"
    weight: float = 1.0

    @property
    def vocabulary(self) -> Vocabulary:
        """The features' names, types, values and support."""
        encoded = self.encoded
        names = IdMap(encoded.names, "feature")
        return Vocabulary(names, encoded.types, encoded.values, encoded.support)

    def profiles(self) -> Profiles:
        """tf-idf of the whole catalogue, with frequencies among the trained items."""
        matrix = self.encoded.matrix
        counted = np.arange(self.trained)
        return tf_idf(matrix, inverse_frequency(matrix, matrix.shape[1], counted))

    def joint_profiles(self, parameters: HybridParameters) -> Profiles:
        """The rows of features that are trained jointly, without their weight."""
        from sklearn.preprocessing import normalize  # takes long to import

        norm = parameters.normalisation or self.normalisation
        kept = (self.encoded.support >= parameters.min_support).astype(np.float32)
        matrix = (self.encoded.matrix @ sp.diags(kept)).tocsr()
        matrix.eliminate_zeros()
        if norm != "none":
            matrix = normalize(matrix, norm=norm)
        indptr, indices = matrix.indptr.astype(np.int64), matrix.indices.astype(np.int32)
        return Profiles(indptr, indices, matrix.data.astype(np.float32), kept, norm)

    def share(self, parameters: HybridParameters, likes: IntArray) -> Float32Array:
        """Which items have features in joint training: float32 (n_catalogue,), 1 or 0."""
        share = np.ones(self.encoded.matrix.shape[0], np.float32)
        if parameters.features_below is not None:
            share[: self.trained][likes >= parameters.features_below] = 0
        return share

    def joint_matrix(self, parameters: HybridParameters, likes: IntArray) -> sp.csr_matrix:
        """Identity block and weighted features of what is trained, as LightFM takes them.

        Without `identity`, the block has a column for each row that has no features: it would be
        trained to nothing otherwise.

        Returns
        -------
        csr_matrix float32 (trained, block + n_features)
        """
        rows = profile_matrix(self.joint_profiles(parameters))[: self.trained]
        weights = self.share(parameters, likes)[: self.trained] * self.joint_weight(parameters)
        matrix = (sp.diags(weights.astype(np.float32)) @ rows).tocsr()
        if self.identity:
            return with_identity(matrix)
        matrix.eliminate_zeros()
        # LightFM divides by the number of features of the user and the items that it trains with.
        return _with_columns(matrix, np.flatnonzero(np.diff(matrix.indptr) == 0))

    def joint_weight(self, parameters: HybridParameters) -> float:
        """The factor on the rows of features in joint training."""
        return parameters.feature_weight * self.weight


def _with_columns(matrix: sp.csr_matrix, rows: IntArray) -> sp.csr_matrix:
    """The matrix behind a column of its own for each of these rows."""
    if not len(rows):
        return matrix
    where = np.ones(len(rows), np.float32), (rows, np.arange(len(rows)))
    own = sp.csr_matrix(where, shape=(matrix.shape[0], len(rows)))
    return sp.hstack((own, matrix), format="csr", dtype=np.float32)


@dataclass(frozen=True)
class FeaturesBySide:
    """EncodedFeatures features of items and of users; None where there are none."""

    item: SideFeatures | None = None
    user: SideFeatures | None = None

    def named(self) -> dict[str, SideFeatures]:
        """Those that there are, under "item" and "user"."""
        both = {"item": self.item, "user": self.user}
        return {name: side for name, side in both.items() if side is not None}


def _default_parameters() -> LightFMParameters:
    return LightFMParameters(
        no_components=64,
        learning_rate=0.05,
        user_alpha=2e-4,
        item_alpha=2e-4,
        initialisation="spectral",
    )


@dataclass(frozen=True)
class LightFM(FactorModel):
    """LightFM, a factor model of user and item vectors trained by gradient descent [1]_.

    The defaults learn something sensible from tens of thousands of users in a minute; what is
    best on some data is what the pipeline's search is for.

    Parameters
    ----------
    lightfm : LightFMParameters
    hybrid : HybridParameters
        What is made of features, and how far users are blended with their fold-in.
    epochs : int
        Passes over all interactions.

    References
    ----------
    .. [1] M. Kula, Metadata embeddings for user and item cold-start recommendations, CBRecSys 2015.
    """

    name: ClassVar[str] = "lightfm"

    lightfm: LightFMParameters = field(default_factory=_default_parameters)
    hybrid: HybridParameters = field(default_factory=HybridParameters)
    epochs: int = 30

    def __post_init__(self) -> None:
        require_number("epochs", self.epochs, 1, 1_000_000, whole=True)

    def _fit(self, interactions: sp.csr_matrix, seed: int, threads: int) -> Factors:
        return self._fit_timed(interactions, seed, threads, None)

    def _fit_timed(
        self, interactions: sp.csr_matrix, seed: int, threads: int, times: InteractionTimes | None
    ) -> Factors:
        return self.fit_with_features(
            interactions, None, seed=seed, threads=threads, times=times
        ).factors

    def fit_with_features(
        self,
        interactions: sp.csr_matrix,
        features: FeaturesBySide | None,
        *,
        seed: int = 0,
        threads: int = 1,
        times: InteractionTimes | None = None,
    ) -> HybridModel:
        """Fit interactions, and features of items or users beside them.

        Parameters
        ----------
        interactions : csr_matrix float32 (n_users, n_items)
            With sorted rows, as `recsys.data.interactions.Interactions.matrix` gives.
        features : FeaturesBySide or None
        seed, threads, times
            See `fit`.

        Raises
        ------
        InputError
            If training diverges, or features are to be trained jointly and there are none, or age
            counts and there are no times.
        """
        configuration = {**asdict(self.lightfm), **asdict(self.hybrid)}
        return fit_hybrid(
            interactions, configuration, self.epochs, seed, features, threads, times=times
        )

    def hyperparameters(self) -> dict[str, Any]:
        """Flat, under the names of the pipeline's configurations."""
        return {**asdict(self.lightfm), **asdict(self.hybrid), "epochs": self.epochs}

    @classmethod
    def from_dict(cls, values: Dictionary[str, Any]) -> LightFM:
        """From flat hyper-parameters, as a search or a champion's manifest has them.

        Names that are not given are this model's defaults, not LightFM's own.
        """
        default = cls()
        epochs = values.get("epochs", default.epochs)
        given = {name: value for name, value in values.items() if name != "epochs"}
        whole = {**asdict(default.lightfm), **asdict(default.hybrid), **given}
        return cls(*parse_configuration(whole), epochs)


@dataclass(frozen=True)
class HybridModel:
    """A trained model: factors, and what was learned from features.

    Parameters
    ----------
    factors : Factors
        Of the trained users and items, as they are ranked.
    own : Factors
        The same before features are blended into the items; users are blended with their fold-in
        already.
    item, user : SideInformation or None
    neighbours : Neighbours or None
        Added to the scores of the factors, on their scale.
    """

    factors: Factors
    own: Factors
    item: SideInformation | None = None
    user: SideInformation | None = None
    neighbours: Neighbours | None = None

    def scorer(self, likes: Rows) -> Factors | Blended:
        """What ranks the users of these likes, which it was trained on."""
        return blended(self.factors, self.neighbours, likes)

    def catalogue(self) -> Factors:
        """Factors of the whole catalogue: after the trained items, those with features alone."""
        return with_catalogue(self.factors, self.item)


def start_training(
    interactions: sp.csr_matrix,
    configuration: Dictionary[str, Any],
    seed: int,
    sides: FeaturesBySide | None,
    threads: int | None = None,
    spectrum: Spectrum | None = None,
    times: InteractionTimes | None = None,
    spread: Spread | None = None,
) -> Training:
    """A LightFM model of this configuration, before its first epoch.

    Parameters
    ----------
    interactions : csr_matrix float32 (n_users, n_items)
    configuration : mapping
        Flat names, see `parse_configuration`.
    seed : int
    sides : FeaturesBySide or None
    threads : int or None
        See `recsys.models.lightfm.Training`.
    spectrum : Spectrum or None
        Of the interactions, if already computed.
    times : InteractionTimes or None
        When the interactions were.
    spread : Spread or None
        Over which machines it is trained; None for this one.

    Raises
    ------
    ConfigError
        If a name or a value is not allowed.
    InputError
        If features are to be trained jointly and there are none, or age counts and there are no
        times.
    """
    hyperparameters, parameters = parse_configuration(configuration)
    matrices: dict[str, sp.csr_matrix] = {}
    if parameters.strategy == "joint":
        if sides is None or not sides.named():
            raise InputError(
                "a joint model without features",
                "features of items or users",
                "give data.features, or choose the strategy none",
            )
        for name, side in sides.named().items():
            likes = count_likes(interactions, name)
            matrices[f"{name}_features"] = side.joint_matrix(parameters, likes)
    return Training(
        interactions,
        hyperparameters,
        seed,
        threads=threads,
        spectrum=spectrum,
        times=times,
        spread=spread,
        **matrices,
    )


def fit_hybrid(
    interactions: sp.csr_matrix,
    configuration: Dictionary[str, Any],
    epochs: int,
    seed: int,
    sides: FeaturesBySide | None = None,
    threads: int | None = None,
    *,
    times: InteractionTimes | None = None,
    spread: Spread | None = None,
) -> HybridModel:
    """Train a configuration, and learn vectors for the features.

    Parameters
    ----------
    interactions : csr_matrix float32 (n_users, n_items)
    configuration : mapping
        Flat names, see `parse_configuration`.
    epochs, seed : int
    sides : FeaturesBySide or None
    threads : int or None
        See `recsys.models.lightfm.Training`.
    times : InteractionTimes or None
        When the interactions were, for a configuration with a half-life or a window.
    spread : Spread or None
        Over which machines it is trained; None for this one.

    Raises
    ------
    InputError
        If the model diverges, or age counts and there are no times.
    """
    training = start_training(
        interactions, configuration, seed, sides, threads, times=times, spread=spread
    )
    parameters = parse_configuration(configuration)[1]
    # BLAS has one thread all the while: a limit that ends earlier would change the sums of the
    # other.
    with threadpool_limits(1, user_api="blas"):
        solved = _beside(
            partial(solve_neighbours, interactions, parameters, times),
            alone=threads == 1 or parameters.neighbours == "none",
        )
        try:
            training.advance(epochs)
            model = finish_training(training, interactions, configuration, sides)
        except DivergedError as fault:
            raise InputError(
                f"the configuration diverged when fitted on other data ({fault})",
                "factors that stay finite",
                "narrow search.space to smaller learning rates and train again",
            ) from fault
        neighbours = fit_neighbours(model.factors, interactions, parameters, solved())
        return replace(model, neighbours=neighbours)


_Found = TypeVar("_Found")


def _beside(compute: Callable[[], _Found], *, alone: bool) -> Callable[[], _Found]:
    """Begin what one thread computes, on a core of its own; returns what waits for the result.

    If `alone`, it is computed where its result is asked for. Nobody waits for it if nobody asks: a
    training that fails, or is interrupted, ends at once.
    """
    if alone:
        return compute
    future: Future[tuple[_Found, float]] = Future()

    def run() -> None:
        start = cpu_seconds()
        try:
            with shared(1):
                found = compute()
        except BaseException as fault:
            future.set_exception(fault)
        else:
            future.set_result((found, cpu_seconds() - start))

    def wait() -> _Found:
        found, seconds = future.result()
        add_seconds(seconds)
        return found

    Thread(target=run, daemon=True).start()
    return wait


def finish_training(
    training: Training,
    interactions: sp.csr_matrix,
    configuration: Dictionary[str, Any],
    sides: FeaturesBySide | None,
) -> HybridModel:
    """The factors of a model in training, and vectors for its features.

    Joint models have trained vectors for features; for others they are mapped.
    """
    parameters = parse_configuration(configuration)[1]
    own = training.factors()
    if sides is None or parameters.strategy != "joint":
        # They are a copy already, which need not be copied again.
        return map_features(
            own, interactions, parameters, sides or FeaturesBySide(), out=own.user_factors
        )
    found: dict[str, SideInformation] = {}
    for name, side in sides.named().items():
        profiles = side.joint_profiles(parameters)
        vectors, biases = training.feature_vectors(name, side.encoded.matrix.shape[1])
        weight = np.float32(side.joint_weight(parameters))
        # A feature that no row had was never trained: its vector is still the random one.
        weights = weight * (np.bincount(profiles.indices, minlength=len(biases)) > 0)
        mapping = Mapping(vectors * weights[:, None], biases * weights, 0.0)
        share = side.share(parameters, count_likes(interactions, name))
        found[name] = SideInformation(
            side.vocabulary, profiles, mapping, share, parameters.cold_blending
        )
    return HybridModel(own, own, found.get("item"), found.get("user"))


def map_features(
    own: Factors,
    interactions: sp.csr_matrix,
    parameters: HybridParameters,
    sides: FeaturesBySide,
    *,
    out: Float32Array | None = None,
) -> HybridModel:
    """Learn vectors for features by regression; blend items with these, users with their fold-in.

    Parameters
    ----------
    own : Factors
        As they were trained.
    interactions : csr_matrix (n_users, n_items)
    parameters : HybridParameters
    sides : FeaturesBySide
    out : float32 (n_users, d) or None
        Where blended users go, see `recsys.models.foldin.blend_users`.
    """
    found: dict[str, SideInformation] = {}
    own = blend_users(own, interactions, parameters.user_blending, out)
    factors = own
    for name, side in sides.named().items():
        likes = count_likes(interactions, name)
        profiles = side.profiles()
        turned = own if name == "item" else own.transposed()
        mapping = fit_mapping(
            profiles, turned, np.flatnonzero(likes), parameters.penalty, parameters.bias_gain
        )
        blending = parameters.content_blending if name == "item" else 0.0
        if blending:
            factors = blend_content(own, mapping, profiles, likes, blending)
        share = np.ones(profiles.n_items, np.float32)
        share[: side.trained] = blending / np.maximum(blending + likes, 1e-9)
        share[~profiles.described] = 0
        found[name] = SideInformation(
            side.vocabulary, profiles, mapping, share, parameters.cold_blending
        )
    return HybridModel(factors, own, found.get("item"), found.get("user"))


def with_catalogue(factors: Factors, item: SideInformation | None) -> Factors:
    """Factors of the whole catalogue: behind the trained items, those known by features alone."""
    if item is None or item.profiles.n_items <= factors.n_items:
        return factors
    behind = item.profiles.rows(np.arange(factors.n_items, item.profiles.n_items))
    vectors, biases = item.mapping.vectors(behind)
    return replace(
        factors,
        item_factors=np.vstack([factors.item_factors, vectors]).astype(np.float32),
        item_biases=np.concatenate([factors.item_biases, biases]).astype(np.float32),
    )


def count_likes(interactions: sp.csr_matrix, side: str) -> Int64Array:
    """How many interactions each item (or user) has."""
    if side == "user":
        return np.diff(interactions.indptr).astype(np.int64)
    return np.bincount(interactions.indices, minlength=interactions.shape[1])


def profile_matrix(profiles: Profiles) -> sp.csr_matrix:
    """The profiles as a SciPy matrix: csr_matrix float32 (n_items, n_features)."""
    parts = profiles.data, profiles.indices, profiles.indptr
    return sp.csr_matrix(parts, shape=(profiles.n_items, profiles.n_features))
