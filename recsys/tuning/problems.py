"""Problems: the data and the objective of a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any

import scipy.sparse as sp

from recsys.base.arrays import Float64Array, IntArray
from recsys.data import persistence
from recsys.data.ages import InteractionTimes
from recsys.data.features import EncodedFeatures
from recsys.data.folds import further_search_folds, search_fold
from recsys.data.outcomes import Encoded, HeldOut, HeldOutByFiles
from recsys.data.splits import not_ranked
from recsys.models.hybrid import FeaturesBySide, SideFeatures, start_training
from recsys.models.lightfm import Training
from recsys.models.spectral import Spectrum
from recsys.ranking.metrics import precision_at_k
from recsys.ranking.scorer import Scorer
from recsys.store.stages import Stage


@dataclass(frozen=True)
class Problem:
    """The data that a study trains and validates on, and its objective.

    Parameters
    ----------
    train, validation : csr_matrix float32 (n_users, n_items)
    k : int
        The objective is mean validation precision_at_k, training interactions masked.
    seed : int
        Of the model's initialisation and its sampling.
    masked : bool
        False leaves the training interactions in the ranking, as the founding article does.
    sides : FeaturesBySide or None
        Features, for configurations whose strategy is to train with them.
    hidden : csr_matrix float32 or None
        Pairs that no list has, beside the training interactions where these are masked.
    times : InteractionTimes or None
        When the training interactions were.
    """

    train: sp.csr_matrix
    validation: sp.csr_matrix
    k: int = 5
    seed: int = 0
    masked: bool = True
    sides: FeaturesBySide | None = None
    hidden: sp.csr_matrix | None = None
    times: InteractionTimes | None = None

    def precision(self, scorer: Scorer) -> float:
        """The objective: mean precision_at_k over users with validation interactions."""
        return float(self.precisions(scorer).mean())

    def precisions(self, scorer: Scorer) -> Float64Array:
        """What the objective is the mean of: float64 (users with validation interactions,)."""
        known = self._not_ranked if self.masked else None
        return precision_at_k(scorer, self.validation, known=known, k=self.k)

    def training(self, configuration: Mapping[str, Any]) -> Training:
        """An untrained model of a configuration."""
        return start_training(
            self.train,
            configuration,
            self.seed,
            self.sides,
            spectrum=self._spectrum,
            times=self.times,
        )

    @cached_property
    def _not_ranked(self) -> sp.csr_matrix:
        return not_ranked(self.train, self.validation, self.hidden)

    @cached_property
    def _spectrum(self) -> Spectrum:
        """Singular vectors of the training interactions, which all trials share."""
        return Spectrum(self.train, self.seed)


def load_problem(
    holdouts: Stage[HeldOut], features: Stage[Encoded], seed: int, masked: bool = True
) -> Problem:
    """Read a problem from the products of the stages.

    Parameters
    ----------
    holdouts, features : Stage
        Of `split` and `encode`.
    seed : int
    masked : bool
        See `Problem`.
    """
    fold = search_fold(persistence.load_split(Path(holdouts.path)))
    sides = load_sides(features, fold.known.shape, fold.places)
    return Problem(
        fold.known,
        fold.heldout,
        seed=seed,
        masked=masked,
        sides=sides,
        hidden=fold.hidden,
        times=fold.times,
    )


def further_problems(
    holdouts: Stage[HeldOut], problem: Problem, count: int
) -> Callable[[], list[Problem]] | None:
    """Makes the same problem with other likes of the validation users held out.

    None where there are no others: the last likes, those after a cut and those that a file names
    are always the same.

    Parameters
    ----------
    holdouts : Stage
        What the problem was read from.
    problem : Problem
    count : int
    """
    parts = persistence.load_split(Path(holdouts.path))
    named = isinstance(holdouts.outcome, HeldOutByFiles)
    if not count or named or parts.time is not None or holdouts.outcome.tied is not None:
        return None
    return lambda: [
        replace(
            problem,
            train=fold.known,
            validation=fold.heldout,
            times=fold.times,
            sides=None,  # only trials without features are raced
        )
        for fold in further_search_folds(parts, count, problem.seed)
    ]


def load_sides(
    features: Stage[Encoded],
    shape: tuple[int, int],
    places: Mapping[str, IntArray | None] = MappingProxyType({}),
) -> FeaturesBySide | None:
    """Read the encoded features of users and items; None where there are none.

    Parameters
    ----------
    features : Stage
        Of `encode`.
    shape : (int, int)
        Numbers of users and items that are trained; the first rows of the features are theirs.
    places : mapping of str to (int (n_trained,) or None)
        Which of the core's users ("user") and items ("item") are trained, where it is not all of
        them: their rows come first, then those of the others.
    """
    found: dict[str, SideFeatures] = {}
    for name, trained in zip(("user", "item"), shape, strict=True):
        if (encoded := load_features(features, name, places)) is not None:
            how = features.outcome
            found[name] = SideFeatures(
                encoded, trained, how.identity, how.normalisation, how.weight
            )
    return FeaturesBySide(**found) if found else None


def load_features(
    features: Stage[Encoded], side: str, places: Mapping[str, IntArray | None]
) -> EncodedFeatures | None:
    """Read the encoded features of one side, those that are trained first; None without any.

    Parameters
    ----------
    features : Stage
    side : {"user", "item"}
    places
        See `load_sides`.
    """
    encoded = persistence.load_encoded(Path(features.path), side)
    chosen = places.get(side)
    return encoded if encoded is None or chosen is None else encoded.with_first(chosen)
