"""The plan: how features take part in a model, under the names of a search's configuration."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Literal, get_args

from recsys.base.errors import ConfigError
from recsys.models.lightfm import Hyperparameters

Strategy = Literal["none", "mapped", "joint"]
Norm = Literal["l1", "l2"]


@dataclass(frozen=True)
class Plan:
    """What is done with features; hyper-parameters beside those of LightFM.

    Parameters
    ----------
    strategy : {"none", "mapped", "joint"}
        Identity only; identity only and feature vectors by regression afterwards; an identity
        block and the features trained together, as in the founding article.
    penalty, bias_gain : float
        Of the regression; see `recsys.models.mapping`.
    leaning : float
        Trained items lean on their features like items to come, with this strength.
    pooling : float
        The share of a trained user's vector that is folded in from their likes, from 0 to 1. Not
        with `joint`.
    strength : float
        The share of features in an item to come is strength / (strength + likes).
    min_support : int
        `joint`: features on fewer items are left out.
    normalisation : {"l1", "l2"} or None
        `joint`: rows of features scaled to this norm; None leaves them as they were encoded.
    feature_weight : float
        `joint`: factor on the features beside an identity of one.
    features_below : int or None
        `joint`: only items with fewer likes have features; None for all.
    """

    strategy: Strategy = "none"
    penalty: float = 1.0
    bias_gain: float = 1.0
    leaning: float = 0.0
    pooling: float = 0.0
    strength: float = 5.0
    min_support: int = 1
    normalisation: Norm | None = None
    feature_weight: float = 1.0
    features_below: int | None = None

    def __post_init__(self) -> None:
        for name, allowed in (("strategy", Strategy), ("normalisation", Norm)):
            value = getattr(self, name)
            if value is not None and value not in get_args(allowed):
                raise ConfigError(
                    f"{name} {value!r}", f"one of {', '.join(get_args(allowed))}", "mend its space"
                )


PLAN_NAMES = frozenset(entry.name for entry in fields(Plan))


def parse(configuration: Mapping[str, Any]) -> tuple[Hyperparameters, Plan]:
    """What LightFM is told, and the plan for the features.

    Raises
    ------
    ConfigError
        If a name is of neither, or a value is not allowed.
    """
    ours = {name: value for name, value in configuration.items() if name in PLAN_NAMES}
    rest = {name: value for name, value in configuration.items() if name not in PLAN_NAMES}
    return Hyperparameters.from_dict(rest), Plan(**ours)
