"""Comparison: strategies for features on warm users, cold items, new users and hidden tags."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from typing import Any

import numpy as np
import scipy.sparse as sp

from recsys.base.arrays import Float64Array
from recsys.base.cores import cpu_seconds
from recsys.data.ages import InteractionTimes
from recsys.evaluation.cold_start import (
    ColdStartHoldout,
    ContentScorer,
    best_blending,
    blend_sweep,
    cold_factors,
    cold_metrics,
    estimates,
    measure_foldin,
    shuffled_profiles,
)
from recsys.evaluation.holdouts import Estimate
from recsys.evaluation.metric_names import HEADLINE
from recsys.evaluation.tag_suggestion import measure_suggestions
from recsys.models.configuration import parse_configuration
from recsys.models.hybrid import FeaturesBySide, HybridModel, count_likes, fit_hybrid, map_features
from recsys.models.mapping import fit_mapping
from recsys.models.spreading import Spread
from recsys.ranking.factors import Factors
from recsys.ranking.metrics import bootstrap_interval, paired_bootstrap, precision_at_k
from recsys.tuning.space import Configuration

Submit = Callable[..., "Future[dict[str, FittedStrategy]]"]


@dataclass(frozen=True)
class TriedStrategy:
    """The best trial of a strategy: its configuration, and the epochs it was trained for."""

    configuration: Configuration
    epochs: int


@dataclass(frozen=True)
class FittedStrategy:
    """A strategy's model and the CPU seconds that its training took."""

    model: HybridModel
    seconds: float


class StrategyFits:
    """Fits of all strategies; those without joint training share a model.

    Parameters
    ----------
    tried : mapping of str to TriedStrategy
        By strategy.
    interactions : csr_matrix float32 (n_users, n_items)
    sides : FeaturesBySide or None
    seed : int
    submit : callable
        Runs a function with arguments and returns a future, as an executor's `submit` does.
    times : InteractionTimes or None
        When the interactions were, for configurations with a half-life or a window.
    spread : Spread or None
        Over which machines they are trained; None for this one.
    """

    def __init__(
        self,
        tried: Mapping[str, TriedStrategy],
        interactions: sp.csr_matrix,
        sides: FeaturesBySide | None,
        seed: int,
        submit: Submit,
        times: InteractionTimes | None = None,
        spread: Spread | None = None,
    ) -> None:
        arguments = interactions, sides, seed, times, spread
        plain = {name: trial for name, trial in tried.items() if name != "joint"}
        joint = {name: trial for name, trial in tried.items() if name == "joint"}
        self._futures = [submit(_fit, part, *arguments) for part in (plain, joint) if part]

    def results(self) -> dict[str, FittedStrategy]:
        """Wait for all fits; raises what a fit raised."""
        found: dict[str, FittedStrategy] = {}
        for future in self._futures:
            found |= future.result()
        return found


def _fit(
    tried: Mapping[str, TriedStrategy],
    interactions: sp.csr_matrix,
    sides: FeaturesBySide | None,
    seed: int,
    times: InteractionTimes | None,
    spread: Spread | None,
) -> dict[str, FittedStrategy]:
    """Train one model, and let each strategy use features with it."""
    start = cpu_seconds()
    name, trial = next(iter(tried.items()))
    model = fit_hybrid(
        interactions, trial.configuration, trial.epochs, seed, sides, times=times, spread=spread
    )
    found = {name: FittedStrategy(model, cpu_seconds() - start)}
    for other, also in tried.items():
        if other != name:
            assert sides is not None, "nothing is mapped without features"
            again = cpu_seconds()
            parameters = parse_configuration(also.configuration)[1]
            made = map_features(model.own, interactions, parameters, sides)
            seconds = found[name].seconds + cpu_seconds() - again
            found[other] = FittedStrategy(made, seconds)
    return found


def warm(
    fitted: Mapping[str, FittedStrategy],
    heldout: sp.csr_matrix,
    known: sp.csr_matrix,
    *,
    seed: int,
    samples: int,
) -> dict[str, Any]:
    """Measure strategies on warm users, and how far each is above the one without features.

    Parameters
    ----------
    fitted : mapping of str to FittedStrategy
        Trained on `known`.
    heldout, known : csr_matrix (n_users, n_items)
    seed, samples : int
        Of the bootstrap.

    Returns
    -------
    dict
        By strategy, `precision_at_5` and `above_none` (the paired difference), with intervals.
    """
    values = {
        name: precision_at_k(entry.model.factors, heldout, known=known, k=5)
        for name, entry in fitted.items()
    }
    rows: dict[str, Any] = {}
    for name, own in values.items():
        rows[name] = {HEADLINE: _interval(own, seed, samples)}
        if name != "none" and "none" in values:
            difference = paired_bootstrap(own, values["none"], seed, samples=samples)
            rows[name]["above_none"] = Estimate.of(difference).as_dict()
    return rows


def _interval(values: Float64Array, seed: int, samples: int) -> dict[str, float | None]:
    return Estimate.of(bootstrap_interval(values, seed, samples=samples)).as_dict()


def cold(
    fitted: Mapping[str, FittedStrategy],
    tried: Mapping[str, TriedStrategy],
    held: ColdStartHoldout,
    *,
    seed: int,
    samples: int,
) -> dict[str, Any]:
    """Measure rankings of cold items by features alone, beside those of three controls.

    The controls are content without a model, popularity, and a mapping learned from features that
    were shuffled among items.

    Parameters
    ----------
    fitted : mapping of str to FittedStrategy
        Trained on `held.train`.
    tried : mapping of str to TriedStrategy
    held : ColdStartHoldout
    seed, samples : int
        Of the bootstrap.

    Returns
    -------
    dict
        `items`, `users`, `models` (metrics with intervals by name) and `above_content` (the
        paired difference of precision at 5, by strategy).
    """
    scorers: dict[str, Any] = {}
    for name, entry in fitted.items():
        information = entry.model.item
        assert information is not None
        rows = information.profiles.rows(held.cold)
        scorers[name] = cold_factors(entry.model.factors, information.mapping, rows)
    reference = "mapped" if "mapped" in fitted else "none"
    if reference in fitted:
        scorers |= _controls(fitted[reference].model, tried[reference], held, seed)
    measured = {name: cold_metrics(scorer, held.items) for name, scorer in scorers.items()}
    differences = {
        name: Estimate.of(
            paired_bootstrap(
                measured[name][HEADLINE], measured["content"][HEADLINE], seed, samples=samples
            )
        ).as_dict()
        for name in fitted
        if "content" in measured
    }
    return {
        "items": len(held.cold),
        "users": int((np.diff(held.items.indptr) > 0).sum()),
        "models": {name: estimates(values, seed, samples) for name, values in measured.items()},
        "above_content": differences,
    }


def _controls(
    model: HybridModel, trial: TriedStrategy, held: ColdStartHoldout, seed: int
) -> dict[str, Any]:
    """Scorers by content, by numbers of interactions (all 0) and by shuffled features."""
    assert model.item is not None
    profiles = model.item.profiles
    parameters = parse_configuration(trial.configuration)[1]
    shuffled = shuffled_profiles(profiles, seed)
    liked = np.flatnonzero(count_likes(held.train, "item"))
    mapping = fit_mapping(shuffled, model.own, liked, parameters.penalty, parameters.bias_gain)
    equal = np.zeros(len(held.cold), np.float32)
    return {
        "content": ContentScorer(profiles, held.train, profiles.rows(held.cold)),
        "popularity": Factors(
            np.empty((held.train.shape[0], 0), np.float32),
            np.empty((len(held.cold), 0), np.float32),
            np.zeros(held.train.shape[0], np.float32),
            equal,
        ),
        "shuffled": cold_factors(model.factors, mapping, shuffled.rows(held.cold)),
    }


def compare(
    fitted: Mapping[str, FittedStrategy],
    cold_start: Mapping[str, FittedStrategy],
    tried: Mapping[str, TriedStrategy],
    held: ColdStartHoldout,
    heldout: sp.csr_matrix,
    known: sp.csr_matrix,
    *,
    seed: int,
    samples: int,
) -> dict[str, Any]:
    """Measure all that features and fold-in are good for.

    Parameters
    ----------
    fitted, cold_start : mapping of str to FittedStrategy
        Trained on `known`, and on `held.train`.
    tried : mapping of str to TriedStrategy
    held : ColdStartHoldout
    heldout, known : csr_matrix (n_users, n_items)
    seed, samples : int
        Of the bootstrap.

    Returns
    -------
    dict
        Ready for JSON: `warm` and `foldin`; with cold items that have features `cold`, `blend` and
        `cold_blending`; `suggestion` if there are features to hide.
    """
    reference = next(name for name in ("mapped", "none", "joint") if name in cold_start)
    model, refit = cold_start[reference].model, fitted[reference].model
    found: dict[str, Any] = {
        "warm": warm(fitted, heldout, known, seed=seed, samples=samples),
        "foldin": measure_foldin(model, refit.factors, held, known, seed, samples),
    }
    if model.item is not None and len(held.cold):
        found["cold"] = cold(cold_start, tried, held, seed=seed, samples=samples)
        found["blend"] = blend_sweep(model, held, seed)
        found["cold_blending"] = best_blending(found["blend"])
    if refit.item is not None:
        own = refit.own.item_factors
        if (asked := measure_suggestions(refit.item, own, seed)) is not None:
            found["suggestion"] = asked
    return found
