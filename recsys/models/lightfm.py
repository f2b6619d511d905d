"""LightFM's training: a few epochs at a time, paused and resumed, plain factor matrices out.

Epochs are trained by the kernel (`recsys.models.kernel`), or by LightFM where that is asked for, or
the kernel was not compiled.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import cache, partial
from typing import Any

import numpy as np
import scipy.sparse as sp
from lightfm import LightFM

from recsys.base.arrays import AnyArray, Float32Array
from recsys.base.cores import add_seconds, shared
from recsys.base.events import Note, emit
from recsys.data.ages import InteractionTimes
from recsys.models.configuration import LightFMParameters
from recsys.models.kernel import (
    Interactions,
    Kernel,
    draw_start,
    has_item_groups,
    load_kernel,
    padded,
)
from recsys.models.outside_window import place_outside
from recsys.models.spectral import Spectrum
from recsys.models.spreading import Spread
from recsys.ranking.factors import Factors
from recsys.store.mapped import mapped_zeros

# Entries above this are a sign of divergence, and the precision of such a model is an accident:
# models that converge stay below 100.
LARGEST_FACTOR = 1e4
LEAST_IN_GROUP = 1_000
"""Users or items of a group, on average; see docs/experiments/training-blocks.md."""
ITEM_GROUPS = 4
"""Of items with features; see docs/experiments/training-kernel.md."""
LEAST_WITH_FEATURES = 1_000
"""Fewer items with features are not cut into groups, of which each would have too few to draw."""


class DivergedError(Exception):
    """Training diverged: factors are not finite, or far too large."""


def _put_known(embeddings: Float32Array, rows: slice, vectors: Float32Array) -> None:
    """Put initial vectors in the place of those that were drawn, but for zero ones."""
    own = embeddings[rows, : vectors.shape[1]]
    known = vectors.any(axis=1)
    own[known] = vectors[known]


def _has_identity(features: sp.csr_matrix | None, n: int) -> bool:
    """Whether each row has a column of its own, before all others."""
    if features is None:
        return True
    if features.shape[1] < n:
        return False
    return bool((features[:, :n] != sp.identity(n, format="csr")).nnz == 0)


def _raised(interactions: sp.csr_matrix, power: float) -> sp.csr_matrix:
    """The same interactions with their weights to some power."""
    if power == 1 or not bool((interactions.data != 1).any()):
        return interactions
    found = interactions.copy()
    found.data **= np.float32(power)
    return found


# The arrays that LightFM keeps of users and of items; the momentum is always 0 without adadelta.
PARTS = ("embeddings", "embedding_gradients", "biases", "bias_gradients")
MOMENTUM = ("embedding_momentum", "bias_momentum")


@cache
def _say_that_lightfm_trains() -> None:
    """Say, once in a process, that training takes longer than it need."""
    emit(
        Note(
            "LightFM trains, several times slower: the training kernel was not compiled when this "
            "package was installed, or is of another release; install a C compiler (gcc or clang), "
            "then the package again"
        )
    )


class Training:
    """One LightFM model in training.

    `advance` in steps gives exactly what one `fit` of as many epochs gives, on any number of
    threads; LightFM, where it trains, on one thread.

    Threads share an epoch that is cut into `blocks`. Models of features have one, since items have
    features in common; so has the loss warp-kos, which chooses among all items of a user. With
    features of a thousand items or more, the losses warp and bpr, and adagrad, more than one block
    means that four groups of items are trained one after the other, see `Kernel`. Few users or
    items are cut into fewer groups, of a thousand: small blocks learn more slowly.

    Parameters
    ----------
    interactions : csr_matrix float32 (n_users, n_items)
        Values other than one are used as sample weights, raised to the power `weight_power`.
        Users and items of whom none is inside of the `window` have vectors by fold-in.
    hyperparameters : LightFMParameters
    seed : int
    threads : int or None
        None for those that are free, as more fits begin and end in this process; one of LightFM,
        where it trains, for which more are faster and not reproducible.
    user_features, item_features : csr_matrix float32 or None
        Rows of feature weights; None for an identity: a vector for each user (or item). Features
        may follow an identity.
    spectrum : Spectrum or None
        Of the interactions, if already computed; for spectral initialisation.
    times : InteractionTimes or None
        When the interactions were, for a half-life or a window.
    spread : Spread or None
        Over which machines epochs in blocks are trained; None for this one. What is learned does
        not depend on it.

    Raises
    ------
    InputError
        If age counts and nobody knows when the interactions were.
    """

    def __init__(
        self,
        interactions: sp.csr_matrix,
        hyperparameters: LightFMParameters,
        seed: int,
        *,
        threads: int | None = None,
        user_features: sp.csr_matrix | None = None,
        item_features: sp.csr_matrix | None = None,
        spectrum: Spectrum | None = None,
        times: InteractionTimes | None = None,
        spread: Spread | None = None,
    ) -> None:
        self._spread = spread
        powered = _raised(interactions, hyperparameters.weight_power)
        fitted = hyperparameters.aging.applied(powered, times)
        self._known, self._fitted = interactions, fitted
        self._weighted = bool((fitted.data != 1).any())
        self._threads = threads
        self._features = {"user_features": user_features, "item_features": item_features}
        self._model = LightFM(**hyperparameters.for_lightfm(), random_state=seed)
        self._kernel = self._choose_kernel(hyperparameters)
        self._spectrum: Spectrum | None = None
        if hyperparameters.initialisation == "spectral":
            self._spectrum = spectrum or Spectrum(interactions, seed)
        self.epoch = 0

    def advance(self, epochs: int) -> None:
        """Train `epochs` more epochs.

        Raises
        ------
        DivergedError
            If the factors are not finite, or far too large. The model is of no use then.
        """
        if self.epoch == 0 and self._spectrum is not None:
            self._begin(self._spectrum)
        try:
            if self._kernel is None:
                self._train_by_lightfm(epochs)
            else:
                self._train_by_kernel(self._kernel, epochs)
        except ValueError as fault:
            if "finite" not in str(fault):
                raise
            raise DivergedError(f"not finite after epoch {self.epoch + epochs}") from fault
        self.epoch += epochs
        largest = max(self._largest("user"), self._largest("item"))
        # The comparison is written so that NaN, which LightFM may let through, is caught as well.
        if not largest < LARGEST_FACTOR:
            raise DivergedError(f"factors of {largest:.3g} after epoch {self.epoch}")

    def _choose_kernel(self, hyperparameters: LightFMParameters) -> Kernel | None:
        """The kernel, or None where LightFM is to train or has to."""
        refused = hyperparameters.loss == "warp-kos" and self._weighted  # LightFM says why
        if hyperparameters.trainer == "lightfm" or refused:
            return None
        if load_kernel() is None:
            _say_that_lightfm_trains()
            return None
        interactions = Interactions(self._fitted, self._weighted)
        users, items = self._features["user_features"], self._features["item_features"]
        least = min(self._fitted.shape) // LEAST_IN_GROUP
        groups, item_groups = max(1, min(hyperparameters.blocks, least)), 0
        if users is not None or items is not None or hyperparameters.loss == "warp-kos":
            groups = 1
        many = self._fitted.shape[1] >= LEAST_WITH_FEATURES and hyperparameters.blocks > 1
        if items is not None and many and has_item_groups(self._model):
            item_groups = ITEM_GROUPS
        return Kernel(self._model, interactions, users, items, groups, item_groups=item_groups)

    def _train_by_lightfm(self, epochs: int) -> None:
        interactions = self._fitted.tocoo()
        self._model.fit_partial(
            interactions,
            sample_weight=interactions if self._weighted else None,
            epochs=epochs,
            num_threads=self._threads or 1,
            **self._features,
        )

    def _train_by_kernel(self, kernel: Kernel, epochs: int) -> None:
        """What LightFM's fit_partial does around its epochs, and the kernel's epochs."""
        model = self._model
        if model.item_embeddings is None:
            self._initialise()
        features = [matrix for matrix in self._features.values() if matrix is not None]
        for matrix in (self._fitted, *features):
            model._check_input_finite(matrix.data)
        if self._spread is not None and kernel.groups > 1:
            self._spread.train(model, kernel.interactions, kernel.groups, epochs)
            model._check_finite()
            return
        with shared(self._threads) as threads:
            for _ in range(epochs):
                add_seconds(kernel.run_epoch(threads()))
                model._check_finite()

    def _initialise(self) -> None:
        """Vectors at random, as LightFM draws them, and accumulators."""
        model = self._model
        rows = dict(zip(("user", "item"), self._fitted.shape, strict=True))
        columns = {
            f"no_{side}_features": count if features is None else features.shape[1]
            for side, count in rows.items()
            for features in (self._features[f"{side}_features"],)
        }
        if self._kernel is None:
            model._initialize(model.no_components, **columns)
        else:
            draw_start(model, **columns, users=self._user_zeros)

    @property
    def _user_zeros(self) -> Callable[[int, int], Float32Array]:
        """What makes the arrays of users, as large as they are: in memory, or in files."""
        spread = self._spread
        if spread is None or spread.folder is None or self._kernel is None:
            return padded
        return partial(mapped_zeros, spread.folder) if self._kernel.groups > 1 else padded

    def _begin(self, spectrum: Spectrum) -> None:
        """Initialise own vectors as singular vectors, the rest at random as LightFM does."""
        model, start = self._model, spectrum.start(self._model.no_components)
        self._initialise()
        n_users, n_items = self._fitted.shape
        if _has_identity(self._features["item_features"], n_items):
            _put_known(model.item_embeddings, slice(0, n_items), start.items)
        if _has_identity(self._features["user_features"], n_users):
            for part, vectors in start.users():
                _put_known(model.user_embeddings, part, vectors)

    def _largest(self, side: str) -> float:
        embeddings = getattr(self._model, f"{side}_embeddings")
        biases = getattr(self._model, f"{side}_biases")
        return float(max(np.maximum(x.max(), -x.min()) for x in (embeddings, biases)))

    @property
    def bytes(self) -> int:
        """Memory that the model holds: vectors, and one or two accumulators for each."""
        model = self._model
        if self.epoch == 0:
            return 0
        arrays = 2 if self._kernel is not None and not self._has_momentum else 3
        both = model.user_embeddings, model.item_embeddings
        return arrays * sum(vectors.shape[0] * vectors.strides[0] for vectors in both)

    def state(self) -> dict[str, AnyArray]:
        """What training resumes from, as arrays by name; not copied, valid until `advance`.

        Vectors and biases of both sides with their accumulators (float32), the number of epochs
        (int64), and the state of the random generator (uint32 (624,), and three numbers).
        """
        generator = self._model.random_state.get_state(legacy=False)
        numbers = generator["state"]["pos"], generator["has_gauss"], generator["gauss"]
        parts = {name: getattr(self._model, name) for name in self._parts()}
        return {
            "epoch": np.array(self.epoch),
            "key": generator["state"]["key"],
            "numbers": np.array(numbers, np.float64),
            **parts,
        }

    def restore(self, state: Mapping[str, AnyArray]) -> None:
        """Resume from what `state` returned, with the same configuration and interactions.

        Further epochs give, to the last bit, what they would have given without the interruption.
        """
        position, has_gauss, gauss = state["numbers"].tolist()
        # A tuple, since NumPy's type of the dictionary does not allow for its real shape.
        self._model.random_state.set_state(
            ("MT19937", state["key"], int(position), int(has_gauss), gauss)
        )
        for name in self._parts():
            setattr(self._model, name, state[name])
        for side in ("user", "item") if not self._has_momentum else ():
            for name, like in zip(MOMENTUM, ("embeddings", "biases"), strict=True):
                zeros = np.zeros(state[f"{side}_{like}"].shape, np.float32)
                setattr(self._model, f"{side}_{name}", zeros)
        self.epoch = int(state["epoch"])

    @property
    def _has_momentum(self) -> bool:
        return bool(self._model.learning_schedule == "adadelta")

    def _parts(self) -> list[str]:
        parts = PARTS + (MOMENTUM if self._has_momentum else ())
        return [f"{side}_{part}" for side in ("user", "item") for part in parts]

    def factors(self) -> Factors:
        """A copy of the representations (float32), features summed into them.

        Those of users are in a file where the fit is spread and has a folder for them.
        """
        user_biases, user_factors = self._representation("user")
        item_biases, item_factors = self._representation("item")
        factors = Factors(user_factors, item_factors, user_biases, item_biases)
        return place_outside(factors, self._fitted, self._known)

    def _representation(self, side: str) -> tuple[Any, Any]:
        features = self._features[f"{side}_features"]
        if features is None:
            biases = getattr(self._model, f"{side}_biases")
            embeddings = getattr(self._model, f"{side}_embeddings")
            zeros = self._user_zeros if side == "user" else padded
            if zeros is padded:
                return biases.copy(), embeddings.copy()
            copy = zeros(*embeddings.shape)
            copy[:] = embeddings
            return biases.copy(), copy
        biases, embeddings = getattr(self._model, f"get_{side}_representations")(features)
        return np.ascontiguousarray(biases, np.float32), np.ascontiguousarray(
            embeddings, np.float32
        )

    def feature_vectors(self, side: str, count: int) -> tuple[Float32Array, Float32Array]:
        """Copies of the vectors, float32 (count, d), and biases of the last columns of features.

        They follow the identity block of "user" or "item".
        """
        embeddings = getattr(self._model, f"{side}_embeddings")[-count:]
        return embeddings.copy(), getattr(self._model, f"{side}_biases")[-count:].copy()

    def view(self) -> Factors:
        """The representations as they are now, not copied where there is nothing to sum.

        Valid until the next `advance`, which changes them in place; for measuring between rungs.
        """
        left_out = self._fitted.nnz < self._known.nnz
        if left_out or any(matrix is not None for matrix in self._features.values()):
            return self.factors()
        model = self._model
        return Factors(
            model.user_embeddings, model.item_embeddings, model.user_biases, model.item_biases
        )
