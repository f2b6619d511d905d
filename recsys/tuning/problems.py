"""Problems: what a study tunes on, read from its stages."""

from __future__ import annotations

from pathlib import Path

from recsys.data import persistence
from recsys.data.outcomes import Encoded, HeldOut
from recsys.models.hybrid import FeaturesBySide, SideFeatures
from recsys.store.stages import Stage
from recsys.tuning.trials import Problem


def load_problem(
    holdouts: Stage[HeldOut], features: Stage[Encoded], seed: int, masked: bool = True
) -> Problem:
    """What a study tunes on, read from its stages."""
    parts = persistence.load_split(Path(holdouts.path))
    sides = load_sides(features, parts.train.shape)
    return Problem(parts.train, parts.validation, seed=seed, masked=masked, sides=sides)


def load_sides(features: Stage[Encoded], shape: tuple[int, int]) -> FeaturesBySide | None:
    """The encoded features of both sides; None where there are none.

    Parameters
    ----------
    features : Stage
        Of `encode`.
    shape : (int, int)
        Users and items that are trained; they lead the encoded rows.
    """
    found: dict[str, SideFeatures] = {}
    for name, trained in zip(("user", "item"), shape, strict=True):
        encoded = persistence.load_encoded(Path(features.path), name)
        if encoded is not None:
            how = features.outcome
            found[name] = SideFeatures(
                encoded, trained, how.identity, how.normalisation, how.weight
            )
    return FeaturesBySide(**found) if found else None
