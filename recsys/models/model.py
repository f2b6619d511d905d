"""The interface of models: a frozen configuration that fits interactions and gives a scorer."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import fields
from importlib import import_module
from typing import Any, ClassVar, TypeVar, cast

import numpy as np
import scipy.sparse as sp

from recsys.base.durations import AGING
from recsys.base.errors import ConfigError, InputError
from recsys.data.ages import ALL, InteractionTimes
from recsys.ranking.factors import Factors
from recsys.ranking.scorer import Scorer

MODELS = {
    "als": "recsys.models.als:Als",
    "bpr": "recsys.models.bpr:Bpr",
    "ease": "recsys.models.ease:Ease",
    "itemknn": "recsys.models.itemknn:ItemKnn",
    "lightfm": "recsys.models.hybrid:LightFM",
    "popularity": "recsys.models.popularity:Popularity",
    "rp3beta": "recsys.models.rp3beta:Rp3Beta",
}
"""Every model by name: the module it is in, which is imported when it is asked for, and class."""

Self = TypeVar("Self", bound="Model")


class Model(ABC):
    """A model before it is fitted: its hyper-parameters, and how it learns from interactions.

    A model is a frozen dataclass in a file of its own, whose fields are its hyper-parameters, all
    with a default, checked in `__post_init__`, and of types that JSON has (a blend may have
    other models as fields). It defines `_fit` and `name`, and has a line in `MODELS`. What it
    promises is tested for all of them in tests/models/test_contract.py:

    - `fit` changes neither the model nor the interactions, and keeps no reference to them that
      a later change of theirs would reach;
    - the same interactions, seed and one thread give the same bytes;
    - the order in which a row's interactions are stored makes no difference;
    - all scores are finite, float32 and of the stated shape, for users and items without
      interactions as well;
    - `model_from_dict(json.loads(json.dumps(model.to_dict())))` equals the model.

    Most models are factor models, see `FactorModel`. Others need not be: a model from items to
    items returns a scorer that multiplies a user's row of interactions with its item-item matrix,
    and a blend one that adds the scores of two others. Ranking, metrics and leaderboards take
    either.
    """

    name: ClassVar[str]
    """As in `MODELS`, in configurations and on leaderboards."""

    def fit(
        self,
        interactions: sp.csr_matrix,
        *,
        seed: int = 0,
        threads: int = 1,
        times: InteractionTimes | None = None,
    ) -> Scorer:
        """Fit the interactions.

        Parameters
        ----------
        interactions : csr_matrix float32 (n_users, n_items)
            The weight of each interaction, above 0; absent ones are not stored.
        seed : int
        threads : int
            More than one may be faster; where it would change the result, one is used, except by
            LightFM where it trains itself.
        times : InteractionTimes or None
            When the interactions were; of use to models with a half-life or a window alone.

        Returns
        -------
        Scorer
            Of the users and items of the matrix.

        Raises
        ------
        InputError
            If a weight is not a positive number, the model diverges, or age counts and there are
            no times.
        """
        return self._fit_timed(_checked(interactions), seed, threads, times)

    @abstractmethod
    def _fit(self, interactions: sp.csr_matrix, seed: int, threads: int) -> Scorer:
        """`fit`, with rows in item order, without duplicates, all weights positive and finite."""

    def _fit_timed(
        self, interactions: sp.csr_matrix, seed: int, threads: int, times: InteractionTimes | None
    ) -> Scorer:
        """`_fit`; a model with a half-life or a window defines this one as well."""
        return self._fit(interactions, seed, threads)

    def hyperparameters(self) -> dict[str, Any]:
        """The hyper-parameters as JSON has them; models among them as `to_dict` gives them.

        A half-life or a window is named where there is one.
        """
        values = {entry.name: getattr(self, entry.name) for entry in fields(cast(Any, self))}
        values = {n: v for n, v in values.items() if n not in AGING or v != ALL}
        return {n: v.to_dict() if isinstance(v, Model) else v for n, v in values.items()}

    def to_dict(self) -> dict[str, Any]:
        """The name, under `model`, and the hyper-parameters."""
        return {"model": self.name, **self.hyperparameters()}

    @classmethod
    def from_dict(cls: type[Self], values: Mapping[str, Any]) -> Self:
        """A model of this class from hyper-parameters, without `model`.

        Raises
        ------
        ConfigError
            If a hyper-parameter is unknown, or its value is not allowed.
        """
        known = {entry.name for entry in fields(cast(Any, cls))}
        if unknown := sorted(set(values) - known):
            raise ConfigError(
                f"{cls.name} has no hyper-parameter {unknown[0]!r}",
                f"one of {', '.join(sorted(known))}" if known else "none",
                "rename it, or leave it out",
            )
        return cls(**{name: _value(value) for name, value in values.items()})


class FactorModel(Model):
    """A model that fits factors: all that a bundle, and with it serving, needs of one."""

    def fit(
        self,
        interactions: sp.csr_matrix,
        *,
        seed: int = 0,
        threads: int = 1,
        times: InteractionTimes | None = None,
    ) -> Factors:
        """As `Model.fit`; returns `recsys.ranking.factors.Factors`."""
        factors = self._fit_timed(_checked(interactions), seed, threads, times)
        if not factors.finite():
            raise InputError(
                f"{self.name} with {self.hyperparameters()} diverged",
                "factors that stay finite",
                "lower its learning rate, or raise its regularization",
            )
        return factors

    @abstractmethod
    def _fit(self, interactions: sp.csr_matrix, seed: int, threads: int) -> Factors:
        """As `Model._fit`."""

    def _fit_timed(
        self, interactions: sp.csr_matrix, seed: int, threads: int, times: InteractionTimes | None
    ) -> Factors:
        """As `Model._fit_timed`."""
        return self._fit(interactions, seed, threads)


def model_class(name: str) -> type[Model]:
    """The class of a model by its name in `MODELS`.

    Raises
    ------
    ConfigError
        If there is none of that name.
    """
    if name not in MODELS:
        raise ConfigError(
            f"no model {name!r}", f"one of {', '.join(sorted(MODELS))}", "check the spelling"
        )
    module, attribute = MODELS[name].split(":")
    found: type[Model] = getattr(import_module(module), attribute)
    return found


def model_from_dict(values: Mapping[str, Any]) -> Model:
    """The model that `Model.to_dict` wrote.

    Raises
    ------
    ConfigError
        If the name or a hyper-parameter is unknown, or a value is not allowed.
    """
    rest = dict(values)
    return model_class(str(rest.pop("model", None))).from_dict(rest)


def _value(value: Any) -> Any:
    """A hyper-parameter: a model where a mapping names one, plain Python numbers."""
    if isinstance(value, Mapping) and "model" in value:
        return model_from_dict(value)
    return value.item() if isinstance(value, np.generic) else value


def _checked(interactions: sp.csr_matrix) -> sp.csr_matrix:
    """The matrix as `_fit` takes it; a copy where it has to be put in order."""
    if not bool((np.isfinite(interactions.data) & (interactions.data > 0)).all()):
        raise InputError(
            "an interaction whose weight is no positive number",
            "weights above 0",
            "leave it out, or give it a weight",
        )
    if interactions.has_canonical_format and interactions.dtype == np.float32:
        return interactions
    ordered = interactions.astype(np.float32, copy=True)
    ordered.sum_duplicates()
    return ordered
