"""Evaluation: winner and baselines measured once on the test holdout, as a stage."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import scipy.sparse as sp
from threadpoolctl import threadpool_limits

from recsys.base import config
from recsys.data import persistence
from recsys.data.ages import InteractionTimes
from recsys.data.folds import Fold, final_fold, search_fold
from recsys.data.outcomes import Encoded, HeldOut
from recsys.data.splits import Split, TimeParts, not_ranked
from recsys.evaluation.beyond_precision import measure_beyond_precision
from recsys.evaluation.cold_start import ColdStartHoldout, withhold
from recsys.evaluation.comparison import FittedStrategy, StrategyFits, TriedStrategy, compare
from recsys.evaluation.diversity import measure_diversity
from recsys.evaluation.holdouts import Measured, as_leaderboard, differences, measure
from recsys.evaluation.metric_names import BLEND, HEADLINE, LIGHTFM
from recsys.evaluation.newcomers import measure_new_items, measure_new_users
from recsys.evaluation.segments import measure_segments
from recsys.models.blending import fit_neighbours, without_neighbours
from recsys.models.configuration import HybridParameters, parse_configuration
from recsys.models.item_to_item import NeighbourScorer
from recsys.models.model import Model, model_from_dict
from recsys.models.popularity import Popularity
from recsys.pipeline.measurements import load_segments, save_evaluation
from recsys.pipeline.model_seconds import model_seconds
from recsys.pipeline.outcomes import Chosen, Evaluated
from recsys.ranking.factors import Factors
from recsys.ranking.neighbours import Blended, Neighbours
from recsys.ranking.scorer import Scorer
from recsys.store.stages import Stage, Timed, stage, write_json
from recsys.tuning.baselines import SPACES, tune_baseline
from recsys.tuning.problems import load_sides

NEWCOMERS = "newcomers.json"


@stage(Evaluated, version=12, unkeyed=("workers",))
def evaluate(
    folder: Path,
    holdouts: Stage[HeldOut],
    features: Stage[Encoded],
    chosen: Stage[Chosen],
    options: config.Evaluate,
    seed: int,
    workers: int = 1,
) -> Timed[Evaluated]:
    """Refit winner and baselines on train and validation; measure each once on the test holdout.

    Where there is one holdout only (the founding article's protocol), they are fitted on train
    and measured on it, although the search has seen it; the outcome says which. What features are
    good for is measured beside it, for each strategy that was tried (`strategies.json`), what
    lists of different items cost and gain (`diversity.json`), how good the models are for parts
    of the users and items (`segments.json`), what their lists are beyond precision
    (`beyond.json`), and under a split by time how well users and items that came after the cut are
    served (`newcomers.json`).
    """
    parts = persistence.load_split(Path(holdouts.path))
    fold = final_fold(parts)
    known, heldout = fold.known, fold.heldout
    tried = chosen.outcome.strategies
    withheld = withhold(known, heldout, fold.cold_items, seed) if options.withheld else None
    closed = [model_from_dict(values) for values in chosen.outcome.closed_forms.values()]
    baselines, fits = _fit_all(
        parts, fold, tried, closed, features, withheld, options, seed, workers
    )
    parameters = parse_configuration(chosen.outcome.configuration)[1]
    own = fits.fitted[parameters.strategy].model.factors
    scorers: dict[str, Scorer] = {fitted.model.name: fitted.scorer for fitted in baselines}
    scorers[LIGHTFM] = own
    seconds = {fitted.model.name: fitted.seconds for fitted in baselines}
    seconds[LIGHTFM] = fits.fitted[parameters.strategy].seconds
    with threadpool_limits(1):
        start = time.thread_time()
        if (neighbours := _neighbours(own, fold, parameters, scorers)) is not None:
            scorers[BLEND] = Blended(own, neighbours, known)
            parts_of_blend = seconds[LIGHTFM] + seconds.get(parameters.neighbours, 0.0)
            seconds[BLEND] = parts_of_blend + time.thread_time() - start
    winner = BLEND if BLEND in scorers else LIGHTFM
    without = not_ranked(known, heldout, fold.hidden)
    measured = _measure_all(scorers, without, heldout, options, seed)
    configurations = {found.model.name: found.model.hyperparameters() for found in baselines}
    configurations[LIGHTFM] = without_neighbours(chosen.outcome.trained)
    configurations[winner] = chosen.outcome.trained
    board = _leaderboard(measured, winner, configurations, options, seed)
    write_json(folder / "leaderboard.json", board)
    diverse = measure_diversity(
        scorers[winner], own.item_factors, without, heldout, threads=workers
    )
    write_json(folder / "diversity.json", diverse)
    _save_per_user(folder, measured, fold)
    evaluations = {name: entry.evaluation for name, entry in measured.items()}
    save_evaluation(folder, evaluations[winner], fold)
    segments = load_segments(fold, features)
    write_json(folder / "segments.json", measure_segments(segments.standard(), evaluations))
    beyond = measure_beyond_precision(
        evaluations, winner, known, own.item_factors, segments.item_features
    )
    write_json(folder / "beyond.json", beyond)
    compared: dict[str, Any] = {"winner": parameters.strategy}
    if withheld is not None and fits.withheld is not None:
        compared |= compare(
            fits.fitted, fits.withheld, tried, withheld, heldout, known,
            seed=seed, samples=options.bootstrap_samples,
        )  # fmt: skip
    write_json(folder / "strategies.json", compared)
    if parts.time is not None:
        found = _newcomers(parts.time, fold, scorers, fits.fitted, tried, features, options, seed)
        named = {"winner": winner, "strategy": parameters.strategy}
        write_json(folder / NEWCOMERS, named | found)
    outcome = Evaluated(
        "validation" if parts.test.nnz == 0 else "test",
        {entry["model"]: entry["metrics"][HEADLINE]["mean"] for entry in board},
    )
    strategies = {name: round(fit.seconds, 1) for name, fit in fits.fitted.items()}
    return Timed(outcome, strategies | model_seconds(seconds))


def newcomers_of(measured: Stage[Evaluated]) -> dict[str, Any]:
    """How users and items that came after the cut are served; {} where nothing was cut by time."""
    found: dict[str, Any] = {}
    if measured.file(NEWCOMERS).exists():
        found = measured.read_json(NEWCOMERS)
    return found


@dataclass(frozen=True)
class _Baseline:
    """A model beside the winner: fitted, and the CPU seconds of its search, if any, and fit."""

    model: Model
    scorer: Scorer
    seconds: float


@dataclass(frozen=True)
class _Fits:
    """The strategies, fitted on all known interactions and without the withheld ones."""

    fitted: Mapping[str, FittedStrategy]
    withheld: Mapping[str, FittedStrategy] | None


def _fit_all(
    parts: Split,
    fold: Fold,
    tried: Mapping[str, TriedStrategy],
    closed: Sequence[Model],
    features: Stage[Encoded],
    withheld: ColdStartHoldout | None,
    options: config.Evaluate,
    seed: int,
    workers: int,
) -> tuple[list[_Baseline], _Fits]:
    """Fit baselines and strategies side by side, each on one thread.

    They release the GIL, so that together they take as long as the longest one.
    """
    known, times = fold.known, fold.times
    sides = load_sides(features, known.shape, fold.places)
    models = with_popularity(closed)
    with ThreadPoolExecutor(workers) as pool, threadpool_limits(1):
        fits = StrategyFits(tried, known, sides, seed, pool.submit, times)
        without = (
            None
            if withheld is None
            else StrategyFits(tried, withheld.train, sides, seed, pool.submit, times)
        )
        tuned = SPACES if options.baseline_trials else {}
        search, trials = search_fold(parts), options.baseline_trials
        found = [pool.submit(_tuned, name, search, known, trials, seed) for name in tuned]
        found += [pool.submit(_fitted, model, known, seed, times) for model in models]
        baselines = [future.result() for future in found]
        return baselines, _Fits(fits.results(), None if without is None else without.results())


def _tuned(name: str, search: Fold, known: sp.csr_matrix, trials: int, seed: int) -> _Baseline:
    """A baseline tuned on the validation holdout."""
    start = time.thread_time()
    model = tune_baseline(name, search.known, search.heldout, trials=trials, seed=seed)[0]
    searched = time.thread_time() - start
    found = _fitted(model, known, seed)
    return replace(found, seconds=found.seconds + searched)


def _fitted(
    model: Model, known: sp.csr_matrix, seed: int, times: InteractionTimes | None = None
) -> _Baseline:
    start = time.thread_time()
    scorer = model.fit(known, seed=seed, times=times)
    return _Baseline(model, scorer, time.thread_time() - start)


def with_popularity(models: Sequence[Model]) -> list[Model]:
    """The models that a winner is measured beside, popularity among them as it was tuned, if so."""
    if any(isinstance(model, Popularity) for model in models):
        return list(models)
    return [Popularity(), *models]


def _measure_all(
    scorers: Mapping[str, Scorer],
    known: sp.csr_matrix,
    heldout: sp.csr_matrix,
    options: config.Evaluate,
    seed: int,
) -> dict[str, Measured]:
    """Every model on the same holdout."""
    ks = sorted({5, *options.ks})
    samples = options.bootstrap_samples
    return {
        name: measure(scorer, heldout, known, ks=ks, samples=samples, seed=seed)
        for name, scorer in scorers.items()
    }


def _leaderboard(
    measured: Mapping[str, Measured],
    winner: str,
    configurations: Mapping[str, Mapping[str, Any]],
    options: config.Evaluate,
    seed: int,
) -> list[dict[str, Any]]:
    """The models, best first, each with what it was measured at and how it was configured."""
    compared = differences(measured, winner, samples=options.bootstrap_samples, seed=seed)
    board = as_leaderboard(measured, compared)
    return [entry | {"configuration": configurations[entry["model"]]} for entry in board]


def _neighbours(
    factors: Factors, fold: Fold, parameters: HybridParameters, scorers: Mapping[str, Scorer]
) -> Neighbours | None:
    """The winner's neighbours, taken from the leaderboard where the same model stands on it."""
    found = scorers.get(parameters.neighbours)
    fitted = found.neighbours if isinstance(found, NeighbourScorer) else None
    return fit_neighbours(factors, fold.known, parameters, fitted, times=fold.times)


def _newcomers(
    time: TimeParts,
    fold: Fold,
    scorers: Mapping[str, Scorer],
    fitted: Mapping[str, FittedStrategy],
    tried: Mapping[str, TriedStrategy],
    features: Stage[Encoded],
    options: config.Evaluate,
    seed: int,
) -> dict[str, Any]:
    """How users and items that came after the cut are served."""
    samples = options.bootstrap_samples
    found = {"users": measure_new_users(scorers, fold, time, seed, samples)}
    encoded = persistence.load_encoded(Path(features.path), "item")
    if encoded is not None:
        n_items = time.new_items.shape[1]
        described = np.diff(encoded.matrix.indptr)[:n_items] > 0
        found["items"] = measure_new_items(fitted, tried, fold, time, described, seed, samples)
    return found


def _save_per_user(folder: Path, measured: Mapping[str, Measured], fold: Fold) -> None:
    users = fold.users_of_core(measured[LIGHTFM].evaluation.users)
    columns = {name: entry.evaluation.per_user[HEADLINE] for name, entry in measured.items()}
    persistence.write_columns(folder / "per_user.parquet", user=users, **columns)
