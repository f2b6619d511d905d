"""Fitting in a notebook: a model by its name, on interactions and features, ready to be asked."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
from threadpoolctl import threadpool_limits

from recsys.base.errors import InputError
from recsys.bundle import Bundle, assemble, save_bundle
from recsys.data.everyone import Everyone, all_likes, core_first
from recsys.data.features import FeatureTable, encode
from recsys.data.idmap import IdMap
from recsys.data.splits import times_of
from recsys.data.tables import Source
from recsys.models.hybrid import FeaturesBySide, HybridModel, LightFM, SideFeatures
from recsys.models.model import Model, model_from_dict
from recsys.notebook.data import InteractionData
from recsys.notebook.reading import read_features
from recsys.ranking.factors import Factors
from recsys.ranking.scorer import Scorer


@dataclass(frozen=True, repr=False)
class FittedModel:
    """A model and what it has learned.

    Parameters
    ----------
    model : Model
        Its configuration.
    scorer : Scorer
        Scores the items of `train` for its users.
    train : InteractionData
        What it was fitted on.
    seed : int
    hybrid : HybridModel or None
        What was learned of features; None for a scorer that is no factors.
    users, items : IdMap
        Those of `train`; behind them those below its core, and those that only have features.
    names : pyarrow string array (len(items),) or None
    """

    model: Model
    scorer: Scorer
    train: InteractionData
    seed: int
    hybrid: HybridModel | None
    users: IdMap
    items: IdMap
    names: pa.Array | None

    def __repr__(self) -> str:
        values = self.model.hyperparameters()
        default = type(self.model)().hyperparameters()
        said = [f"{n}={value!r}" for n, value in values.items() if value != default.get(n)]
        return (
            f"<FittedModel {self.model.name}({', '.join(said)}): {len(self.users):,} users, "
            f"{len(self.items):,} items>"
        )

    @cached_property
    def bundle(self) -> Bundle:
        """The portable model: what `Recommender` asks and `save` writes.

        Raises
        ------
        InputError
            If the model has no factors.
        """
        if self.hybrid is None:
            raise InputError(
                f"{self.model.name} has no vectors of users and items, which a recommender asks",
                "a factor model, such as lightfm or als",
                "add it to one, as in recsys.fit(train, neighbours='ease', neighbours_weight=2.0), "
                "or use its scores: recsys.ranking.top_k(model.scorer, …)",
            )
        about = {
            "model": self.model.name,
            "configuration": self.model.hyperparameters(),
            "started_from": [],
            "seed": self.seed,
            "counts": self.train.interactions.counts(),
        }
        return assemble(
            self.hybrid,
            self.train.interactions,
            self.items,
            self.names,
            about,
            self._everyone(),
        )

    def _everyone(self) -> Everyone:
        """The likes of all users, trained or not, and what is hidden from them."""
        whole = self.train.everything()
        places = whole.users.places_in(self.users), whole.items.places_in(self.items)
        everyone = all_likes(whole.interactions, self.users, *places)
        hidden = self.train.hidden_rows(self.users, self.items)
        if hidden is None:
            return everyone
        return replace(everyone, hidden_indptr=hidden[0], hidden_indices=hidden[1])

    def save(self, folder: str | Path) -> Path:
        """Write the bundle into a new or empty folder, for `recsys.load`; returns the folder.

        Raises
        ------
        InputError
            If the folder has something in it, or the model has no factors.
        """
        target = Path(folder)
        if target.exists() and (not target.is_dir() or any(target.iterdir())):
            raise InputError(f"{target} is not empty", "a new or empty folder", "name another")
        target.mkdir(parents=True, exist_ok=True)
        save_bundle(target, self.bundle)
        return target


def fit(
    train: InteractionData,
    model: str | Mapping[str, Any] | Model = "lightfm",
    *,
    features: FeatureTable | Source | Sequence[FeatureTable | Source] | None = None,
    user_features: FeatureTable | Source | Sequence[FeatureTable | Source] | None = None,
    epochs: int | None = None,
    seed: int = 0,
    threads: int = 1,
    **hyperparameters: Any,
) -> FittedModel:
    """Fit a model.

    Parameters
    ----------
    train : InteractionData
    model : {"lightfm", "als", "bpr", "popularity"}, mapping or Model
        A name; a configuration as `Model.to_dict` gives it; or a model itself.
    features, user_features : FeatureTable, DataFrame, path, a list of such, or None
        Of items and of users, see `read_features`; for lightfm. Items that only have features can
        be asked like any other.
    epochs : int or None
        Passes over the interactions, of a model that has such.
    seed : int
    threads : int
        Of lightfm with several `blocks`, which learns the same on any number.
    **hyperparameters
        Of the model, beside its own or those of `model`; such as no_components=64, or
        half_life="1y" where `train` has times.

    Returns
    -------
    FittedModel

    Raises
    ------
    ConfigError
        If the model or a hyper-parameter is unknown, or a value is not allowed.
    InputError
        If the model diverges, or takes no features and there are some.
    """
    if epochs is not None:
        hyperparameters["epochs"] = epochs
    chosen = _chosen(model, hyperparameters)
    tables = {
        kind: source
        if source is None or isinstance(source, FeatureTable)
        else read_features(source, kind=kind)
        for kind, source in (("item", features), ("user", user_features))
    }
    users, items = _all_ids(train, "user", tables["user"]), _all_ids(train, "item", tables["item"])
    sides: dict[str, SideFeatures] = {}
    for kind, ids, trained in (("item", items, train.items), ("user", users, train.users)):
        if (table := tables[kind]) is not None:
            _require_features(chosen)
            sides[kind] = SideFeatures(encode(table, ids, counted=len(trained)), len(trained))
    known = users, items, _names(train, items)
    times = times_of(train.interactions)
    # Sums of products differ in their last bits with the threads that share them.
    with threadpool_limits(1, user_api="blas"):
        if isinstance(chosen, LightFM):
            hybrid = chosen.fit_with_features(
                train.matrix(),
                FeaturesBySide(**sides) if sides else None,
                seed=seed,
                threads=threads,
                times=times,
            )
            scorer = hybrid.scorer(train.matrix())
            return FittedModel(chosen, scorer, train, seed, hybrid, *known)
        fitted = chosen.fit(train.matrix(), seed=seed, threads=threads, times=times)
    learned = HybridModel(fitted, fitted) if isinstance(fitted, Factors) else None
    return FittedModel(chosen, fitted, train, seed, learned, *known)


def _chosen(model: str | Mapping[str, Any] | Model, values: Mapping[str, Any]) -> Model:
    if isinstance(model, Model):
        model = model.to_dict() if values else model
    if isinstance(model, Model):
        return model
    base = {"model": model} if isinstance(model, str) else dict(model)
    return model_from_dict({**base, **values})


def _require_features(model: Model) -> None:
    if not isinstance(model, LightFM):
        raise InputError(
            f"{model.name} takes no features", "lightfm", "leave the features out, or fit lightfm"
        )


def _all_ids(train: InteractionData, side: str, features: FeatureTable | None) -> IdMap:
    """The ids that are trained, then those below the core, then those that only have features."""
    own, everything = (getattr(data, f"{side}s") for data in (train, train.below or train))
    described = None if features is None else features.owners
    return IdMap(core_first(everything, own.places_in(everything), described)[0], side)


def _names(train: InteractionData, items: IdMap) -> pa.Array | None:
    """What items are called; their ids where they have no name."""
    whole = train.below or train
    if whole.names is None:
        return None
    place = pc.index_in(items.ids, value_set=whole.items.ids)
    return pc.coalesce(whole.names.take(place), items.ids)
